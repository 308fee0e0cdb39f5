//! Messages that crate `vhost` 0.18 does not serve, or not when front-ends send them.
//!
//! The loop looks at the next message without taking it and serves these itself:
//! * SET_VRING_ENABLE before SET_FEATURES: QEMU enables rings while its device is being reset, before it has acknowledged
//!   any feature. The spec allows it; the crate answers it with an error.
//! * SEND_RARP and NET_SET_MTU, which the crate does not know as a back-end.
use super::handler::{Handler, RequestError};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, recv},
};
use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use switch::MacAddr;
use vhost::vhost_user::{Error as ProtocolError, VhostUserProtocolFeatures};

/// Request code of SET_VRING_ENABLE (vhost-user.rst, "Front-end message types").
const SET_VRING_ENABLE: u32 = 18;
/// SEND_RARP: announce a guest that has just moved here.
const SEND_RARP: u32 = 19;
/// NET_SET_MTU: what the front-end tells its guest.
const NET_SET_MTU: u32 = 20;
/// Bytes of a message header: request, flags, size.
const HEADER_LEN: usize = 12;
/// Bytes of each of them: header and a vring state (index, num), or a number of 64 bits.
const MESSAGE_LEN: usize = HEADER_LEN + 8;
const FLAGS_VERSION: u32 = 0x1;
const FLAGS_VERSION_MASK: u32 = 0x3;
const FLAGS_REPLY: u32 = 1 << 2;
const FLAGS_NEED_REPLY: u32 = 1 << 3;

/// How long a front-end may take from the first byte of a header to its last.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);

/// Waits for the next message and serves it if it is one of ours; false: it is still there, for crate
/// `vhost`.
pub(super) fn serve(
    stream: &mut UnixStream,
    handler: &Mutex<Handler>,
) -> Result<bool, ProtocolError> {
    // The read timeout of the stream is for message bodies; between messages a front-end may be
    // silent for days.
    wait(stream, PollTimeout::NONE)?;
    let mut head = [0; MESSAGE_LEN];
    let mut len = peek(stream, &mut head)?;
    let begun = Instant::now();
    while len < HEADER_LEN {
        if len == 0 || wait(stream, PollTimeout::ZERO)? {
            return Err(ProtocolError::Disconnected);
        }
        if begun.elapsed() > HEADER_DEADLINE {
            return Err(ProtocolError::PartialMessage);
        }
        // Data is there but not enough of it: no poll can wait for more.
        std::thread::sleep(Duration::from_millis(1));
        len = peek(stream, &mut head)?;
    }
    let mut handler = handler.lock().unwrap_or_else(PoisonError::into_inner);
    let request = word(&head, 0);
    let ours = match request {
        SET_VRING_ENABLE => !handler.features_are_set(),
        SEND_RARP => handler.negotiated(VhostUserProtocolFeatures::RARP),
        NET_SET_MTU => handler.negotiated(VhostUserProtocolFeatures::MTU),
        _ => false,
    };
    if !ours {
        return Ok(false);
    }
    take(stream, &mut head)?;
    let flags = word(&head, 4);
    let size_is_right = usize::try_from(word(&head, 8)) == Ok(MESSAGE_LEN - HEADER_LEN);
    if flags & (FLAGS_VERSION_MASK | FLAGS_REPLY) != FLAGS_VERSION || !size_is_right {
        return Err(ProtocolError::InvalidMessage);
    }
    let result = obey(&mut handler, request, &head);
    if flags & FLAGS_NEED_REPLY != 0 && handler.negotiated(VhostUserProtocolFeatures::REPLY_ACK) {
        acknowledge(stream, request, result.is_err())?;
    }
    result?;
    Ok(true)
}

fn obey(
    handler: &mut Handler,
    request: u32,
    message: &[u8; MESSAGE_LEN],
) -> Result<(), RequestError> {
    let [.., m0, m1, m2, m3, m4, m5, m6, m7] = *message;
    match request {
        SEND_RARP => handler.announce(MacAddr([m0, m1, m2, m3, m4, m5])),
        NET_SET_MTU => handler.check_mtu(u64::from_ne_bytes([m0, m1, m2, m3, m4, m5, m6, m7])),
        _ => {
            let enabled = match word(message, 16) {
                0 => false,
                1 => true,
                other => return Err(RequestError::Enable(other)),
            };
            handler.enable(word(message, 12), enabled)
        }
    }
}

/// Waits for data; true: no more will come.
fn wait(stream: &UnixStream, timeout: PollTimeout) -> Result<bool, ProtocolError> {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout) {
        // Interrupted: the caller looks again.
        Ok(_) | Err(nix::Error::EINTR) => {}
        Err(error) => return Err(ProtocolError::SocketBroken(error.into())),
    }
    let [fd] = fds;
    Ok(fd
        .revents()
        .is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}

fn word(message: &[u8; MESSAGE_LEN], at: usize) -> u32 {
    message
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

fn peek(stream: &UnixStream, buf: &mut [u8]) -> Result<usize, ProtocolError> {
    loop {
        match recv(stream.as_raw_fd(), buf, MsgFlags::MSG_PEEK) {
            Ok(len) => return Ok(len),
            Err(nix::Error::EINTR | nix::Error::EAGAIN) => {}
            Err(error) => return Err(ProtocolError::SocketBroken(error.into())),
        }
    }
}

fn take(stream: &mut UnixStream, buf: &mut [u8]) -> Result<(), ProtocolError> {
    stream.read_exact(buf).map_err(broken)
}

fn acknowledge(stream: &mut UnixStream, request: u32, failed: bool) -> Result<(), ProtocolError> {
    let mut reply = [0; MESSAGE_LEN];
    let words = [
        request,
        FLAGS_VERSION | FLAGS_REPLY,
        8,
        u32::from(failed),
        0,
    ];
    for (slot, value) in reply.chunks_exact_mut(4).zip(words) {
        slot.copy_from_slice(&value.to_ne_bytes());
    }
    stream.write_all(&reply).map_err(broken)
}

fn broken(error: io::Error) -> ProtocolError {
    ProtocolError::SocketBroken(error)
}
