//! What the gateway counts.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// Why a frame or datagram went no further.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Name for metrics and tables.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        const REASONS: usize = [$(DropReason::$variant,)+].len();
    };
}

reasons! {
    /// headers go on behind the frame's end, or are impossible
    Malformed => "malformed",
    /// a checksum is wrong
    BadChecksum => "bad_checksum",
    /// neither IPv4, IPv6 nor ARP; VLAN tags are not for a gateway
    NotIp => "not_ip",
    /// neither TCP, UDP nor ICMP
    UnknownProtocol => "unknown_protocol",
    /// the source is not an address that a guest of this network may have
    BadSource => "bad_source",
    /// not for the gateway, and not to be routed: multicast, other guests
    BadDestination => "bad_destination",
    /// the policy forbids the destination
    Policy => "policy",
    /// the guest, or all guests, have as many flows as they may
    FlowQuota => "flow_quota",
    /// the guest opens flows too fast
    FlowRate => "flow_rate",
    /// the guest has as many connections half open as it may
    HalfOpenQuota => "half_open_quota",
    /// the guest has as many bytes in buffers as it may
    BufferQuota => "buffer_quota",
    /// more guests than there may be
    GuestQuota => "guest_quota",
    /// the guest sends or receives faster than it may
    RateLimit => "rate_limit",
    /// the host has no descriptor or memory for another socket
    HostResources => "host_resources",
    /// the host refused to send
    HostRefused => "host_refused",
    /// a fragment that overlaps another, or makes a datagram too long
    BadFragment => "bad_fragment",
    /// fragments of a datagram that was never complete, or too many at once
    ReassemblyQuota => "reassembly_quota",
    /// a TCP segment out of its window, or of no connection
    OutOfWindow => "out_of_window",
    /// a datagram from somebody the guest has not sent to
    Filtered => "filtered",
    /// a forward's guest is not there
    NoGuest => "no_guest",
    /// TTL or hop limit ended here
    HopLimit => "hop_limit",
    /// there was no room towards the network
    NoRoom => "no_room",
    /// an ICMP message that is neither echo nor an error to translate
    UnknownIcmp => "unknown_icmp",
    /// a message that a service did not understand
    Service => "service",
}

/// Counters since the gateway was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// frames from the network
    pub frames_in: u64,
    /// frames to the network
    pub frames_out: u64,
    /// bytes from the network
    pub bytes_in: u64,
    /// bytes to the network
    pub bytes_out: u64,
    /// TCP flows that were made
    pub tcp_opened: u64,
    /// TCP connections that the world refused or did not answer
    pub tcp_refused: u64,
    /// TCP flows that ended by a reset or a timeout
    pub tcp_aborted: u64,
    /// TCP segments sent again
    pub tcp_retransmits: u64,
    /// UDP mappings that were made
    pub udp_opened: u64,
    /// ICMP echo mappings that were made
    pub echo_opened: u64,
    /// connections and datagrams that came by a forward
    pub forwarded: u64,
    /// ICMP errors sent to guests
    pub icmp_errors: u64,
    drops: [u64; REASONS],
}

impl Counters {
    /// Drops for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or_default()
    }

    /// Reasons with their counts, zeros included.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .copied()
            .zip(self.drops.iter().copied())
    }

    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    pub(crate) fn drop_many(&mut self, reason: DropReason, lost: usize) {
        if let Some(count) = self.drops.get_mut(reason as usize) {
            *count += lost as u64;
        }
    }
}
