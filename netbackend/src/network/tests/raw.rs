//! A front-end that says what it likes, by the byte.
use super::{
    Net,
    guest::{Connected, Guest, GuestSpec, connect_stream},
};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::{
    io::{IoSlice, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};
use vhost::vhost_user::Frontend;

// Requests (vhost-user.rst, "Front-end message types").
pub(super) const GET_FEATURES: u32 = 1;
pub(super) const SET_FEATURES: u32 = 2;
pub(super) const SET_MEM_TABLE: u32 = 5;
pub(super) const SET_LOG_BASE: u32 = 6;
pub(super) const SET_VRING_NUM: u32 = 8;
pub(super) const SET_VRING_ADDR: u32 = 9;
pub(super) const SET_VRING_BASE: u32 = 10;
pub(super) const GET_VRING_BASE: u32 = 11;
pub(super) const SET_VRING_KICK: u32 = 12;
pub(super) const SET_VRING_CALL: u32 = 13;
pub(super) const SET_VRING_ERR: u32 = 14;
pub(super) const GET_PROTOCOL_FEATURES: u32 = 15;
pub(super) const SET_PROTOCOL_FEATURES: u32 = 16;
pub(super) const SET_VRING_ENABLE: u32 = 18;
pub(super) const SEND_RARP: u32 = 19;
pub(super) const NET_SET_MTU: u32 = 20;
pub(super) const SET_INFLIGHT_FD: u32 = 32;
pub(super) const ADD_MEM_REG: u32 = 37;
pub(super) const REM_MEM_REG: u32 = 38;
pub(super) const SET_STATUS: u32 = 39;
pub(super) const GET_STATUS: u32 = 40;
pub(super) const SET_DEVICE_STATE_FD: u32 = 42;
/// Flags: the version, and that a reply is wanted.
pub(super) const VERSION: u32 = 1;
pub(super) const NEED_REPLY: u32 = 1 << 3;

/// A message as it stands on the wire (vhost-user.rst, "Message specification").
pub(super) fn message(request: u32, flags: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    let header = [request, flags, size];
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
    [&header, payload].concat()
}

/// Words of 64 bits as a payload.
pub(super) fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A vring state.
pub(super) fn vring(index: u32, num: u32) -> Vec<u8> {
    [index.to_ne_bytes(), num.to_ne_bytes()].concat()
}

/// A guest on a new port, and its connection for messages by the byte.
pub(super) fn attached(net: &Net, name: &str) -> (Connected, Raw) {
    attach(&net.port(name, 1))
}

/// The same on a port that is there.
pub(super) fn attach(path: &Path) -> (Connected, Raw) {
    let raw = Raw::connect(path);
    let frontend = Frontend::from_stream(raw.0.try_clone().unwrap(), 2);
    (Guest::new(GuestSpec::default()).attach(frontend), raw)
}

/// One connection.
#[derive(Debug)]
pub(super) struct Raw(pub(super) UnixStream);

impl Raw {
    pub(super) fn connect(path: &Path) -> Self {
        let stream = connect_stream(path);
        stream
            .set_read_timeout(Some(Duration::from_mins(1)))
            .unwrap();
        Self(stream)
    }

    /// Connects, and acknowledges what is offered of the protocol; with REPLY_ACK.
    pub(super) fn negotiate(path: &Path) -> Self {
        let mut raw = Self::connect(path);
        let offered = raw.ask(GET_FEATURES).unwrap();
        let protocol = raw.ask(GET_PROTOCOL_FEATURES).unwrap();
        raw.send(SET_PROTOCOL_FEATURES, &words(&[protocol]), &[]);
        // Not LOG_ALL, and no packed rings.
        let acked = offered & !(1 << 26 | 1 << 34);
        assert_eq!(raw.tell(SET_FEATURES, &words(&[acked]), &[]), Some(0));
        raw
    }

    /// Sends a message. The back-end may have hung up: the answer tells.
    pub(super) fn send(&mut self, request: u32, payload: &[u8], fds: &[RawFd]) {
        self.send_with(VERSION, request, payload, fds);
    }

    fn send_with(&mut self, flags: u32, request: u32, payload: &[u8], fds: &[RawFd]) {
        let bytes = message(request, flags, payload);
        let parts = [IoSlice::new(&bytes)];
        let rights = [ControlMessage::ScmRights(fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        let to = self.0.as_raw_fd();
        match sendmsg::<()>(to, &parts, control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(sent) => assert_eq!(sent, bytes.len()),
            // The back-end has hung up.
            Err(nix::Error::EPIPE | nix::Error::ECONNRESET) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a message that wants a reply: 0 if it was obeyed, `None` if the connection ends instead.
    pub(super) fn tell(&mut self, request: u32, payload: &[u8], fds: &[RawFd]) -> Option<u64> {
        self.send_with(VERSION | NEED_REPLY, request, payload, fds);
        self.reply()
    }

    /// Asks for a number.
    pub(super) fn ask(&mut self, request: u32) -> Option<u64> {
        self.send(request, &[], &[]);
        self.reply()
    }

    /// The number in the next reply; `None` if the connection ends.
    pub(super) fn reply(&mut self) -> Option<u64> {
        let mut bytes = [0; 20];
        self.0.read_exact(&mut bytes).ok()?;
        Some(u64::from_ne_bytes(*bytes.last_chunk().unwrap()))
    }

    /// Sends bytes as they are.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// One piece of a message, and the fd that comes with it.
    pub(super) fn write_with_fd(&mut self, piece: &[u8], fd: RawFd) {
        let parts = [IoSlice::new(piece)];
        let fds = [fd];
        let with = [ControlMessage::ScmRights(&fds)];
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &parts, &with, MsgFlags::empty(), None);
        assert_eq!(sent, Ok(piece.len()));
    }

    /// The back-end has ended the connection: nothing more comes.
    #[track_caller]
    pub(super) fn expect_end(&mut self) {
        match self.0.read(&mut [0; 1]) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }

    /// The back-end has refused what was sent last: it has ended the connection, perhaps after an answer that says so.
    #[track_caller]
    pub(super) fn expect_end_or_refusal(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error}"),
        }
    }
}
