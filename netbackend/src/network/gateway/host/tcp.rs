//! TCP connections of the host.
use super::{error, sys::set_option};
use nat::HostError;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, Shutdown, recvmsg, sendmsg, shutdown},
};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::{
    io::{self, IoSlice, IoSliceMut},
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// When the peer of a connection that is to be probed is given up: two minutes after it was heard. Who asks for that waits no longer
/// either, and a path that is broken for a moment is none (RFC 5382, REQ-5 wants what is idle kept, not what does not answer).
const PROBE_AFTER: Duration = Duration::from_mins(1);
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Begins a connection.
pub(super) fn connect(remote: SocketAddr) -> io::Result<OwnedFd> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(remote), kind, Some(Protocol::TCP))?;
    settle(&socket)?;
    match socket.connect(&remote.into()) {
        Err(failed) if error::of(io::Error::from(failed.kind())) == HostError::WouldBlock => {}
        Err(failed) if failed.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
        Err(failed) => return Err(failed),
        Ok(()) => {}
    }
    Ok(socket.into())
}

/// The guest decides what goes together into a segment: it is not to be held back here once more. Urgent data stays where it is in
/// the stream (RFC 6093, 5): a byte that is taken out of it would be lost. A peer that has vanished would never be noticed on an
/// idle connection, as the guest's own probes end here: the kernel's are left at its times (RFC 1122, 4.2.3.6: two hours).
fn settle(socket: &Socket) -> io::Result<()> {
    socket.set_keepalive(true)?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_OOBINLINE, 1)?;
    socket.set_tcp_nodelay(true)
}

/// How the attempt ended.
pub(super) fn outcome(fd: BorrowedFd<'_>) -> Result<(), HostError> {
    let socket = SockRef::from(&fd);
    match socket.take_error() {
        Ok(Some(failed)) | Err(failed) => Err(error::of(failed)),
        Ok(None) => match socket.peer_addr() {
            Ok(_) => Ok(()),
            Err(pending) if pending.raw_os_error() == Some(Errno::ENOTCONN as i32) => {
                Err(HostError::WouldBlock)
            }
            Err(failed) => Err(error::of(failed)),
        },
    }
}

/// Takes one connection.
pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, SocketAddr), HostError> {
    let (socket, peer) = SockRef::from(&listener).accept().map_err(error::of)?;
    socket.set_nonblocking(true).map_err(error::of)?;
    settle(&socket).map_err(error::of)?;
    let peer = peer.as_socket().ok_or(HostError::Reset)?;
    Ok((socket.into(), plain(peer)))
}

/// An IPv4 peer of a dual-stack socket by its IPv4 address.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

pub(super) fn read(fd: BorrowedFd<'_>, into: &mut [IoSliceMut<'_>]) -> Result<usize, HostError> {
    let flags = MsgFlags::MSG_DONTWAIT;
    error::again(|| recvmsg::<()>(fd.as_raw_fd(), into, None, flags).map(|message| message.bytes))
        .map_err(error::of_errno)
}

pub(super) fn write(fd: BorrowedFd<'_>, from: &[IoSlice<'_>]) -> Result<usize, HostError> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    error::again(|| sendmsg::<()>(fd.as_raw_fd(), from, &[], flags, None)).map_err(error::of_errno)
}

/// Has an idle connection probed soon.
pub(super) fn keep_alive(fd: BorrowedFd<'_>) {
    let often = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_INTERVAL)
        .with_retries(PROBES);
    // Fails only if the peer is gone: then there is nobody to probe.
    let _ = SockRef::from(&fd).set_tcp_keepalive(&often);
}

pub(super) fn shutdown_write(fd: BorrowedFd<'_>) {
    // Fails only if the peer is gone: then there is nobody to tell.
    let _ = shutdown(fd.as_raw_fd(), Shutdown::Write);
}

/// Has the socket close with RST: the peer learns that what was sent may not have arrived.
pub(super) fn reset(socket: &OwnedFd) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
