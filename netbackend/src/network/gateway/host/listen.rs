//! Sockets that the world connects or sends to.
//!
//! The supervisor opens them: it may use ports below 1024, tells at once when one is taken, and keeps them open over a restart
//! of the worker. What it did not open is opened here.
use nat::{Family, ListenAt, forward::Transport};
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;

/// A listening socket that the supervisor opened.
#[derive(Debug)]
pub(crate) struct GivenSocket {
    pub(crate) transport: Transport,
    pub(crate) at: ListenAt,
    pub(crate) socket: OwnedFd,
}

/// Such sockets, until somebody listens there.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<GivenSocket>);

impl Given {
    pub(super) fn add(&mut self, socket: GivenSocket) {
        self.0.push(socket);
    }

    pub(super) fn take(&mut self, transport: Transport, at: &ListenAt) -> Option<OwnedFd> {
        let mut sockets = self.0.iter();
        let found = sockets.position(|given| given.transport == transport && given.at == *at)?;
        Some(self.0.swap_remove(found).socket)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Opens a socket for a forward.
pub(crate) fn open_listener(transport: Transport, at: &ListenAt) -> io::Result<OwnedFd> {
    match transport {
        Transport::Tcp => tcp(at),
        Transport::Udp => udp(at),
    }
}

/// Opens a socket that takes connections.
pub(super) fn tcp(at: &ListenAt) -> io::Result<OwnedFd> {
    let socket = bound(at, Type::STREAM)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens a socket that takes datagrams.
pub(super) fn udp(at: &ListenAt) -> io::Result<OwnedFd> {
    bound(at, Type::DGRAM).map(OwnedFd::from)
}

fn bound(at: &ListenAt, kind: Type) -> io::Result<Socket> {
    let kind = kind.nonblocking().cloexec();
    let (socket, address) = match at.address {
        Some(address) => {
            let address = SocketAddr::new(address, at.port);
            (
                Socket::new(Domain::for_address(address), kind, None)?,
                address,
            )
        }
        None => any(at.port, kind)?,
    };
    if kind_is_stream(&socket)? {
        // Connections of before may linger; a listener in use is still refused.
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(at.address.is_some())?;
    }
    if let Some(interface) = &at.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// All addresses of both families, or of IPv4 on a host without IPv6.
fn any(port: u16, kind: Type) -> io::Result<(Socket, SocketAddr)> {
    if let Ok(socket) = Socket::new(Domain::IPV6, kind, None) {
        let all = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        return Ok((socket, SocketAddr::new(all, port)));
    }
    let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    Ok((socket, SocketAddr::new(all, port)))
}

fn kind_is_stream(socket: &Socket) -> io::Result<bool> {
    Ok(socket.r#type()? == Type::STREAM)
}

/// The family of an open socket.
pub(super) fn family_of(socket: &OwnedFd) -> io::Result<Family> {
    let domain = SockRef::from(socket).domain()?;
    Ok(if domain == Domain::IPV4 {
        Family::V4
    } else {
        Family::V6
    })
}
