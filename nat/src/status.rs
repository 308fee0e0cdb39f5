//! What is told of a flow, for `netbackend flows`.
use crate::MacAddr;
use std::net::SocketAddr;
use std::time::Duration;

/// Protocol of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// ICMP or ICMPv6 echo; ports are the guest's identifier
    Echo,
}

/// Who began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowDirection {
    /// the guest
    Outbound,
    /// the world, by a forward
    Inbound,
}

/// State of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowState {
    /// TCP: the world is asked for a connection
    Connecting,
    /// TCP: the guest has been sent SYN or SYN-ACK
    HandShake,
    /// data may flow both ways
    Established,
    /// TCP: the guest sends no more
    GuestClosed,
    /// TCP: the world sends no more
    WorldClosed,
    /// TCP: both sides have ended
    Closing,
}

/// A flow, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStatus {
    /// protocol
    pub protocol: Protocol,
    /// who began
    pub direction: FlowDirection,
    /// MAC address of the guest
    pub mac: MacAddr,
    /// the guest's end
    pub guest: SocketAddr,
    /// the other end, as the guest sees it; of a UDP mapping the one it sent to last
    pub remote: SocketAddr,
    /// state
    pub state: FlowState,
    /// bytes of payload from the guest
    pub sent: u64,
    /// bytes of payload to the guest
    pub received: u64,
    /// bytes that lie in buffers
    pub buffered: usize,
    /// since it was made
    pub age: Duration,
    /// since the last packet
    pub idle: Duration,
}
