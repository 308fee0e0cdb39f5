//! What the supervisor keeps of a port: enough to give it to a new worker.
use super::{lease::Lease, listen::BoundSocket};
use crate::{
    config::{PortConfig, TransportConfig},
    protocol::PortSettings,
    tap::{self, TapSpec},
};
use control::{PortCounters, PortKind, PortState, PortStatus};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use switch::Role;

/// An open port.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) config: PortConfig,
    transport: Transport,
    /// Why the present worker did not take it.
    pub(super) fault: Option<String>,
    /// Ends the port with a process.
    pub(super) lease: Option<Lease>,
}

#[derive(Debug)]
enum Transport {
    VhostUser(BoundSocket),
    Tap(Vec<OwnedFd>),
}

impl Port {
    /// Opens what the port is made of.
    pub(super) fn open(config: &PortConfig, mtu: u16) -> anyhow::Result<Self> {
        let transport = match &config.transport {
            TransportConfig::VhostUser { socket } => {
                Transport::VhostUser(BoundSocket::bind(socket)?)
            }
            TransportConfig::Tap { interface, netns } => Transport::Tap(tap::open(&TapSpec {
                interface: interface.clone(),
                netns: netns.clone(),
                queues: config.queue_pairs,
                mtu,
                // The namespace is the guest: its interface has the guest's address.
                mac: config.mac,
            })?),
        };
        Ok(Self {
            config: config.clone(),
            transport,
            fault: None,
            lease: None,
        })
    }

    /// The port as a worker is told.
    pub(super) fn settings(&self) -> PortSettings {
        (&self.config).into()
    }

    /// The descriptors that go with [`Port::settings`].
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.transport {
            Transport::VhostUser(socket) => vec![socket.as_fd()],
            Transport::Tap(queues) => queues.iter().map(AsFd::as_fd).collect(),
        }
    }

    /// What is known without the worker.
    pub(super) fn status(&self) -> PortStatus {
        PortStatus {
            name: self.config.name.clone(),
            kind: self.kind(),
            uplink: self.config.role == Role::Uplink,
            mac: self.config.mac.map(|mac| mac.to_string()),
            state: match self.fault {
                Some(_) => PortState::Faulty,
                None => PortState::Listening,
            },
            features: Vec::new(),
            queue_pairs: 0,
            fault: self.fault.clone(),
            last_fault: None,
            faulty_queues: 0,
            counters: PortCounters::default(),
        }
    }

    /// The worker does not know the port's kind: it sees descriptors only.
    pub(super) fn kind(&self) -> PortKind {
        match &self.config.transport {
            TransportConfig::VhostUser { socket } => PortKind::VhostUser {
                socket: socket.clone(),
            },
            TransportConfig::Tap { interface, netns } => PortKind::Tap {
                interface: interface.clone(),
                netns: netns.clone(),
            },
        }
    }
}
