//! The world: sockets of the host, non-blocking, behind a trait.
//!
//! Results are values; nothing waits. Events are *edges*: whoever reports a socket readable does so once, and the gateway reads
//! until [`HostError::WouldBlock`] (or a short read); likewise for writing. So an event loop registers each socket once and never
//! changes its interest. An edge that arrives between is reported again, even if nothing changed: spurious events are harmless.
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// A socket, by a number that the [`Host`] chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

/// Who gets the events of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u64);

/// The part of the gateway that a [`Token`] belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenClass {
    /// a TCP flow
    Tcp,
    /// a UDP mapping
    Udp,
    /// an ICMP echo mapping
    Echo,
    /// a forward's listening socket
    Forward,
    /// one of [`crate::services`]
    Service,
}

impl Token {
    const CLASSES: [TokenClass; 5] = [
        TokenClass::Tcp,
        TokenClass::Udp,
        TokenClass::Echo,
        TokenClass::Forward,
        TokenClass::Service,
    ];

    /// `generation` tells an index that is used again from its past; its upper 8 bits are lost.
    pub const fn new(class: TokenClass, index: u32, generation: u32) -> Self {
        Self((class as u64) << 56 | ((generation & 0xff_ffff) as u64) << 32 | index as u64)
    }

    /// The token as an event loop keeps it.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The token that [`Token::to_bits`] was called on. Bits that never were a token belong to nobody, and do no harm.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whose it is.
    pub fn class(self) -> Option<TokenClass> {
        let [class, ..] = self.0.to_be_bytes();
        Self::CLASSES.get(usize::from(class)).copied()
    }

    /// Index within the class.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the lower half is the index"
    )]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// Generation of the index, 24 bits.
    #[allow(clippy::cast_possible_truncation, reason = "24 bits are left")]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & 0xff_ffff
    }
}

/// What happened to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// there is something to read, or to accept
    pub readable: bool,
    /// there is room to write, or a connection attempt has ended
    pub writable: bool,
    /// the peer sends no more (EPOLLRDHUP or EPOLLHUP)
    pub peer_closed: bool,
    /// there is an error to be fetched (EPOLLERR)
    pub error: bool,
    /// there is urgent data, at which a read stops (EPOLLPRI)
    pub urgent: bool,
}

/// Why something did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum HostError {
    /// not now; an event will tell
    #[error("would block")]
    WouldBlock,
    /// ECONNREFUSED
    #[error("connection refused")]
    Refused,
    /// ECONNRESET, EPIPE, ECONNABORTED
    #[error("connection reset")]
    Reset,
    /// ENETUNREACH
    #[error("network unreachable")]
    NetworkUnreachable,
    /// EHOSTUNREACH
    #[error("host unreachable")]
    HostUnreachable,
    /// ETIMEDOUT
    #[error("timed out")]
    TimedOut,
    /// EACCES, EPERM
    #[error("not permitted")]
    NotPermitted,
    /// EADDRINUSE
    #[error("address already in use")]
    AddressInUse,
    /// EADDRNOTAVAIL, ENODEV: no such address or interface
    #[error("no such address or interface on this host")]
    AddressNotAvailable,
    /// EMSGSIZE: larger than the path takes in one piece; the error queue may tell the MTU
    #[error("message too long")]
    MessageTooLong,
    /// EMFILE, ENFILE, ENOBUFS, ENOMEM
    #[error("out of file descriptors or memory")]
    NoResources,
    /// any other
    #[error("system error {0}")]
    Other(i32),
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Where to listen, for TCP connections or for datagrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAt {
    /// only at this address; `None`: at all addresses, of IPv4 and IPv6 (one dual-stack socket, or the family that the host has)
    pub address: Option<IpAddr>,
    /// only what arrives by this interface (`SO_BINDTODEVICE`)
    pub interface: Option<String>,
    /// port; 0: any
    pub port: u16,
}

/// A datagram to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// where to; for an echo socket the port is 0
    pub to: SocketAddr,
    /// from which of the host's addresses; `None`: the host chooses
    pub from: Option<IpAddr>,
    /// UDP payload; on an echo socket the whole ICMP message (the host puts its own identifier and checksum in)
    pub payload: &'a [u8],
    /// the payload is several datagrams of this size each, the last may be shorter (`UDP_SEGMENT`)
    pub segment: Option<u16>,
    /// TTL or hop limit; `None`: the host's default
    pub hop_limit: Option<u8>,
    /// never fragment: answer [`HostError::MessageTooLong`], now or through [`Host::receive_error`]
    pub dont_fragment: bool,
    /// DSCP and ECN bits
    pub traffic_class: u8,
}

/// A datagram received.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// who sent it; for an echo socket the port is 0
    pub from: SocketAddr,
    /// which of the host's addresses it was sent to, on a socket that listens at all of them
    pub to: Option<IpAddr>,
    /// UDP payload; on an echo socket the whole ICMP message
    pub payload: &'a [u8],
    /// the payload is several datagrams of this size each, the last may be shorter (`UDP_GRO`)
    pub segment: Option<u16>,
    /// TTL or hop limit it came with, if known
    pub hop_limit: Option<u8>,
    /// DSCP and ECN bits
    pub traffic_class: u8,
}

