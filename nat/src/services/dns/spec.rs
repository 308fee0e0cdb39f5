//! Numbers of DNS: RFC 1035, 3.2 and 4.1, and the RFCs named beside them.

/// Where servers listen, over UDP and TCP.
pub(crate) const PORT: u16 = 53;
/// Octets of a header.
pub(crate) const HEADER: usize = 12;
/// What a client takes over UDP that says nothing of its size (RFC 1035, 4.2.1).
pub(crate) const PLAIN_UDP: usize = 512;
/// What we say we take from upstreams, and give to clients at most: no IP fragment on any path (DNS flag day 2020).
pub(crate) const EDNS_UDP: u16 = 1232;

/// Header flags: the 16 bits after the id.
pub(crate) mod flag {
    /// response
    pub(crate) const QR: u16 = 0x8000;
    pub(crate) const OPCODE: u16 = 0x7800;
    /// authoritative answer
    pub(crate) const AA: u16 = 0x0400;
    /// truncated
    pub(crate) const TC: u16 = 0x0200;
    /// recursion desired
    pub(crate) const RD: u16 = 0x0100;
    /// recursion available
    pub(crate) const RA: u16 = 0x0080;
    /// checking disabled (RFC 4035, 3.2.2)
    pub(crate) const CD: u16 = 0x0010;
    pub(crate) const RCODE: u16 = 0x000f;
}

/// Response codes.
pub(crate) mod rcode {
    pub(crate) const NO_ERROR: u16 = 0;
    pub(crate) const FORMAT_ERROR: u16 = 1;
    pub(crate) const SERVER_FAILURE: u16 = 2;
    pub(crate) const NAME_ERROR: u16 = 3;
    pub(crate) const NOT_IMPLEMENTED: u16 = 4;
    pub(crate) const REFUSED: u16 = 5;
}

/// Types and classes.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const AAAA: u16 = 28;
    /// RFC 6891
    pub(crate) const OPT: u16 = 41;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;
    /// class
    pub(crate) const IN: u16 = 1;
}
