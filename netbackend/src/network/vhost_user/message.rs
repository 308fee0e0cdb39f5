//! A message of the protocol while it is still in the socket: whole, and sure to find room for its reply.
//!
//! Crate `vhost` 0.18 reads a header with one call and a body with another, and takes what comes for all there is; and it sends
//! a reply again and again to a peer that reads none. So a message is handed to it when all of it is there, and while the peer takes replies.
use super::super::sys;
use crate::sys::own_received;
use nix::{
    cmsg_space,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
};
use std::{
    io::{self, IoSliceMut, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    thread,
    time::{Duration, Instant},
};
use vhost::vhost_user::Error as ProtocolError;

/// How long a front-end may take for the rest of a message, and to take a reply.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks at a message that is not whole. No poll can wait for more of what is there already.
const PAUSE: Duration = Duration::from_millis(1);

/// Bytes of a header: request, flags, size of the body (vhost-user.rst, "Header").
const HEADER_LEN: usize = 12;
/// The largest body that crate `vhost` takes, beyond any of the specification.
const MAX_BODY: usize = 0x1000;
/// The most fds that crate `vhost` takes with a message.
const MAX_FDS: usize = 32;
/// The most that Linux sends with one.
const SCM_MAX_FD: usize = 253;
/// A header, and a number of 64 bits or a vring state (index, num).
const HEAD_LEN: usize = HEADER_LEN + 8;

const FLAGS_VERSION: u32 = 0x1;
const FLAGS_VERSION_MASK: u32 = 0x3;
const FLAGS_REPLY: u32 = 1 << 2;
const FLAGS_NEED_REPLY: u32 = 1 << 3;

/// Header and begin of the body of the next message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    bytes: [u8; HEAD_LEN],
    /// How many of them were looked at: a look ends behind the piece of a message that came with fds.
    seen: usize,
}

impl Head {
    /// Waits for a message, and for all of it. Leaves it where it is.
    pub(super) fn peek(stream: &UnixStream) -> Result<Self, ProtocolError> {
        // Between messages a front-end may be silent for days.
        wait(stream, libc::POLLIN, None)?;
        let begun = Instant::now();
        let mut head = Self {
            bytes: [0; HEAD_LEN],
            seen: 0,
        };
        loop {
            // Asked before the bytes are counted: nothing comes after the end.
            let ended = wait(stream, 0, Some(Duration::ZERO))?;
            let there = sys::bytes_to_read(stream).map_err(ProtocolError::SocketBroken)?;
            if there >= HEADER_LEN {
                head.seen = look(stream, &mut head.bytes)?;
                if head.seen < HEADER_LEN {
                    // No front-end has a reason to send fds with a part of a header.
                    return Err(ProtocolError::InvalidMessage);
                }
                let body = usize::try_from(head.word(8)).unwrap_or(usize::MAX);
                if body > MAX_BODY {
                    return Err(ProtocolError::InvalidMessage);
                }
                if there >= HEADER_LEN + body {
                    return Ok(head);
                }
            }
            if ended {
                return Err(ProtocolError::Disconnected);
            }
            if begun.elapsed() > PATIENCE {
                return Err(ProtocolError::PartialMessage);
            }
            thread::sleep(PAUSE);
        }
    }

    pub(super) fn request(&self) -> u32 {
        self.word(0)
    }

    /// A request of the version that there is, with a body of 8 bytes that could be looked at.
    pub(super) fn has_number(&self) -> bool {
        self.is_request()
            && self.seen == HEAD_LEN
            && usize::try_from(self.word(8)) == Ok(HEAD_LEN - HEADER_LEN)
    }

    /// A request of the version that there is, without a body.
    pub(super) fn is_empty(&self) -> bool {
        self.is_request() && self.word(8) == 0
    }

    fn is_request(&self) -> bool {
        self.word(4) & (FLAGS_VERSION_MASK | FLAGS_REPLY) == FLAGS_VERSION
    }

    pub(super) fn wants_reply(&self) -> bool {
        self.word(4) & FLAGS_NEED_REPLY != 0
    }

    /// The body as one number.
    pub(super) fn number(&self) -> u64 {
        u64::from_ne_bytes(self.body())
    }

    /// The body as a vring state: index, num.
    pub(super) fn vring_state(&self) -> (u32, u32) {
        (self.word(HEADER_LEN), self.word(HEADER_LEN + 4))
    }

    pub(super) fn body(&self) -> [u8; 8] {
        let [.., b0, b1, b2, b3, b4, b5, b6, b7] = self.bytes;
        [b0, b1, b2, b3, b4, b5, b6, b7]
    }

