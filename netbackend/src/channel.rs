//! Messages with descriptors over a `SOCK_SEQPACKET` socket pair.
use crate::{network::MAX_QUEUE_PAIRS, sys};
use nix::{
    cmsg_space,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
        recvmsg, sendmsg, socketpair,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

/// Largest message: below the kernel's default send buffer (212992 bytes with its overhead), which
/// a message must fit as a whole.
pub(crate) const MAX_MESSAGE: usize = 128 << 10;
/// One tap has one descriptor per queue pair; the kernel passes up to 253 (`SCM_MAX_FD`).
const MAX_FDS: usize = MAX_QUEUE_PAIRS as usize;

/// A connected pair; both close on exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

/// Sends one message as JSON.
///
/// # Errors
/// The peer is gone; the socket does not block and its buffer is full; the message is too large.
pub(crate) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE || fds.len() > MAX_FDS {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} bytes and {} fds are too much for a message",
                bytes.len(),
                fds.len()
            ),
        ));
    }
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let parts = [IoSlice::new(&bytes)];
    // A broken pipe is an error here, not a signal.
    let flags = MsgFlags::MSG_NOSIGNAL;
    loop {
        match sendmsg::<UnixAddr>(socket.as_fd().as_raw_fd(), &parts, control, flags, None) {
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// Receives one message; `None` when the peer has closed its end.
///
/// # Errors
/// The socket does not block and nothing is there; the message is cut or is not a `T`.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut control = cmsg_space!([RawFd; MAX_FDS]);
    let (length, flags, fds) = loop {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let socket = socket.as_fd().as_raw_fd();
        match recvmsg::<UnixAddr>(socket, &mut parts, Some(&mut control), flags) {
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(message) => {
                let mut fds = Vec::new();
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = control {
                        fds.extend(raw.into_iter().map(sys::own_received));
                    }
                }
                break (message.bytes, message.flags, fds);
            }
        }
    };
    if length == 0 {
        return Ok(None);
    }
    if flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message was cut",
        ));
    }
    let bytes = buffer.get(..length).unwrap_or_default();
    Ok(Some((serde_json::from_slice(bytes)?, fds)))
}

#[cfg(test)]
#[path = "channel_test.rs"]
mod tests;
