//! What the gateway itself answers: ARP, NDP and router advertisements, DHCP, DNS, TFTP.
//!
//! The gateway parses and checks frames down to the datagram, and hands over what is for its own addresses, for broadcast or for a
//! multicast group. Answers go out through [`Context::out`]; [`crate::frame`] has what writes their headers.
use crate::config::Config;
use crate::counters::{Counters, DropReason};
use crate::frame::{Arp, Datagram, Ndp};
use crate::{Host, Output, Readiness, Token};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What the services are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServicesConfig {}

/// What a service may use while it handles something.
#[allow(missing_debug_implementations, reason = "borrows trait objects")]
pub struct Context<'a> {
    /// time, from an origin of the caller's
    pub now: Duration,
    /// sockets of the host, for DNS upstreams
    pub host: &'a mut dyn Host,
    /// frames to the network
    pub out: &'a mut dyn Output,
    /// what is counted
    pub counters: &'a mut Counters,
}

/// A TCP connection of a guest to a service of the gateway (DNS over TCP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(pub u32);

/// All services of a gateway.
#[derive(Debug)]
pub struct Services {}

impl Services {
    /// `seed` makes what must not be guessed (DNS query ids).
    pub fn new(_config: &Config, _seed: u64) -> Self {
        Self {}
    }

    /// An ARP packet. The gateway has already learned its sender.
    pub fn arp(&mut self, cx: &mut Context<'_>, _arp: &Arp) {
        cx.counters.drop(DropReason::Service);
    }

    /// A neighbor or router solicitation or advertisement with hop limit 255. The gateway has already learned its sender.
    pub fn ndp(&mut self, cx: &mut Context<'_>, _ndp: &Ndp<'_>) {
        cx.counters.drop(DropReason::Service);
    }

    /// A UDP datagram to an address of the gateway, broadcast or multicast. False: no service has this port.
    pub fn datagram(&mut self, _cx: &mut Context<'_>, _datagram: &Datagram<'_>) -> bool {
        false
    }

    /// Whether a service accepts TCP connections to this address and port of the gateway's.
    pub fn listens(&self, _local: SocketAddr) -> bool {
        false
    }

    /// A guest connected to a service. False: it is not to be.
    pub fn stream_open(&mut self, _now: Duration, _stream: StreamId, _guest: SocketAddr) -> bool {
        false
    }

    /// Bytes that the guest sent, in order; how many were taken. The rest comes again once there was output.
    pub fn stream_input(
        &mut self,
        _cx: &mut Context<'_>,
        _stream: StreamId,
        bytes: &[u8],
    ) -> usize {
        bytes.len()
    }

    /// Moves bytes for the guest into `into`; how many. `None`: there will be no more, close.
    pub fn stream_output(&mut self, _stream: StreamId, _into: &mut [u8]) -> Option<usize> {
        None
    }

    /// The guest closed or reset the connection.
    pub fn stream_closed(&mut self, _stream: StreamId) {}

    /// A stream that has output since it was asked last, if there is one; each is told once.
    pub fn next_ready_stream(&mut self) -> Option<StreamId> {
        None
    }

    /// Something happened to a socket with a token of class [`crate::TokenClass::Service`].
    pub fn host_event(&mut self, _cx: &mut Context<'_>, _token: Token, _ready: Readiness) {}

    /// Timers; when to be called next.
    pub fn poll(&mut self, _cx: &mut Context<'_>) -> Option<Duration> {
        None
    }

    /// The address of a guest by its name (a lease's or a reservation's).
    pub fn resolve(&self, _name: &str, _ipv6: bool) -> Option<IpAddr> {
        None
    }

    /// The address that was leased first and still is, for forwards that name no guest.
    pub fn first_lease(&self, _ipv6: bool) -> Option<IpAddr> {
        None
    }
}
