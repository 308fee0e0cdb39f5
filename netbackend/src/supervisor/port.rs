//! What the supervisor keeps of a port: enough to give it to a new worker.
use super::{activation::Inherited, connector::Connector, lease::Lease, listen::BoundSocket};
use crate::{
    config::{NetworkConfig, PortConfig, TransportConfig},
    protocol::PortSettings,
    tap::{self, TapSpec},
};
use control::{PortCounters, PortKind, PortState, PortStatus};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};
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
    /// While a worker has the port.
    VhostUserClient(Option<Connector>),
    Tap(Vec<OwnedFd>),
}

impl Port {
    /// Opens what the port is made of.
    pub(super) fn open(
        network: &NetworkConfig,
        config: &PortConfig,
        inherited: &Inherited,
    ) -> anyhow::Result<Self> {
        let mut config = config.clone();
        let transport = match &mut config.transport {
            TransportConfig::VhostUser { socket } => {
                let name = format!("{}/{}", network.name, config.name);
                let bound = match inherited.get(&name, socket)? {
                    Some(inherited) => inherited,
                    None => BoundSocket::bind(socket, config.socket_access)?,
                };
                // A service manager may have put it elsewhere.
                bound.path().clone_into(socket);
                Transport::VhostUser(bound)
            }
            TransportConfig::VhostUserClient { .. } => Transport::VhostUserClient(None),
            TransportConfig::Tap { .. } => Transport::Tap(open_tap(&config, network.mtu)?),
        };
        Ok(Self {
            config,
            transport,
            fault: None,
            lease: None,
        })
    }

    /// Makes a tap anew, for another MTU; no worker may have it.
    pub(super) fn reopen_tap(&mut self, mtu: u16) -> anyhow::Result<()> {
        if let Transport::Tap(queues) = &mut self.transport {
            // The interface goes with them.
            queues.clear();
            *queues = open_tap(&self.config, mtu)?;
        }
        Ok(())
    }

    /// The port as a worker is told.
    pub(super) fn settings(&self) -> PortSettings {
        (&self.config).into()
    }

    /// The descriptors that go with [`Port::settings`] to a worker.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub(super) fn hand_over(&mut self) -> io::Result<Vec<OwnedFd>> {
        match &mut self.transport {
            Transport::VhostUser(socket) => Ok(vec![socket.as_fd().try_clone_to_owned()?]),
            Transport::VhostUserClient(connector) => {
                let TransportConfig::VhostUserClient { socket } = &self.config.transport else {
                    return Ok(Vec::new());
                };
                // What was for the worker before ends here.
                let (new, feed) = Connector::start(&self.config.name, socket)?;
                *connector = Some(new);
                Ok(vec![feed])
            }
            Transport::Tap(queues) => queues.iter().map(OwnedFd::try_clone).collect(),
        }
    }

    /// What is known without the worker.
    pub(super) fn status(&self) -> PortStatus {
        PortStatus {
            name: self.config.name.clone(),
            kind: self.kind(),
            uplink: self.config.role == Role::Uplink,
            mac: self.config.mac.map(|mac| mac.to_string()),
            policy: self.config.policy.clone(),
            state: match self.fault {
                Some(_) => PortState::Faulty,
                None if matches!(self.transport, Transport::VhostUserClient(_)) => {
                    PortState::Connecting
                }
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
                client: false,
            },
            TransportConfig::VhostUserClient { socket } => PortKind::VhostUser {
                socket: socket.clone(),
                client: true,
            },
            TransportConfig::Tap { interface, netns } => PortKind::Tap {
                interface: interface.clone(),
                netns: netns.clone(),
            },
        }
    }
}

fn open_tap(config: &PortConfig, mtu: u16) -> anyhow::Result<Vec<OwnedFd>> {
    let TransportConfig::Tap { interface, netns } = &config.transport else {
        return Ok(Vec::new());
    };
    Ok(tap::open(&TapSpec {
        interface: interface.clone(),
        netns: netns.clone(),
        queues: config.queue_pairs,
        mtu,
        // The namespace is the guest: its interface has the guest's address.
        mac: config.mac,
    })?)
}
