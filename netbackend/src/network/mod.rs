//! One network's data plane: ports, rings, the datapath thread. Runs inside the network's worker process.
use control::PortStatus;
use std::{fs::File, os::unix::net::UnixListener, time::Duration};
use switch::{MacAddr, Mode, Role};

/// What a network is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Name, for logs.
    pub name: String,
    /// Forwarding policy.
    pub mode: Mode,
    /// MTU offered to guests (VIRTIO_NET_F_MTU).
    pub mtu: u16,
    /// Life of a learned address.
    pub ageing: Duration,
    /// Learned addresses per port at most.
    pub fdb_capacity_per_port: usize,
    /// How long a datapath thread polls an empty network before it sleeps.
    pub poll_idle: Duration,
    /// Refuse guest memory that its owner could truncate.
    pub require_sealed_memory: bool,
}

/// What a port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Name, unique in its network.
    pub name: String,
    /// Guest or uplink.
    pub role: Role,
    /// Fixed address.
    pub mac: Option<MacAddr>,
    /// Queue pairs at most.
    pub queue_pairs: u16,
}

/// What carries a port's frames; opened by the supervisor.
#[derive(Debug)]
pub enum PortTransport {
    /// Accepts one front-end at a time, again and again.
    VhostUser(UnixListener),
    /// A tap with IFF_VNET_HDR and a 12-byte header, one file per queue.
    Tap(Vec<File>),
}

/// A running network.
#[derive(Debug)]
pub struct Network {}

impl Network {
    /// Starts the datapath; no ports yet.
    pub fn start(_spec: NetworkSpec) -> anyhow::Result<Self> {
        todo!()
    }
    /// Adds a port; it carries frames when this returns (a vhost-user port: when its front-end is there).
    pub fn add_port(&self, _spec: PortSpec, _transport: PortTransport) -> anyhow::Result<()> {
        todo!()
    }
    /// Removes a port, its connection and all that was learned on it. False: no such port.
    pub fn remove_port(&self, _name: &str) -> anyhow::Result<bool> {
        todo!()
    }
    /// State and counters of every port. `PortStatus::kind` is filled in by the supervisor: a placeholder here.
    pub fn report(&self) -> Vec<PortStatus> {
        todo!()
    }
    /// Stops the threads and closes every port.
    pub fn stop(self) {
        todo!()
    }
}
