//! A DHCPv4 message: its fixed part and its options (RFC 2131, 2; RFC 2132, 2).
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::MacAddr;

use super::spec::{BOOTREQUEST, ETHERNET, MAGIC_COOKIE, MessageType, option};
use crate::services::cursor::Reader;

/// A client's message, as far as the server asks.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) kind: MessageType,
    pub(crate) xid: u32,
    pub(crate) flags: u16,
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) giaddr: Ipv4Addr,
    pub(crate) mac: MacAddr,
    /// `chaddr` as it came: it goes back unchanged
    pub(crate) chaddr: [u8; 16],
    pub(crate) hlen: u8,
    pub(crate) options: Options<'a>,
}

impl<'a> Request<'a> {
    /// None: not a well-formed DHCP request of an Ethernet client.
    pub(crate) fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let [op, htype, hlen, _hops] = reader.array()?;
        let xid = reader.u32()?;
        let _secs = reader.u16()?;
        let flags = reader.u16()?;
        let ciaddr = address(&mut reader)?;
        let _yiaddr = address(&mut reader)?;
        let _siaddr = address(&mut reader)?;
        let giaddr = address(&mut reader)?;
        let chaddr: [u8; 16] = reader.array()?;
        let sname = reader.take(64)?;
        let file = reader.take(128)?;
        if op != BOOTREQUEST || htype != ETHERNET || hlen != 6 || reader.array()? != MAGIC_COOKIE {
            return None;
        }
        let options = Options::parse(reader.rest(), file, sname)?;
        let [kind] = options.get(option::MESSAGE_TYPE)? else {
            return None;
        };
        Some(Self {
            kind: MessageType::from_client(*kind)?,
            xid,
            flags,
            ciaddr,
            giaddr,
            mac: MacAddr(*chaddr.first_chunk()?),
            chaddr,
            hlen,
            options,
        })
    }
}

fn address(reader: &mut Reader<'_>) -> Option<Ipv4Addr> {
    reader.array().map(Ipv4Addr::from_octets)
}

/// The options of a message. An option that is there more than once is one long option in pieces (RFC 3396).
#[derive(Debug, Default)]
pub(crate) struct Options<'a> {
    by_code: BTreeMap<u8, Value<'a>>,
}

#[derive(Debug)]
enum Value<'a> {
    Whole(&'a [u8]),
    Joined(Vec<u8>),
}

impl<'a> Options<'a> {
    /// Options of the field of that name and then, if one says so (option 52), those in `file` and `sname`. None: one does not end
    /// where its field does. A missing end mark is taken for one at the end of the field.
    pub(crate) fn parse(field: &'a [u8], file: &'a [u8], sname: &'a [u8]) -> Option<Self> {
        let mut options = Self::default();
        options.add(field)?;
        let overload = options.u8(option::OVERLOAD).unwrap_or(0);
        if overload & 1 != 0 {
            options.add(file)?;
        }
        if overload & 2 != 0 {
            options.add(sname)?;
        }
        Some(options)
    }

    fn add(&mut self, field: &'a [u8]) -> Option<()> {
        let mut reader = Reader::new(field);
        while let Some(code) = reader.u8() {
            match code {
                option::PAD => {}
                option::END => break,
                _ => {
                    let len = reader.u8()?;
                    self.join(code, reader.take(len.into())?);
                }
            }
        }
        Some(())
    }

    fn join(&mut self, code: u8, piece: &'a [u8]) {
        self.by_code
            .entry(code)
            .and_modify(|value| match value {
                Value::Whole(first) => *value = Value::Joined([*first, piece].concat()),
                Value::Joined(joined) => joined.extend_from_slice(piece),
            })
            .or_insert(Value::Whole(piece));
    }

    pub(crate) fn get(&self, code: u8) -> Option<&[u8]> {
        match self.by_code.get(&code)? {
            Value::Whole(value) => Some(value),
            Value::Joined(value) => Some(value),
        }
    }

    pub(crate) fn u8(&self, code: u8) -> Option<u8> {
        <[u8; 1]>::try_from(self.get(code)?)
            .ok()
            .map(|[value]| value)
    }

    pub(crate) fn u16(&self, code: u8) -> Option<u16> {
        self.get(code)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(crate) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.get(code)?.try_into().ok()?;
        Some(octets.into())
    }
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
