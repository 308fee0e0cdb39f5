//! Neighbor discovery (RFC 4861): the gateway answers for its own IPv6 addresses.
use std::net::Ipv6Addr;

use crate::MacAddr;
use crate::frame::Ndp;
use crate::services::cursor::{Put, Reader};

/// ICMPv6 types.
pub(crate) mod kind {
    pub(crate) const ROUTER_SOLICITATION: u8 = 133;
    pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(crate) const NEIGHBOR_SOLICITATION: u8 = 135;
    pub(crate) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
}

/// Option types.
pub(crate) mod option {
    pub(crate) const SOURCE_LINK_LAYER: u8 = 1;
    pub(crate) const TARGET_LINK_LAYER: u8 = 2;
    pub(crate) const PREFIX: u8 = 3;
    pub(crate) const MTU: u8 = 5;
    /// RFC 8106, 5.1
    pub(crate) const RDNSS: u8 = 25;
    /// RFC 8106, 5.2
    pub(crate) const DNSSL: u8 = 31;
}

/// ff02::1
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Flags of an advertisement: router, solicited, override.
const ROUTER: u32 = 1 << 31;
const SOLICITED: u32 = 1 << 30;
const OVERRIDE: u32 = 1 << 29;

/// An ICMPv6 message to send, its checksum not yet filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) mac: MacAddr,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) message: Vec<u8>,
}

/// Who is answered for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Responder {
    mac: MacAddr,
    addresses: Vec<Ipv6Addr>,
}

impl Responder {
    pub(crate) fn new(mac: MacAddr, addresses: Vec<Ipv6Addr>) -> Self {
        Self { mac, addresses }
    }

    /// The advertisement that answers a solicitation for one of our addresses.
    pub(crate) fn answer(&self, ndp: &Ndp<'_>) -> Option<Outgoing> {
        let mut reader = Reader::new(ndp.message);
        let [kind, code, _, _] = reader.array()?;
        if kind != kind::NEIGHBOR_SOLICITATION || code != 0 {
            return None;
        }
        let _reserved = reader.u32()?;
        let target = Ipv6Addr::from_octets(reader.array()?);
        let options = Options::parse(reader.rest())?;
        let ours = self.addresses.contains(&target);
        // RFC 4861, 7.1.1: a probe comes without a link-layer address, to a group.
        let probe = ndp.source.is_unspecified();
        if !ours || (probe && (options.source.is_some() || !ndp.destination.is_multicast())) {
            return None;
        }
        let solicited = if probe { 0 } else { SOLICITED };
        let mut message = vec![kind::NEIGHBOR_ADVERTISEMENT, 0, 0, 0];
        message.put_u32(ROUTER | OVERRIDE | solicited);
        message.put(&target.octets());
        put_link_layer(&mut message, option::TARGET_LINK_LAYER, self.mac);
        Some(Outgoing {
            mac: if probe { group_mac(ALL_NODES) } else { ndp.mac },
            source: target,
            destination: if probe { ALL_NODES } else { ndp.source },
            message,
        })
    }
}

/// The options that matter to a router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// the sender's link-layer address
    pub(crate) source: Option<MacAddr>,
}

impl Options {
    /// None: one has no length, or does not end within the message (RFC 4861, 4.6).
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let [kind, units] = reader.array()?;
            let value = reader.take((usize::from(units) * 8).checked_sub(2)?)?;
            if kind == option::SOURCE_LINK_LAYER {
                options.source = value.first_chunk().map(|octets| MacAddr(*octets));
            }
        }
        Some(options)
    }
}

/// Appends a link-layer address option.
pub(crate) fn put_link_layer(message: &mut Vec<u8>, kind: u8, mac: MacAddr) {
    message.put(&[kind, 1]);
    message.put(mac.as_bytes());
}

/// The Ethernet group of an IPv6 group (RFC 2464, 7).
pub(crate) fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

#[cfg(test)]
#[path = "ndp_test.rs"]
mod tests;
