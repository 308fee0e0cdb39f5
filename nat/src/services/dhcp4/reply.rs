//! Putting a server's message together, in as much room as its client has.
use std::net::Ipv4Addr;

use super::message::Request;
use super::spec::{
    BOOTREPLY, DEFAULT_MAX_MESSAGE, ETHERNET, MAGIC_COOKIE, MIN_MESSAGE, MessageType, option,
};
use crate::services::cursor::Put;

const SNAME: usize = 64;
const FILE: usize = 128;
/// All before the options: `op` to `file`, and the magic cookie.
const FIXED: usize = 236 + MAGIC_COOKIE.len();
/// Room for option 52, which is only known to be needed when the others are laid out.
const OVERLOAD_ROOM: usize = 3;

/// A message on its way to a client.
#[derive(Debug)]
pub(crate) struct Reply {
    kind: MessageType,
    pub(crate) yiaddr: Ipv4Addr,
    pub(crate) siaddr: Ipv4Addr,
    /// the boot file, if there is one and the client did not ask for it as an option
    pub(crate) file: Vec<u8>,
    options: Vec<(u8, Vec<u8>)>,
}

impl Reply {
    pub(crate) fn new(kind: MessageType, server: Ipv4Addr) -> Self {
        let mut reply = Self {
            kind,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            file: Vec::new(),
            options: Vec::new(),
        };
        reply.put(option::MESSAGE_TYPE, &[kind as u8]);
        reply.put(option::SERVER_ID, &server.octets());
        reply
    }

    pub(crate) fn is_nak(&self) -> bool {
        self.kind == MessageType::Nak
    }

    /// Adds an option. What is added first is dropped last, if the client has not the room for all.
    pub(crate) fn put(&mut self, code: u8, value: &[u8]) {
        self.options.push((code, value.to_vec()));
    }

    /// The octets. Options that do not fit go into `file` and `sname`, where these are free (option 52).
    pub(crate) fn emit(mut self, request: &Request<'_>, mtu: u16) -> Vec<u8> {
        let limit = request.options.u16(option::MAX_MESSAGE_SIZE);
        // The option counts the IP and UDP headers too (RFC 2132, 9.10).
        let limit = limit.map_or(0, |limit| usize::from(limit.min(mtu)).saturating_sub(28));
        let limit = limit.max(DEFAULT_MAX_MESSAGE);
        let relay = request.options.get(option::RELAY_AGENT);
        let relay = relay
            .map(|value| encode(option::RELAY_AGENT, value))
            .unwrap_or_default();

        let mut field = Field::new(limit.saturating_sub(FIXED + OVERLOAD_ROOM + relay.len()));
        let mut file = Field::new(if self.file.is_empty() { FILE } else { 0 });
        let mut sname = Field::new(SNAME);
        for (code, value) in &self.options {
            let encoded = encode(*code, value);
            let _left_out = field.add(&encoded) || file.add(&encoded) || sname.add(&encoded);
        }
        let overload = u8::from(!file.bytes.is_empty()) | u8::from(!sname.bytes.is_empty()) << 1;
        if overload != 0 {
            field.bytes.put(&[option::OVERLOAD, 1, overload]);
        }
        // The relay's own option is the last one (RFC 3046, 2.1).
        field.bytes.put(&relay);
        field.bytes.put_u8(option::END);
        if overload & 1 != 0 {
            self.file = file.closed();
        }
        let sname = if overload & 2 != 0 {
            sname.closed()
        } else {
            Vec::new()
        };
        self.assemble(request, &sname, &field.bytes)
    }

    fn assemble(&self, request: &Request<'_>, sname: &[u8], options: &[u8]) -> Vec<u8> {
        let nak = self.kind == MessageType::Nak;
        let ciaddr = if nak {
            Ipv4Addr::UNSPECIFIED
        } else {
            request.ciaddr
        };
        let mut bytes = Vec::with_capacity(FIXED + options.len());
        bytes.put(&[BOOTREPLY, ETHERNET, request.hlen, 0]);
        bytes.put_u32(request.xid);
        bytes.put_u16(0);
        bytes.put_u16(request.flags);
        for address in [ciaddr, self.yiaddr, self.siaddr, request.giaddr] {
            bytes.put(&address.octets());
        }
        bytes.put(&request.chaddr);
        put_padded(&mut bytes, sname, SNAME);
        put_padded(&mut bytes, &self.file, FILE);
        bytes.put(&MAGIC_COOKIE);
        bytes.put(options);
        if bytes.len() < MIN_MESSAGE {
            bytes.resize(MIN_MESSAGE, option::PAD);
        }
        bytes
    }
}

fn put_padded(bytes: &mut Vec<u8>, field: &[u8], len: usize) {
    let end = bytes.len() + len;
    bytes.extend(field.iter().take(len));
    bytes.resize(end, 0);
}

/// An option, in pieces if it is long (RFC 3396).
fn encode(code: u8, value: &[u8]) -> Vec<u8> {
    if value.is_empty() {
        return vec![code, 0];
    }
    let mut bytes = Vec::with_capacity(value.len() + 2);
    for piece in value.chunks(255) {
        bytes.put_u8(code);
        bytes.put_u8(u8::try_from(piece.len()).unwrap_or(u8::MAX));
        bytes.put(piece);
    }
    bytes
}

/// A field that takes options, with one octet kept for the end mark.
struct Field {
    bytes: Vec<u8>,
    room: usize,
}

impl Field {
    fn new(len: usize) -> Self {
        Self {
            bytes: Vec::new(),
            room: len.saturating_sub(1),
        }
    }

    fn add(&mut self, encoded: &[u8]) -> bool {
        let fits = self.bytes.len() + encoded.len() <= self.room;
        if fits {
            self.bytes.put(encoded);
        }
        fits
    }

    fn closed(mut self) -> Vec<u8> {
        self.bytes.put_u8(option::END);
        self.bytes
    }
}

#[cfg(test)]
#[path = "reply_test.rs"]
mod tests;
