//! What the supervisor and a worker say to each other.
//!
//! One JSON [`Envelope`] per `SOCK_SEQPACKET` message, descriptors beside it (`SCM_RIGHTS`). The
//! supervisor asks, the worker answers every request once, with the request's id; only a report may
//! be spread over several answers. Both ends are the same binary, so there is no version.
use crate::{
    config::{NatConfig, NetworkConfig, PortConfig, TransportConfig},
    network::{NetworkSpec, PortSpec},
};
use control::{
    FlowStatus, LeaseStatus, NatStatus, PortPolicy, PortStatus, QueueStatus, WorkerStatus,
};
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, time::Duration};
use switch::{MacAddr, Role};

/// Ports in one answer: keeps a report far below [`crate::channel::MAX_MESSAGE`].
pub(crate) const PORTS_PER_REPORT: usize = 16;

/// Queues in one answer, likewise.
pub(crate) const QUEUES_PER_REPORT: usize = 32;

/// Flows and leases in one answer, likewise.
pub(crate) const FLOWS_PER_REPORT: usize = 256;

/// A message and the request it belongs to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) id: u64,
    pub(crate) body: T,
}

/// A request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToWorker {
    /// First of all: start the datapath. For a gateway with the file of leases, if there is one, and raw ICMP sockets.
    Configure(Box<NetworkSettings>),
    /// With one listening socket, one feed of connections, or one tap file per queue pair.
    AddPort(PortSettings),
    /// Answered when the port is closed.
    RemovePort(String),
    /// The interface that links of guests follow has a carrier, or none.
    SetLink(bool),
    /// The host behind an uplink has another address.
    SetUplinkAddress { port: String, mac: [u8; 6] },
    /// State and counters of all ports.
    Report,
    /// State and counters of one port, with its queues.
    ShowPort(String),
    /// With one listening socket for each: the next forwards will use them.
    GiveSockets(Vec<ListeningSocket>),
    /// A port of the host, or a range, leads to a guest from now on.
    AddForward(String),
    /// No longer.
    RemoveForward(String),
    /// All flows through the gateway.
    Flows,
    /// All addresses that the gateway's DHCP server gave away.
    Leases,
    /// Close all ports, answer, exit.
    Stop,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FromWorker {
    /// It is done.
    Done,
    /// It was not done, and this is why.
    Error(String),
    /// Some ports; `more`: another answer to the same request follows. The datapath threads come with the last.
    Report {
        ports: Vec<PortStatus>,
        nat: Option<Box<NatStatus>>,
        workers: Vec<WorkerStatus>,
        more: bool,
    },
    /// One port and some of its queues; `more`: another answer with more queues follows.
    Port {
        port: Option<Box<PortStatus>>,
        queues: Vec<QueueStatus>,
        more: bool,
    },
    /// Some flows; `more`: another answer to the same request follows.
    Flows { flows: Vec<FlowStatus>, more: bool },
    /// Some leases, likewise.
    Leases {
        leases: Vec<LeaseStatus>,
        more: bool,
    },
}

/// A network, as it goes to its worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkSettings {
    pub(crate) name: String,
    pub(crate) mode: control::Mode,
    pub(crate) mtu: u16,
    pub(crate) ageing: Duration,
    pub(crate) fdb_capacity_per_port: usize,
    pub(crate) poll_idle: Duration,
    pub(crate) workers: u16,
    pub(crate) cpus: Vec<u16>,
    pub(crate) require_sealed_memory: bool,
    /// Of a network in mode `nat`.
    pub(crate) nat: Option<NatConfig>,
    /// The first descriptor is the file of leases.
    pub(crate) lease_file: bool,
}

/// A listening socket for a forward, as it goes to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListeningSocket {
    /// TCP; else UDP.
    pub(crate) tcp: bool,
    pub(crate) address: Option<IpAddr>,
    pub(crate) interface: Option<String>,
    pub(crate) port: u16,
}

/// A port, as it goes to its worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortSettings {
    pub(crate) name: String,
    pub(crate) uplink: bool,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) policy: PortPolicy,
    pub(crate) queue_pairs: u16,
    pub(crate) carrier: Carrier,
    /// The last of the descriptors are so many queues of the guest's own macvtap: it is joined to that instead of the switch.
    #[serde(default)]
    pub(crate) wire_queues: u16,
    /// The guest's link follows an interface, which has a carrier or not ([`crate::network::Lower::link`]).
    #[serde(default)]
    pub(crate) link: Option<bool>,
}

/// What the descriptors beside the message are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Carrier {
    ListeningSocket,
    /// One end of a socket pair over which connections come ([`crate::network::PortTransport`]).
    Connections,
    TapQueues,
}

impl From<&NetworkConfig> for NetworkSettings {
    fn from(config: &NetworkConfig) -> Self {
        Self {
            name: config.name.clone(),
            // With macvtaps of their own, the kernel follows the mode; ports are joined in pairs here.
            mode: match config.attach {
                Some(_) => control::Mode::Bridge,
                None => config.mode,
            },
            mtu: config.mtu,
            ageing: config.ageing,
            fdb_capacity_per_port: config.fdb_capacity_per_port,
            poll_idle: config.poll_idle,
            workers: config.workers,
            cpus: config.cpus.clone(),
            require_sealed_memory: config.require_sealed_memory,
            // They follow with their sockets, one by one; together they may be too long for a message.
            nat: config.nat.clone().map(|nat| NatConfig {
                forwards: Vec::new(),
                ..nat
            }),
            lease_file: false,
        }
    }
}

impl From<NetworkSettings> for NetworkSpec {
    fn from(settings: NetworkSettings) -> Self {
        Self {
            isolate: settings.nat.is_some_and(|nat| nat.isolate),
            mode: match settings.mode {
                // The gateway is a guest of a bridge.
                control::Mode::Bridge | control::Mode::Nat => switch::Mode::Bridge,
                control::Mode::Private => switch::Mode::Private,
                control::Mode::Vepa => switch::Mode::Vepa,
                control::Mode::Passthrough => switch::Mode::Passthrough,
            },
            name: settings.name,
            mtu: settings.mtu,
            ageing: settings.ageing,
            fdb_capacity_per_port: settings.fdb_capacity_per_port,
            poll_idle: settings.poll_idle,
            workers: settings.workers,
            cpus: settings.cpus,
            require_sealed_memory: settings.require_sealed_memory,
        }
    }
}

impl From<&PortConfig> for PortSettings {
    fn from(config: &PortConfig) -> Self {
        Self {
            name: config.name.clone(),
            uplink: config.role == Role::Uplink,
            mac: config.mac.map(|mac| mac.0),
            policy: config.policy.clone(),
            queue_pairs: config.queue_pairs,
            carrier: match config.transport {
                TransportConfig::VhostUser { .. } => Carrier::ListeningSocket,
                TransportConfig::VhostUserClient { .. } => Carrier::Connections,
                TransportConfig::Tap { .. } | TransportConfig::Uplink(_) => Carrier::TapQueues,
            },
            wire_queues: 0,
            link: None,
        }
    }
}

impl From<PortSettings> for PortSpec {
    fn from(settings: PortSettings) -> Self {
        Self {
            name: settings.name,
            role: if settings.uplink {
                Role::Uplink
            } else {
                Role::Guest
            },
            mac: settings.mac.map(MacAddr),
            policy: settings.policy,
            queue_pairs: settings.queue_pairs,
        }
    }
}
