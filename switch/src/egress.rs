//! The answer to "where does this frame go?".
use crate::PortId;

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Egress {
    /// nowhere
    Drop(DropReason),
    /// one port
    Port(PortId),
    /// every member of [`Switch::targets`](crate::Switch::targets), at least two when it was
    /// decided
    Flood(Flood),
}

/// A set of egress ports, cheap to copy; resolve it with
/// [`Switch::targets`](crate::Switch::targets).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    pub(crate) scope: Scope,
    pub(crate) except: [PortId; 2],
    /// Without isolated ports: it comes from one.
    pub(crate) from_isolated: bool,
    /// Among ports of this VLAN.
    pub(crate) vlan: u16,
}

/// Which ports take part in a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// all ports: broadcast and multicast
    Every,
    /// ports whose addresses are not all known: unknown unicast
    Unfixed,
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a frame goes nowhere.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// All reasons, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// A short name for status output and metrics, in `snake_case`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

drop_reasons! {
    /// shorter than an Ethernet header
    Runt = "runt",
    /// came in by a port that does not exist
    UnknownIngress = "unknown_ingress",
    /// source address is multicast or zero
    BadSource = "bad_source",
    /// MAC Control (PAUSE): never forwarded
    Pause = "pause",
    /// reserved group address that bridges do not forward (IEEE 802.1Q, table 8-1)
    ReservedGroup = "reserved_group",
    /// the mode sends it to the uplink, and there is none
    NoUplink = "no_uplink",
    /// unicast to an address that no port owns, and no port takes unknown ones
    UnknownDestination = "unknown_destination",
    /// broadcast or multicast, and no other port takes it
    NoReceiver = "no_receiver",
    /// the destination is behind the port it came from
    SamePort = "same_port",
    /// the uplink reflected a frame that the guests saw on its way out
    Reflected = "reflected",
    /// private mode: the uplink reflected a guest's frame to another guest; bridge mode: from one isolated port to another
    Isolated = "isolated",
    /// anti-spoofing: the sender is not who it says it is
    Spoofed = "spoofed",
    /// the port sends more broadcast, multicast and unknown unicast than it may
    Storm = "storm",
    /// its VLAN, or having none, is not for the port it came in by or would leave by; or one C-tag is within another
    Vlan = "vlan",
}