    fn word(&self, at: usize) -> u32 {
        self.bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }
}

/// Takes a message with a body of 8 bytes out of the socket; fds that came with it are closed.
pub(super) fn take(stream: &mut UnixStream) -> Result<(), ProtocolError> {
    discard(stream, &mut [0; HEAD_LEN])
}

/// Takes a message without a body out of the socket.
pub(super) fn take_header(stream: &mut UnixStream) -> Result<(), ProtocolError> {
    discard(stream, &mut [0; HEADER_LEN])
}

/// The same with the one fd that came with it.
pub(super) fn take_header_with_fd(stream: &UnixStream) -> Result<OwnedFd, ProtocolError> {
    let (seen, fds) = receive(stream, &mut [0; HEADER_LEN], MsgFlags::empty())?;
    match <[OwnedFd; 1]>::try_from(fds) {
        Ok([fd]) if seen == HEADER_LEN => Ok(fd),
        _ => Err(ProtocolError::IncorrectFds),
    }
}

fn discard(stream: &mut UnixStream, bytes: &mut [u8]) -> Result<(), ProtocolError> {
    stream
        .read_exact(bytes)
        .map_err(ProtocolError::SocketBroken)
}

/// Waits until the peer has taken enough of what it was told before that a reply finds room.
pub(super) fn wait_for_room(stream: &UnixStream) -> Result<(), ProtocolError> {
    let begun = Instant::now();
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let found = poll(stream, libc::POLLOUT, Some(left))?;
        if found & libc::POLLOUT != 0 {
            return Ok(());
        }
        if found != 0 {
            return Err(ProtocolError::Disconnected);
        }
        if left.is_zero() {
            return Err(ProtocolError::SocketBroken(io::Error::new(
                io::ErrorKind::TimedOut,
                "the front-end does not read its replies",
            )));
        }
    }
}

/// Answers `request` with a number.
pub(super) fn reply(
    stream: &mut UnixStream,
    request: u32,
    number: u64,
) -> Result<(), ProtocolError> {
    let mut bytes = [0; HEAD_LEN];
    let (header, body) = bytes.split_at_mut(HEADER_LEN);
    for (slot, word) in header
        .chunks_exact_mut(4)
        .zip([request, FLAGS_VERSION | FLAGS_REPLY, 8])
    {
        slot.copy_from_slice(&word.to_ne_bytes());
    }
    body.copy_from_slice(&number.to_ne_bytes());
    stream
        .write_all(&bytes)
        .map_err(ProtocolError::SocketBroken)
}

/// Looks at the begin of a message; returns how many bytes of it there were to see. One with more fds than a message may
/// have ends the connection: the crate would throw it away and wait for its rest.
fn look(stream: &UnixStream, buf: &mut [u8]) -> Result<usize, ProtocolError> {
    // A look has made copies of the fds, closed here.
    let (seen, fds) = receive(stream, buf, MsgFlags::MSG_PEEK)?;
    if fds.len() > MAX_FDS {
        return Err(ProtocolError::IncorrectFds);
    }
    Ok(seen)
}

/// How many bytes came, and all fds with them.
fn receive(
    stream: &UnixStream,
    buf: &mut [u8],
    flags: MsgFlags,
) -> Result<(usize, Vec<OwnedFd>), ProtocolError> {
    // Nothing is ever cut: what is cut cannot be closed.
    let mut control = cmsg_space!([RawFd; SCM_MAX_FD]);
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    loop {
        let mut parts = [IoSliceMut::new(buf)];
        match recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Err(nix::Error::EINTR | nix::Error::EAGAIN) => {}
            Err(error) => return Err(ProtocolError::SocketBroken(error.into())),
            Ok(message) => {
                let mut fds = Vec::new();
                for part in message.cmsgs().into_iter().flatten() {
                    if let ControlMessageOwned::ScmRights(received) = part {
                        fds.extend(received.into_iter().map(own_received));
                    }
                }
                return Ok((message.bytes, fds));
            }
        }
    }
}

/// Waits for `events`; true: no more will come. A front-end that has ended only its sending side sends no more either.
fn wait(
    stream: &UnixStream,
    events: libc::c_short,
    timeout: Option<Duration>,
) -> Result<bool, ProtocolError> {
    const END: libc::c_short = libc::POLLHUP | libc::POLLRDHUP;
    Ok(poll(stream, events | END, timeout)? & END != 0)
}

fn poll(
    stream: &UnixStream,
    events: libc::c_short,
    timeout: Option<Duration>,
) -> Result<libc::c_short, ProtocolError> {
    sys::poll_fd(stream, events, timeout).map_err(ProtocolError::SocketBroken)
}
