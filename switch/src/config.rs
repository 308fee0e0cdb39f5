//! What a switch and its ports are told at creation.
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use crate::{MacAddr, PortVlans, Rate};

/// A port of one switch, chosen by its owner; small and dense (a table is indexed by it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Forwarding policy of a network.
///
/// In every mode a frame never leaves by the port it came in by, MAC Control frames (PAUSE) are
/// never forwarded (IEEE 802.3 Annex 31B; `macvlan_broadcast` skips `ETH_P_PAUSE`), and a frame
/// whose source address is multicast or zero is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Learning bridge.
    ///
    /// Known unicast goes to its port. Unknown unicast goes to the uplink (unless it came from
    /// there) and to the guests without a fixed address; if all guests have one, that is
    /// `macvlan`'s rule: to the wire, never to a guest. Broadcast and multicast go to all other
    /// ports.
    ///
    /// Of the IEEE 802.1Q reserved group addresses 01:80:C2:00:00:0X only 0 (BPDUs) is forwarded:
    /// this bridge runs no spanning tree, so its neighbours must see each other's BPDUs to notice a
    /// loop through it. That is what Linux bridges do by default (`net/bridge/br_input.c`,
    /// `br_handle_frame`).
    ///
    /// A frame that a reflective uplink returns, recognized by the fixed or static source address
    /// of a guest, is not flooded again: the guests have had it when it went out (as in
    /// `macvlan_process_broadcast`).
    Bridge,
    /// Guests reach only the uplink, and never each other even if the uplink reflects their frames.
    ///
    /// All that a guest sends goes to the uplink. From the uplink, unicast goes to the owner of the
    /// address, and broadcast and multicast to all guests; but a multicast frame with the source
    /// address of a guest here (it was reflected) goes back to that guest only, as in
    /// `macvlan_handle_frame`. A reflected *unicast* frame is dropped, where `macvlan` would
    /// deliver it: `ip-link(8)` promises isolation "even if the external switch supports hairpin
    /// mode", and this switch keeps the promise.
    Private,
    /// Everything goes to the uplink; an adjacent switch in reflective relay mode (IEEE 802.1Qbg)
    /// returns what is for other guests.
    ///
    /// From the uplink, unicast goes to the owner of the address; broadcast and multicast to all
    /// guests, but not to the one that owns the source address.
    Vepa,
    /// One guest owns the uplink: all frames cross, whatever their addresses. PAUSE excepted.
    Passthrough,
}

/// What a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// a guest
    Guest,
    /// the way out; at most one per switch
    Uplink,
}

/// Settings of a switch.
#[derive(Debug, Clone, Copy)]
pub struct SwitchConfig {
    /// policy
    pub mode: Mode,
    /// life of a learned address that is not seen again (IEEE 802.1Q 8.8.3 recommends 300 s)
    pub ageing: Duration,
    /// learned addresses per port at most
    pub fdb_capacity_per_port: usize,
}

impl SwitchConfig {
    /// The recommended ageing time of IEEE 802.1Q, 8.8.3.
    pub const DEFAULT_AGEING: Duration = Duration::from_mins(5);
    /// Enough for a guest that is a router or hypervisor itself; some 256 KiB at most for one that
    /// is hostile.
    pub const DEFAULT_FDB_CAPACITY_PER_PORT: usize = 4096;

    /// The mode with default ageing and capacity.
    pub const fn new(mode: Mode) -> Self {
        Self {
            mode,
            ageing: Self::DEFAULT_AGEING,
            fdb_capacity_per_port: Self::DEFAULT_FDB_CAPACITY_PER_PORT,
        }
    }
}

/// Settings of a port.
#[derive(Debug, Clone, Copy)]
pub struct PortConfig {
    /// guest or uplink
    pub role: Role,
    /// Fixed address: a guest with one never learns, and no unknown unicast is flooded to it.
    /// Frames that it sends from another source address are forwarded, and counted. (An uplink's
    /// own address is bound to it, but there is a world behind an uplink: it learns all the same.)
    ///
    /// A guest *without* a fixed address is trusted with any address that is not fixed or static:
    /// by sending from another's it takes over the traffic for it, until the owner sends again. In
    /// private and VEPA mode it takes the gateway's frames for its own reflections; pin the gateway
    /// to the uplink with [`Switch::add_static`](crate::Switch::add_static), or fix the addresses
    /// of guests that are not trusted.
    pub mac: Option<MacAddr>,
}

/// What a port may do; by default everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortPolicy {
    /// Drop frames that lie about their sender: the source address must be the port's fixed one, and so must what ARP and
    /// IPv6 neighbour discovery say of link-layer addresses. For ports with a fixed address.
    pub anti_spoofing: bool,
    /// With `anti_spoofing`: the IP addresses it may send from and speak for; none: any. Link-local IPv6 addresses are free.
    pub addresses: Vec<IpAddr>,
    /// Exchanges no frames with other isolated ports (bridge mode; `isolated on` of `bridge(8)`).
    pub isolated: bool,
    /// Broadcast, multicast and unknown unicast frames that it may send.
    pub storm_limit: Option<Rate>,
    /// The VLANs it is in. Once any port of a switch has some, the switch keeps VLANs apart, and ports that have none
    /// exchange untagged frames only, but for the uplink, which carries all VLANs tagged.
    pub vlans: Option<PortVlans>,
}

/// Why a port or a static entry was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PortError {
    /// id taken
    #[error("port {0} is in use")]
    InUse(PortId),
    /// a static entry names a port that does not exist
    #[error("port {0} does not exist")]
    NoSuchPort(PortId),
    /// a network has one way out
    #[error("the network has an uplink already: port {0}")]
    SecondUplink(PortId),
    /// passthrough gives the uplink to one guest
    #[error("a passthrough network takes one guest, and has it: port {0}")]
    SecondGuest(PortId),
    /// no station may own the address
    #[error("{0} is not a station's address (it is multicast or zero)")]
    NotAStation(MacAddr),
    /// there is no address to hold frames against
    #[error("port {0} has no fixed address, so anti-spoofing cannot check its frames")]
    NoFixedAddress(PortId),
    /// `macvlan` answers EBUSY
    #[error("address {mac} belongs to port {owner}")]
    AddressInUse {
        /// the address
        mac: MacAddr,
        /// the port that has it, fixed or static
        owner: PortId,
    },
}
