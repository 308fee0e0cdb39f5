//! What a forward is.
use std::net::IpAddr;

/// Protocol of a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// The guest of a forward: it need not be there yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GuestRef {
    /// by address
    Address(IpAddr),
    /// by the host name that it tells DHCP, or that its reservation has
    Name(String),
    /// the only guest there is: the first that DHCP gives an address (as QEMU's `hostfwd` without one)
    Any,
}

/// `[host-addr][%iface]:port[-range] → guest[:port]`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forward {
    /// protocol
    pub transport: Transport,
    /// address of the host to listen at; `None`: all of them
    pub address: Option<IpAddr>,
    /// interface of the host to listen on; `None`: all of them
    pub interface: Option<String>,
    /// first port of the host
    pub first_port: u16,
    /// last port of the host
    pub last_port: u16,
    /// who gets it
    pub guest: GuestRef,
    /// the guest's port for `first_port`; those of a range follow
    pub guest_port: u16,
    /// the guest sees the client's address, not the gateway's (if the client is not on the host itself)
    pub preserve_source: bool,
}
