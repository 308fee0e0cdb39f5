//! A DHCPv6 message: its options, and those within its options (RFC 8415, 8 and 21).
use std::net::Ipv6Addr;

use super::spec::{MAX_DUID, option};
use crate::services::cursor::{Put, Reader};

/// Identity associations of one message; a client has one per interface.
const MAX_ASSOCIATIONS: usize = 8;
/// Addresses of one association.
const MAX_ADDRESSES: usize = 8;

/// A client's message, as far as the server asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) kind: u8,
    pub(crate) transaction: [u8; 3],
    pub(crate) client: Option<&'a [u8]>,
    pub(crate) server: Option<&'a [u8]>,
    pub(crate) associations: Vec<Association>,
    /// prefix delegations that are asked for, by their IAID
    pub(crate) delegations: Vec<u32>,
    pub(crate) rapid_commit: bool,
    pub(crate) fqdn: Option<&'a [u8]>,
}

/// An identity association for addresses (IA_NA).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Association {
    pub(crate) iaid: u32,
    pub(crate) addresses: Vec<Ipv6Addr>,
}

impl<'a> Request<'a> {
    /// None: an option does not end within what it is in, or there are more associations than anybody has use for.
    pub(crate) fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let mut request = Self {
            kind: reader.u8()?,
            transaction: reader.array()?,
            ..Self::default()
        };
        for_each_option(reader, |code, value| request.option(code, value))?;
        Some(request)
    }

    fn option(&mut self, code: u16, value: &'a [u8]) -> Option<()> {
        match code {
            option::CLIENT_ID => self.client = Some(duid(value)?),
            option::SERVER_ID => self.server = Some(duid(value)?),
            option::RAPID_COMMIT => self.rapid_commit = true,
            option::CLIENT_FQDN => self.fqdn = Some(value),
            option::IA_NA => {
                let association = Association::parse(value)?;
                (self.associations.len() < MAX_ASSOCIATIONS).then_some(())?;
                self.associations.push(association);
            }
            option::IA_PD => {
                (self.delegations.len() < MAX_ASSOCIATIONS).then_some(())?;
                self.delegations.push(Reader::new(value).u32()?);
            }
            _ => {}
        }
        Some(())
    }
}

impl Association {
    fn parse(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let iaid = reader.u32()?;
        let [_t1, _t2] = [reader.u32()?, reader.u32()?];
        let mut addresses = Vec::new();
        for_each_option(reader, |code, value| {
            if code == option::IA_ADDRESS && addresses.len() < MAX_ADDRESSES {
                addresses.push(Ipv6Addr::from_octets(Reader::new(value).array()?));
            }
            Some(())
        })?;
        Some(Self { iaid, addresses })
    }
}

fn for_each_option<'a>(
    mut reader: Reader<'a>,
    mut each: impl FnMut(u16, &'a [u8]) -> Option<()>,
) -> Option<()> {
    while !reader.is_empty() {
        let code = reader.u16()?;
        let len = reader.u16()?;
        each(code, reader.take(len.into())?)?;
    }
    Some(())
}

fn duid(value: &[u8]) -> Option<&[u8]> {
    (3..=MAX_DUID).contains(&value.len()).then_some(value)
}

/// Appends an option.
pub(crate) fn put_option(message: &mut Vec<u8>, code: u16, value: &[u8]) {
    // None of ours comes near the limit; a list that did would be cut there, not written with a wrong length.
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    message.put_u16(code);
    message.put_u16(len);
    message.extend(value.iter().take(len.into()));
}

/// A status option's value.
pub(crate) fn status(code: u16, text: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(2 + text.len());
    value.put_u16(code);
    value.put(text.as_bytes());
    value
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
