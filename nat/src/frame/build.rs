//! Writing frames.
use super::{ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, protocol};
use crate::MacAddr;
use crate::bytes::{Sum, Writer};
use crate::meta::{Checksum, FrameMeta, Output};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The two stations of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// who sends it
    pub source: MacAddr,
    /// who gets it
    pub destination: MacAddr,
}

/// What stands in the IP header of a packet that we send. Both addresses are of one family; a packet of which they are not is not
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpHeader {
    /// source address
    pub source: IpAddr,
    /// destination address
    pub destination: IpAddr,
    /// protocol number
    pub protocol: u8,
    /// TTL or hop limit
    pub hop_limit: u8,
    /// DSCP and ECN bits
    pub traffic_class: u8,
}

/// Addresses of a packet, for the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pseudo {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Pseudo {
    /// `None`: not of one family.
    pub(crate) fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4(source, destination)),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6(source, destination)),
            _ => None,
        }
    }

    /// Bytes of the IP header.
    pub(crate) const fn ip_len(self) -> usize {
        match self {
            Self::V4(..) => 20,
            Self::V6(..) => 40,
        }
    }

    /// EtherType of the frame.
    pub(crate) const fn ethertype(self) -> u16 {
        match self {
            Self::V4(..) => ETHERTYPE_IPV4,
            Self::V6(..) => ETHERTYPE_IPV6,
        }
    }

    /// Sum of the pseudo-header.
    pub(crate) fn sum(self, protocol: u8, len: usize) -> Sum {
        // A length that needs more than 16 bits is in no IPv4 packet, and in no IPv6 packet but a jumbogram.
        let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        let sum = match self {
            Self::V4(a, b) => Sum::default().bytes(&a.octets()).bytes(&b.octets()),
            Self::V6(a, b) => Sum::default().bytes(&a.octets()).bytes(&b.octets()),
        };
        sum.bytes(&len).bytes(&[0, protocol])
    }
}

/// An Ethernet header.
pub(crate) fn ethernet(link: Link, ethertype: u16) -> [u8; ETHERNET_LEN] {
    let mut header = [0; ETHERNET_LEN];
    let mut writer = Writer::new(&mut header);
    writer.put(&link.destination.0);
    writer.put(&link.source.0);
    writer.put(&ethertype.to_be_bytes());
    header
}

/// Writes an IP header for `payload_len` bytes. IPv4 packets say "don't fragment" and have no identification, as RFC 6864, 4 has it
/// for atomic datagrams: what does not fit its network is made of [`Fragmenter`](super::Fragmenter)'s fragments.
pub(crate) fn write_ip(
    writer: &mut Writer<'_>,
    header: &IpHeader,
    pseudo: Pseudo,
    payload_len: usize,
) {
    match pseudo {
        Pseudo::V4(source, destination) => {
            let total = u16::try_from(payload_len + 20)
                .unwrap_or(u16::MAX)
                .to_be_bytes();
            let [total_high, total_low] = total;
            let mut bytes = [
                0x45,
                header.traffic_class,
                total_high,
                total_low,
                0,
                0,
                0x40,
                0,
                header.hop_limit,
                header.protocol,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ];
            crate::bytes::set(&mut bytes, 12, &source.octets());
            crate::bytes::set(&mut bytes, 16, &destination.octets());
            let sum = Sum::default().bytes(&bytes).checksum();
            crate::bytes::set(&mut bytes, 10, &sum);
            writer.put(&bytes);
        }
        Pseudo::V6(source, destination) => {
            let length = u16::try_from(payload_len).unwrap_or(u16::MAX);
            let first = 0x6000_0000 | u32::from(header.traffic_class) << 20;
            writer.put(&first.to_be_bytes());
            writer.put(&length.to_be_bytes());
            writer.put(&[header.protocol, header.hop_limit]);
            writer.put(&source.octets());
            writer.put(&destination.octets());
        }
    }
}

/// Writes Ethernet and IP headers of a packet into a frame; what is left is the payload's place.
pub(crate) fn ip_packet<'a>(
    frame: &'a mut [u8],
    link: Link,
    header: &IpHeader,
    pseudo: Pseudo,
    payload_len: usize,
) -> &'a mut [u8] {
    let mut writer = Writer::new(frame);
    writer.put(&ethernet(link, pseudo.ethertype()));
    write_ip(&mut writer, header, pseudo, payload_len);
    writer.take(payload_len)
}

/// Sends a frame that is not IP. `fill` writes its `len` bytes behind the Ethernet header. False: there was no room.
pub fn emit_ethernet(out: &mut dyn Output, link: Link, ethertype: u16, payload: &[u8]) -> bool {
    out.emit(
        ETHERNET_LEN + payload.len(),
        FrameMeta::default(),
        &mut |frame| {
            let mut writer = Writer::new(frame);
            writer.put(&ethernet(link, ethertype));
            writer.put(payload);
        },
    )
}

/// Sends an IP packet with a payload that is complete, checksums and all. False: there was no room.
pub fn emit_ip(out: &mut dyn Output, link: Link, header: &IpHeader, payload: &[u8]) -> bool {
    emit_ip_parts(out, link, header, [payload, &[]])
}

/// Sends an IP packet whose payload is in two parts.
pub(crate) fn emit_ip_parts(
    out: &mut dyn Output,
    link: Link,
    header: &IpHeader,
    parts: [&[u8]; 2],
) -> bool {
    let Some(pseudo) = Pseudo::new(header.source, header.destination) else {
        return false;
    };
    let payload_len = parts.map(<[u8]>::len).iter().sum();
    let len = ETHERNET_LEN + pseudo.ip_len() + payload_len;
    out.emit(len, FrameMeta::default(), &mut |frame| {
        let mut writer = Writer::new(ip_packet(frame, link, header, pseudo, payload_len));
        for part in parts {
            writer.put(part);
        }
    })
}

/// Sends a UDP datagram. False: there was no room.
pub fn emit_udp(
    out: &mut dyn Output,
    link: Link,
    source: SocketAddr,
    destination: SocketAddr,
    payload: &[u8],
) -> bool {
    let header = IpHeader {
        source: source.ip(),
        destination: destination.ip(),
        protocol: protocol::UDP,
        hop_limit: 64,
        traffic_class: 0,
    };
    emit_datagram(
        out,
        link,
        &header,
        (source.port(), destination.port()),
        payload,
        None,
    )
}

/// Sends a UDP datagram, or several of one size, with a partial checksum.
pub(crate) fn emit_datagram(
    out: &mut dyn Output,
    link: Link,
    header: &IpHeader,
    (source_port, destination_port): (u16, u16),
    payload: &[u8],
    gso: Option<crate::meta::Gso>,
) -> bool {
    let Some(pseudo) = Pseudo::new(header.source, header.destination) else {
        return false;
    };
    let udp_len = payload.len() + 8;
    let start = ETHERNET_LEN + pseudo.ip_len();
    let checksum = Checksum::Partial {
        start: u16::try_from(start).unwrap_or(0),
        offset: 6,
    };
    let meta = FrameMeta { checksum, gso };
    out.emit(start + udp_len, meta, &mut |frame| {
        let mut writer = Writer::new(ip_packet(frame, link, header, pseudo, udp_len));
        writer.put(&source_port.to_be_bytes());
        writer.put(&destination_port.to_be_bytes());
        writer.put(&u16::try_from(udp_len).unwrap_or(0).to_be_bytes());
        writer.put(&pseudo.sum(protocol::UDP, udp_len).folded());
        writer.put(payload);
    })
}
