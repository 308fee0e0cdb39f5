//! TFTP packets (RFC 1350, 5) and their options (RFC 2347).
use crate::services::cursor::{Put, Reader};

/// Where transfers begin.
pub const PORT: u16 = 69;
/// Octets of a block, unless others are agreed on.
pub(crate) const DEFAULT_BLOCK: usize = 512;
/// The smallest that may be agreed on (RFC 2348).
const MIN_BLOCK: usize = 8;
/// Blocks that may be under way at once, at most (RFC 7440): enough for the path of a guest.
const MAX_WINDOW: u16 = 64;
/// A request has no more octets (RFC 2347).
const MAX_REQUEST: usize = 512;

/// Packet types.
mod opcode {
    pub(super) const READ: u16 = 1;
    pub(super) const WRITE: u16 = 2;
    pub(super) const DATA: u16 = 3;
    pub(super) const ACK: u16 = 4;
    pub(super) const ERROR: u16 = 5;
    pub(super) const OPTIONS_ACK: u16 = 6;
}

/// Error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    Undefined = 0,
    NotFound = 1,
    AccessViolation = 2,
    IllegalOperation = 4,
    UnknownTransfer = 5,
}

/// What a client may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    Read(Request),
    Write,
    Ack(u16),
    Error,
}

impl Packet {
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        match reader.u16()? {
            opcode::READ if payload.len() <= MAX_REQUEST => {
                Request::parse(reader.rest()).map(Self::Read)
            }
            opcode::WRITE => Some(Self::Write),
            opcode::ACK => reader.u16().map(Self::Ack),
            opcode::ERROR => Some(Self::Error),
            _ => None,
        }
    }
}

/// A request to read a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) file: String,
    pub(crate) octet: bool,
    pub(crate) options: Options,
}

/// What is asked for, or agreed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) block: Option<usize>,
    pub(crate) window: Option<u16>,
    /// seconds
    pub(crate) timeout: Option<u8>,
    pub(crate) size: Option<u64>,
}

impl Request {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        // Every string ends with a zero, also the last one.
        let mut strings = text.strip_suffix('\0')?.split('\0');
        let file = strings.next().filter(|file| !file.is_empty())?.to_owned();
        let octet = strings.next()?.eq_ignore_ascii_case("octet");
        let mut options = Options::default();
        while let Some(name) = strings.next() {
            let value = strings.next()?;
            options.set(name, value);
        }
        Some(Self {
            file,
            octet,
            options,
        })
    }
}

impl Options {
    /// An option that is not known, or not as it must be, is left out of the answer, which tells the client enough (RFC 2347).
    fn set(&mut self, name: &str, value: &str) {
        let Ok(value) = value.parse::<u64>() else {
            return;
        };
        let small = u16::try_from(value).ok();
        match name.to_ascii_lowercase().as_str() {
            "blksize" => {
                let block = small.map(usize::from);
                self.block = block.filter(|block| (MIN_BLOCK..=65_464).contains(block));
            }
            "windowsize" => {
                let window = small.filter(|window| *window >= 1);
                self.window = window.map(|window| window.min(MAX_WINDOW));
            }
            "timeout" => self.timeout = u8::try_from(value).ok().filter(|value| *value >= 1),
            "tsize" => self.size = Some(value),
            _ => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn acknowledgement(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(64);
        packet.put_u16(opcode::OPTIONS_ACK);
        let values = [
            ("blksize", self.block.map(|block| block.to_string())),
            ("windowsize", self.window.map(|window| window.to_string())),
            ("timeout", self.timeout.map(|timeout| timeout.to_string())),
            ("tsize", self.size.map(|size| size.to_string())),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                put_string(&mut packet, name);
                put_string(&mut packet, &value);
            }
        }
        packet
    }
}

/// The start of a data packet; the block's octets follow.
pub(crate) fn data(number: u16, capacity: usize) -> Vec<u8> {
    let mut packet = Vec::with_capacity(4 + capacity);
    packet.put_u16(opcode::DATA);
    packet.put_u16(number);
    packet
}

pub(crate) fn error(code: ErrorCode, text: &str) -> Vec<u8> {
    let mut packet = Vec::with_capacity(5 + text.len());
    packet.put_u16(opcode::ERROR);
    packet.put_u16(code as u16);
    put_string(&mut packet, text);
    packet
}

fn put_string(packet: &mut Vec<u8>, text: &str) {
    packet.put(text.as_bytes());
    packet.put_u8(0);
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
