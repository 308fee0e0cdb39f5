//! What a C+ descriptor asks for its packet. The chip finds headers by itself: IPv4, with or without a tag in front (C+ 8.2.1).
use super::spec;
use crate::net::{
    nic::{Packet, Range, Request, Segmentation},
    wire::Sum,
};
use virtqueue::MemoryMap;

const ADDRESSES_LEN: usize = 12;
const ETHERTYPE_IPV4: u16 = 0x0800;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// By the options of the first descriptor. A request that the packet does not suit is ignored; segmentation of something else spoils it.
pub(super) fn request(options: u32, tag: u32, packet: &mut Packet, memory: &MemoryMap) -> Request {
    let mut request = Request::default();
    if tag & spec::TXD_TAGC != 0 {
        let [high, low, ..] = tag.to_le_bytes();
        request.tag = Some((u16::from_be_bytes([high, low]), spec::VLAN_ETHERTYPE));
    }
    let large = options & spec::TXD_LGSEN != 0;
    let wanted = spec::TXD_IPCS | spec::TXD_UDPCS | spec::TXD_TCPCS;
    if !large && options & wanted == 0 {
        return request;
    }
    let Some(ip) = Ipv4::find(packet, memory) else {
        if large {
            packet.spoil();
        }
        return request;
    };
    let checksum = Range {
        start: ip.start,
        field: ip.start + 10,
        end: Some(ip.transport),
    };
    if large {
        let mss = options >> spec::TXD_MSS_SHIFT & spec::TXD_MSS_MASK;
        let mss = u16::try_from(mss).unwrap_or(0);
        request.ip = Some(checksum);
        request.segmentation = ip.segmentation(packet, mss, memory);
        if request.segmentation.is_none() {
            packet.spoil();
        }
        return request;
    }
    request.ip = (options & spec::TXD_IPCS != 0).then_some(checksum);
    let asked = match ip.protocol {
        TCP => options & spec::TXD_TCPCS != 0,
        UDP => options & spec::TXD_UDPCS != 0,
        _ => false,
    };
    if asked {
        request.transport = ip.transport_checksum(packet, memory);
    }
    request
}

/// An IPv4 header in a packet.
#[derive(Debug, Clone, Copy)]
struct Ipv4 {
    /// Its first byte.
    start: usize,
    /// The byte behind it.
    transport: usize,
    /// The byte behind its payload, as it says.
    end: usize,
    protocol: u8,
    fragment: bool,
}

impl Ipv4 {
    /// `None`: there is none, or it contradicts itself or the packet (CVE-2015-5165 believed it).
    fn find(packet: &mut Packet, memory: &MemoryMap) -> Option<Self> {
        let mut start = ADDRESSES_LEN + 2;
        copied(packet, start, memory)?;
        if word(packet, ADDRESSES_LEN)? == spec::VLAN_ETHERTYPE {
            start += 4;
            copied(packet, start, memory)?;
        }
        if word(packet, start - 2)? != ETHERTYPE_IPV4 {
            return None;
        }
        copied(packet, start + 20, memory)?;
        let first = *packet.head().get(start)?;
        let len = usize::from(first & 0xf) * 4;
        let total = usize::from(word(packet, start + 2)?);
        let fits = start + total <= packet.len();
        if first >> 4 != 4 || len < 20 || total < len || !fits {
            return None;
        }
        copied(packet, start + len, memory)?;
        Some(Self {
            start,
            transport: start + len,
            end: start + total,
            protocol: *packet.head().get(start + 9)?,
            fragment: word(packet, start + 6)? & 0x3fff != 0,
        })
    }

    /// The pseudo-header's sum; `len` of 0: without a length.
    fn pseudo(&self, packet: &Packet, len: u16) -> Option<u16> {
        let mut sum = Sum::default();
        sum.add(packet.head().get(self.start + 12..self.start + 20)?);
        sum.add(&[0, self.protocol]);
        sum.add(&len.to_be_bytes());
        Some(sum.fold())
    }

    fn transport_checksum(&self, packet: &mut Packet, memory: &MemoryMap) -> Option<Range> {
        let (offset, header) = if self.protocol == TCP {
            (16, 20)
        } else {
            (6, 8)
        };
        if self.fragment || self.end < self.transport + header {
            return None;
        }
        let field = self.transport + offset;
        copied(packet, field + 2, memory)?;
        let len = u16::try_from(self.end - self.transport).ok()?;
        let pseudo = self.pseudo(packet, len)?;
        packet.put(field, pseudo);
        Some(Range {
            start: self.transport,
            field,
            // What pads a short frame is not covered.
            end: Some(self.end),
        })
    }

    fn segmentation(
        &self,
        packet: &mut Packet,
        mss: u16,
        memory: &MemoryMap,
    ) -> Option<Segmentation> {
        if self.protocol != TCP || self.fragment || mss == 0 {
            return None;
        }
        copied(packet, self.transport + 20, memory)?;
        let offset = *packet.head().get(self.transport + 12)? >> 4;
        let header = self.transport + 4 * usize::from(offset);
        let field = self.transport + 16;
        let pseudo = self.pseudo(packet, 0)?;
        packet.put(field, pseudo);
        Some(Segmentation {
            ip: self.start,
            ipv4: true,
            tcp: self.transport,
            field,
            header,
            mss,
        })
    }
}

/// The first `len` bytes are in the private copy.
fn copied(packet: &mut Packet, len: usize, memory: &MemoryMap) -> Option<()> {
    packet.copy_head(len, memory).then_some(())
}

fn word(packet: &Packet, at: usize) -> Option<u16> {
    let field = packet.head().get(at..at + 2)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}
