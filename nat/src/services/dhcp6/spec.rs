//! Numbers of DHCPv6: RFC 8415, and the RFCs named beside them.
use std::net::Ipv6Addr;

/// Where servers listen.
pub const SERVER_PORT: u16 = 547;
/// Where clients listen.
pub const CLIENT_PORT: u16 = 546;
/// All_DHCP_Relay_Agents_and_Servers, where clients send to (7.1).
pub const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// A DUID has no more octets (11.1).
pub(crate) const MAX_DUID: usize = 130;

/// Message types (7.3).
pub(crate) mod kind {
    pub(crate) const SOLICIT: u8 = 1;
    pub(crate) const ADVERTISE: u8 = 2;
    pub(crate) const REQUEST: u8 = 3;
    pub(crate) const CONFIRM: u8 = 4;
    pub(crate) const RENEW: u8 = 5;
    pub(crate) const REBIND: u8 = 6;
    pub(crate) const REPLY: u8 = 7;
    pub(crate) const RELEASE: u8 = 8;
    pub(crate) const DECLINE: u8 = 9;
    pub(crate) const INFORMATION_REQUEST: u8 = 11;
}

/// Option codes (24).
pub(crate) mod option {
    pub(crate) const CLIENT_ID: u16 = 1;
    pub(crate) const SERVER_ID: u16 = 2;
    pub(crate) const IA_NA: u16 = 3;
    pub(crate) const IA_ADDRESS: u16 = 5;
    pub(crate) const PREFERENCE: u16 = 7;
    pub(crate) const STATUS: u16 = 13;
    pub(crate) const RAPID_COMMIT: u16 = 14;
    /// RFC 3646
    pub(crate) const DNS: u16 = 23;
    /// RFC 3646
    pub(crate) const DOMAIN_LIST: u16 = 24;
    pub(crate) const IA_PD: u16 = 25;
    pub(crate) const REFRESH_TIME: u16 = 32;
    /// RFC 4704
    pub(crate) const CLIENT_FQDN: u16 = 39;
    /// RFC 5970
    pub(crate) const BOOT_FILE_URL: u16 = 59;
}

/// Status codes (21.13).
pub(crate) mod status {
    pub(crate) const SUCCESS: u16 = 0;
    pub(crate) const NO_ADDRESSES: u16 = 2;
    pub(crate) const NO_BINDING: u16 = 3;
    pub(crate) const NOT_ON_LINK: u16 = 4;
    pub(crate) const USE_MULTICAST: u16 = 5;
    pub(crate) const NO_PREFIX: u16 = 6;
}
