//! Numbers of DHCPv4: RFC 2131, RFC 2132 and the RFCs named beside them.

/// Where clients send to.
pub const SERVER_PORT: u16 = 67;
/// Where they listen.
pub const CLIENT_PORT: u16 = 68;

/// `op` of what a client sends
pub(crate) const BOOTREQUEST: u8 = 1;
/// `op` of what a server sends
pub(crate) const BOOTREPLY: u8 = 2;
/// `htype` of Ethernet
pub(crate) const ETHERNET: u8 = 1;
/// First octets of the options (RFC 2131, 3).
pub(crate) const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The client cannot receive unicast before it is configured.
pub(crate) const FLAG_BROADCAST: u16 = 0x8000;
/// A relay must not get less (RFC 1542, 2.1): all messages are padded to this.
pub(crate) const MIN_MESSAGE: usize = 300;
/// The largest message every client takes: an IP datagram of 576 octets without its headers (RFC 2131, 2).
pub(crate) const DEFAULT_MAX_MESSAGE: usize = 576 - 28;

/// Option codes.
pub(crate) mod option {
    pub(crate) const PAD: u8 = 0;
    pub(crate) const SUBNET_MASK: u8 = 1;
    pub(crate) const ROUTER: u8 = 3;
    pub(crate) const DNS: u8 = 6;
    pub(crate) const HOST_NAME: u8 = 12;
    pub(crate) const DOMAIN_NAME: u8 = 15;
    pub(crate) const INTERFACE_MTU: u8 = 26;
    pub(crate) const BROADCAST: u8 = 28;
    pub(crate) const REQUESTED_ADDRESS: u8 = 50;
    pub(crate) const LEASE_TIME: u8 = 51;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const MESSAGE_TYPE: u8 = 53;
    pub(crate) const SERVER_ID: u8 = 54;
    pub(crate) const PARAMETER_REQUEST: u8 = 55;
    pub(crate) const MESSAGE: u8 = 56;
    pub(crate) const MAX_MESSAGE_SIZE: u8 = 57;
    pub(crate) const RENEWAL_TIME: u8 = 58;
    pub(crate) const REBINDING_TIME: u8 = 59;
    pub(crate) const CLIENT_ID: u8 = 61;
    pub(crate) const TFTP_SERVER_NAME: u8 = 66;
    pub(crate) const BOOT_FILE: u8 = 67;
    /// RFC 4039
    pub(crate) const RAPID_COMMIT: u8 = 80;
    /// RFC 4702
    pub(crate) const CLIENT_FQDN: u8 = 81;
    /// RFC 3046
    pub(crate) const RELAY_AGENT: u8 = 82;
    /// RFC 3397
    pub(crate) const DOMAIN_SEARCH: u8 = 119;
    pub(crate) const END: u8 = 255;
}

/// Values of option 53.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageType {
    Discover = 1,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

impl MessageType {
    /// What a client may send.
    pub(crate) fn from_client(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Discover),
            3 => Some(Self::Request),
            4 => Some(Self::Decline),
            7 => Some(Self::Release),
            8 => Some(Self::Inform),
            _ => None,
        }
    }
}
