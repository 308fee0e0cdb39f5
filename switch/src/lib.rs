//! Pure Ethernet forwarding: bridge, private, VEPA and passthrough policies.
#![forbid(unsafe_code)]
use std::time::Duration;
use thiserror::Error;

/// A 48-bit MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

/// A port of one switch, chosen by its owner; small and dense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

/// Forwarding policy of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// learning bridge
    Bridge,
    /// guests reach only the uplink
    Private,
    /// all goes to the uplink; its hairpin brings back
    Vepa,
    /// one guest owns the uplink
    Passthrough,
}

/// What a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// a guest
    Guest,
    /// the way out
    Uplink,
}

/// Settings of a switch.
#[derive(Debug, Clone)]
pub struct SwitchConfig {
    /// policy
    pub mode: Mode,
    /// life of a learned address (default 300 s)
    pub ageing: Duration,
    /// learned addresses per port at most
    pub fdb_capacity_per_port: usize,
}

/// Settings of a port.
#[derive(Debug, Clone)]
pub struct PortConfig {
    /// guest or uplink
    pub role: Role,
    /// fixed address: never learned, no unknown unicast is flooded to it
    pub mac: Option<MacAddr>,
}

/// Why a port was refused.
#[derive(Debug, Error)]
pub enum PortError {
    /// id taken
    #[error("port id is in use")]
    InUse,
}

/// Why a frame goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// shorter than an Ethernet header, and so on: implementer completes
    Runt,
}

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Egress {
    /// nowhere
    Drop(DropReason),
    /// one port
    Port(PortId),
    /// every member of [`Switch::targets`]
    Flood(Flood),
}

/// A set of egress ports, cheap to copy; resolve it with [`Switch::targets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {}

/// Forwarding state of one network.
#[derive(Debug)]
pub struct Switch {}

impl Switch {
    /// An empty switch.
    pub fn new(_config: SwitchConfig) -> Self {
        todo!()
    }
    /// Adds a port.
    pub fn add_port(&mut self, _id: PortId, _config: PortConfig) -> Result<(), PortError> {
        todo!()
    }
    /// Removes a port and all it learned.
    pub fn remove_port(&mut self, _id: PortId) {
        todo!()
    }
    /// A static entry.
    pub fn add_static(&mut self, _mac: MacAddr, _id: PortId) -> Result<(), PortError> {
        todo!()
    }
    /// Where the frame with this start (at least 14 bytes, else runt) goes. `now`: monotonic time since any fixed start.
    pub fn forward(&mut self, _now: Duration, _ingress: PortId, _header: &[u8]) -> Egress {
        todo!()
    }
    /// Ports of a flood, ingress excluded.
    pub fn targets(&self, _flood: Flood) -> impl Iterator<Item = PortId> + '_ {
        std::iter::empty()
    }
}