impl<'a> Incoming<'a> {
    /// The datagrams, one by one; one of no bytes is one, too.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let size = self.segment.map_or(self.payload.len(), usize::from).max(1);
        let empty = self.payload.is_empty().then_some(self.payload);
        self.payload.chunks(size).chain(empty)
    }

    /// As many of its datagrams, from the first on, as pass; `None`: none does.
    pub(crate) fn leading(self, mut passes: impl FnMut(usize) -> bool) -> Option<Self> {
        let passing = self
            .datagrams()
            .take_while(|datagram| passes(datagram.len()));
        let lengths = passing.map(<[u8]>::len);
        let (count, bytes) = lengths.fold((0, 0), |(count, bytes), len| (count + 1, bytes + len));
        let payload = self.payload.get(..bytes)?;
        (count > 0).then_some(Self { payload, ..self })
    }
}

/// What the network said about a datagram that was sent (an entry of the error queue, `IP_RECVERR`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingError {
    /// where the datagram was to go; for an echo socket the port is 0
    pub destination: SocketAddr,
    /// who said so; `None`: this host itself
    pub offender: Option<IpAddr>,
    /// ICMP or ICMPv6 type, of the destination's family
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code
    pub icmp_code: u8,
    /// sequence number of the echo request that this is about, on an echo socket
    pub sequence: Option<u16>,
    /// MTU of the path, if this is about it (`icmp_type`, `icmp_code`: fragmentation needed, or packet too big)
    pub mtu: Option<u32>,
    /// the datagram's payload, as much of it as came back
    pub quoted: Vec<u8>,
}

/// Datagrams that [`Host::send`] took and that could not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// whose socket it was
    pub token: Token,
    /// the socket; it may be closed by now
    pub socket: SocketId,
    /// where they were to go
    pub to: SocketAddr,
    /// from which address, if that was not the host's choice
    pub from: Option<IpAddr>,
    /// why they could not
    pub error: HostError,
    /// how many there were
    pub count: u32,
    /// the first one's payload, as much of it as an error quotes
    pub quoted: Vec<u8>,
}

/// Sockets of the host. See the module for what an event means.
pub trait Host {
    /// Begins a connection. How it ended is told by [`Host::tcp_connected`], to be asked after a writable or error event.
    fn tcp_connect(&mut self, token: Token, remote: SocketAddr) -> Result<SocketId, HostError>;

    /// The outcome of [`Host::tcp_connect`]; [`HostError::WouldBlock`] while there is none.
    fn tcp_connected(&mut self, socket: SocketId) -> Result<(), HostError>;

    /// Listens for connections; each is announced by a readable event.
    fn tcp_listen(&mut self, token: Token, at: &ListenAt) -> Result<SocketId, HostError>;

    /// Takes one connection, whose events will go to `token`; and who the peer is.
    fn tcp_accept(
        &mut self,
        listener: SocketId,
        token: Token,
    ) -> Result<(SocketId, SocketAddr), HostError>;

    /// Reads from a connection; 0: the peer sends no more.
    fn read(&mut self, socket: SocketId, into: &mut [IoSliceMut<'_>]) -> Result<usize, HostError>;

    /// Writes to a connection, what there is room for. Never raises SIGPIPE.
    fn write(&mut self, socket: SocketId, from: &[IoSlice<'_>]) -> Result<usize, HostError>;

    /// Has a connection that is idle for a minute probed, so that a peer that vanished is noticed soon and told by an error event.
    /// Connections that this was not asked for are probed after two hours.
    fn keep_alive(&mut self, socket: SocketId);

    /// Sends no more on a connection (half-close).
    fn shutdown_write(&mut self, socket: SocketId);

    /// Closes any socket; a connection by its rules: what was written still arrives.
    fn close(&mut self, socket: SocketId);

    /// Closes a connection with RST.
    fn reset(&mut self, socket: SocketId);

    /// Opens an unconnected UDP socket for a guest's mapping, at an address and port that the host chooses.
    fn udp_open(&mut self, token: Token, family: Family) -> Result<SocketId, HostError>;

    /// Opens a UDP socket that the world sends to (a forward).
    fn udp_listen(&mut self, token: Token, at: &ListenAt) -> Result<SocketId, HostError>;

    /// Opens an unconnected ICMP echo ("ping") socket.
    fn echo_open(&mut self, token: Token, family: Family) -> Result<SocketId, HostError>;

    /// Sends a datagram on a UDP or echo socket, at the latest with [`Host::flush`]. What fails after it was taken is told by
    /// [`Host::take_unsent`].
    fn send(&mut self, socket: SocketId, datagram: &Outgoing<'_>) -> Result<(), HostError>;

    /// Sends what [`Host::send`] has held back.
    fn flush(&mut self);

    /// Takes what was held back and then could not be sent, if there is something.
    fn take_unsent(&mut self) -> Option<Unsent>;

    /// Receives up to `limit` datagrams, each handed to `sink`; how many there were. Fewer than `limit`: no more are there now.
    fn receive(
        &mut self,
        socket: SocketId,
        limit: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, HostError>;

    /// Takes what the network said about a datagram, if there is something.
    fn receive_error(&mut self, socket: SocketId) -> Option<IncomingError>;

    /// Whether an address is one of the host's own, loopback or not.
    fn is_own_address(&mut self, address: IpAddr) -> bool;
}
