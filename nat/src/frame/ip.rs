//! Numbers of the Internet Protocol.

/// Assigned protocol numbers.
pub(crate) mod protocol {
    /// ICMP
    pub(crate) const ICMP: u8 = 1;
    /// TCP
    pub(crate) const TCP: u8 = 6;
    /// UDP
    pub(crate) const UDP: u8 = 17;
    /// ICMPv6
    pub(crate) const ICMPV6: u8 = 58;
    /// IPv6 hop-by-hop options (RFC 8200, 4.3)
    pub(crate) const HOP_BY_HOP: u8 = 0;
    /// IPv6 routing header (RFC 8200, 4.4)
    pub(crate) const ROUTING: u8 = 43;
    /// IPv6 fragment header (RFC 8200, 4.5)
    pub(crate) const FRAGMENT: u8 = 44;
    /// IPv6 destination options (RFC 8200, 4.6)
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
}
