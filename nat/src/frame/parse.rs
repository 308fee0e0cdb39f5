//! What is in a frame: every length and field that steers what follows is checked here.
use super::{
    Arp, ArpOperation, ETHERNET_LEN, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, protocol,
};
use crate::MacAddr;
use crate::bytes::{Sum, get, get_u16, get_u32};
use crate::counters::DropReason;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// RFC 8200, 4.1 has each of hop-by-hop, routing, fragment once and destination options twice.
const MAX_EXTENSIONS: usize = 5;

/// A frame's content.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    Arp(Arp),
    Ip(Packet<'a>),
}

/// An IP packet without its padding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    pub(crate) link: Link,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// of `payload`, behind extension headers
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) traffic_class: u8,
    /// an IPv4 packet that must not be fragmented; IPv6 packets never are
    pub(crate) dont_fragment: bool,
    pub(crate) fragment: Option<Fragment>,
    /// the packet from its IP header on, for ICMP errors to quote
    pub(crate) whole: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// Place of a fragment in its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) id: u32,
    pub(crate) offset: usize,
    pub(crate) more: bool,
}

/// Finds out what a frame is.
pub(crate) fn parse(frame: &[u8]) -> Result<Content<'_>, DropReason> {
    let destination = MacAddr(get(frame, 0).ok_or(DropReason::Malformed)?);
    let source = MacAddr(get(frame, 6).ok_or(DropReason::Malformed)?);
    let ethertype = get_u16(frame, 12).ok_or(DropReason::Malformed)?;
    let payload = frame.get(ETHERNET_LEN..).ok_or(DropReason::Malformed)?;
    if !source.is_unicast() || source.0 == [0; 6] {
        return Err(DropReason::BadSource);
    }
    let link = Link {
        source,
        destination,
    };
    match ethertype {
        ETHERTYPE_IPV4 => ipv4(link, payload).map(Content::Ip),
        ETHERTYPE_IPV6 => ipv6(link, payload).map(Content::Ip),
        ETHERTYPE_ARP => arp(link, payload).map(Content::Arp),
        _ => Err(DropReason::NotIp),
    }
}

fn arp(link: Link, payload: &[u8]) -> Result<Arp, DropReason> {
    // Ethernet, IPv4, address lengths 6 and 4 (RFC 826).
    if get(payload, 0) != Some([0, 1, 8, 0, 6, 4]) {
        return Err(DropReason::Malformed);
    }
    let operation = match get_u16(payload, 6) {
        Some(1) => ArpOperation::Request,
        Some(2) => ArpOperation::Reply,
        _ => return Err(DropReason::Malformed),
    };
    let address = |at| get(payload, at).map(Ipv4Addr::from_octets);
    let arp = Arp {
        operation,
        sender_mac: MacAddr(get(payload, 8).ok_or(DropReason::Malformed)?),
        sender: address(14).ok_or(DropReason::Malformed)?,
        target: address(24).ok_or(DropReason::Malformed)?,
    };
    if arp.sender_mac == link.source {
        Ok(arp)
    } else {
        Err(DropReason::BadSource)
    }
}

fn ipv4(link: Link, bytes: &[u8]) -> Result<Packet<'_>, DropReason> {
    let malformed = DropReason::Malformed;
    let [version_ihl, traffic_class] = get(bytes, 0).ok_or(malformed)?;
    let header_len = usize::from(version_ihl & 0xf) * 4;
    let total = usize::from(get_u16(bytes, 2).ok_or(malformed)?);
    if version_ihl >> 4 != 4 || header_len < 20 || total < header_len {
        return Err(malformed);
    }
    // Ethernet pads short frames: what is behind the total length is not part of the packet.
    let whole = bytes.get(..total).ok_or(malformed)?;
    let (header, payload) = whole.split_at_checked(header_len).ok_or(malformed)?;
    if Sum::default().bytes(header).folded() != [0xff, 0xff] {
        return Err(DropReason::BadChecksum);
    }
    let id = u32::from(get_u16(header, 4).ok_or(malformed)?);
    let flags = get_u16(header, 6).ok_or(malformed)?;
    let [hop_limit, protocol] = get(header, 8).ok_or(malformed)?;
    let fragment = Fragment {
        id,
        offset: usize::from(flags & 0x1fff) * 8,
        more: flags & 0x2000 != 0,
    };
    Ok(Packet {
        link,
        source: Ipv4Addr::from_octets(get(header, 12).ok_or(malformed)?).into(),
        destination: Ipv4Addr::from_octets(get(header, 16).ok_or(malformed)?).into(),
        protocol,
        hop_limit,
        traffic_class,
        dont_fragment: flags & 0x4000 != 0,
        fragment: (fragment.offset != 0 || fragment.more).then_some(fragment),
        whole,
        payload,
    })
}

fn ipv6(link: Link, bytes: &[u8]) -> Result<Packet<'_>, DropReason> {
    let malformed = DropReason::Malformed;
    let first = get_u32(bytes, 0).ok_or(malformed)?;
    let payload_len = usize::from(get_u16(bytes, 4).ok_or(malformed)?);
    let [next_header, hop_limit] = get(bytes, 6).ok_or(malformed)?;
    // A payload length of 0 would be a jumbogram (RFC 2675), which no Ethernet carries.
    if first >> 28 != 6 || payload_len == 0 {
        return Err(malformed);
    }
    let whole = bytes.get(..40 + payload_len).ok_or(malformed)?;
    let [_, traffic_class, ..] = (first << 4 >> 8).to_be_bytes();
    let mut packet = Packet {
        link,
        source: Ipv6Addr::from_octets(get(whole, 8).ok_or(malformed)?).into(),
        destination: Ipv6Addr::from_octets(get(whole, 24).ok_or(malformed)?).into(),
        protocol: next_header,
        hop_limit,
        traffic_class,
        dont_fragment: true,
        fragment: None,
        whole,
        payload: whole.get(40..).ok_or(malformed)?,
    };
    for _ in 0..=MAX_EXTENSIONS {
        if !skip_extension(&mut packet)? {
            return Ok(packet);
        }
    }
    Err(malformed)
}

/// Steps over one extension header; false: there is none, or a fragment's payload follows.
fn skip_extension(packet: &mut Packet<'_>) -> Result<bool, DropReason> {
    let malformed = DropReason::Malformed;
    let kind = packet.protocol;
    if !matches!(
        kind,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::DESTINATION_OPTIONS
    ) {
        return Ok(false);
    }
    let [next_header, length, third, fourth] = get(packet.payload, 0).ok_or(malformed)?;
    let length = match kind {
        protocol::FRAGMENT => {
            let place = u16::from_be_bytes([third, fourth]);
            let fragment = Fragment {
                id: get_u32(packet.payload, 4).ok_or(malformed)?,
                offset: usize::from(place & 0xfff8),
                more: place & 1 != 0,
            };
            // Neither an offset nor more of them: an "atomic" fragment, the whole packet (RFC 6946).
            packet.fragment = (fragment.offset != 0 || fragment.more).then_some(fragment);
            8
        }
        // Segments left: somebody else is to route it on, by a list we do not follow (RFC 5095).
        protocol::ROUTING if fourth != 0 => return Err(malformed),
        _ => 8 + usize::from(length) * 8,
    };
    packet.protocol = next_header;
    packet.payload = packet.payload.get(length..).ok_or(malformed)?;
    Ok(packet.fragment.is_none())
}

#[cfg(test)]
#[path = "parse_test.rs"]
mod tests;
