//! The frames of one TCP connection over IPv4, and ARP: made and read with smoltcp's wire layer.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Context;
use smoltcp::{
    phy::{Checksum, ChecksumCapabilities},
    wire::{
        ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
        EthernetRepr, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr,
        TcpSeqNumber, checksum,
    },
};
use virtqueue::{GsoType, NET_HEADER_LEN, NetHeader};

pub(crate) const ETHERNET: usize = 14;
const IPV4: usize = 20;
/// Where TCP has its checksum (RFC 9293, 3.1).
const TCP_CHECKSUM: u16 = 16;
/// What we take at a time of a peer that sends, which nobody wants: all that the field holds without scaling.
pub(crate) const OUR_WINDOW: u16 = u16::MAX;

/// Who talks to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parties {
    pub(crate) mac: EthernetAddress,
    pub(crate) gateway: EthernetAddress,
    pub(crate) local: SocketAddrV4,
    pub(crate) remote: SocketAddrV4,
}

/// A segment to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) control: TcpControl,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    /// With SYN: what we take in one segment, and that we know window scaling (RFC 7323, 2.2).
    pub(crate) mss: Option<u16>,
}

/// A segment that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) control: TcpControl,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    /// As it is in the field, not scaled.
    pub(crate) window: u16,
    pub(crate) mss: Option<u16>,
    pub(crate) shift: Option<u8>,
    /// Bytes of payload.
    pub(crate) len: u32,
}

/// A frame that came and concerns us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// This station asks who has our address.
    Asked(EthernetAddress, Ipv4Addr),
    /// This station has that address.
    Told(EthernetAddress, Ipv4Addr),
    /// Of the connection.
    Segment(Segment),
}

/// Of an ARP packet for IPv4 over Ethernet, with its virtio-net header.
pub(crate) fn arp(
    operation: ArpOperation,
    (mac, address): (EthernetAddress, Ipv4Addr),
    (target, target_address): (EthernetAddress, Ipv4Addr),
) -> Vec<u8> {
    let packet = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: mac,
        source_protocol_addr: address,
        target_hardware_addr: target,
        target_protocol_addr: target_address,
    };
    let mut payload = vec![0; packet.buffer_len()];
    packet.emit(&mut ArpPacket::new_unchecked(&mut payload));
    let to = match operation {
        ArpOperation::Request => EthernetAddress::BROADCAST,
        _ => target,
    };
    let ethernet = ethernet((mac, to), EthernetProtocol::Arp);
    [&NetHeader::default().encode()[..], &ethernet, &payload].concat()
}

fn ethernet(
    (from, to): (EthernetAddress, EthernetAddress),
    ethertype: EthernetProtocol,
) -> [u8; ETHERNET] {
    let mut bytes = [0; ETHERNET];
    let header = EthernetRepr {
        src_addr: from,
        dst_addr: to,
        ethertype,
    };
    header.emit(&mut EthernetFrame::new_unchecked(&mut bytes));
    bytes
}

impl Header {
    /// All headers of the frame, virtio-net header first, for `payload` bytes behind them; if these are more than `mss`, the frame is
    /// one to segment (virtio 1.2, 5.1.6.2). The checksum is partial: that of the pseudo-header (RFC 9293, 3.1) is in its place.
    pub(crate) fn encode(
        &self,
        parties: &Parties,
        payload: u32,
        mss: u16,
    ) -> anyhow::Result<Vec<u8>> {
        let [local, remote] = [parties.local, parties.remote];
        let tcp = TcpRepr {
            src_port: local.port(),
            dst_port: remote.port(),
            control: self.control,
            seq_number: TcpSeqNumber(self.seq.cast_signed()),
            ack_number: self.ack.map(|ack| TcpSeqNumber(ack.cast_signed())),
            window_len: OUR_WINDOW,
            window_scale: self.mss.map(|_| 0),
            max_seg_size: self.mss,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let len = tcp.header_len() + usize::try_from(payload)?;
        u16::try_from(IPV4 + len).context("a segment that fits no IPv4 packet")?;
        let ip = Ipv4Repr {
            src_addr: *local.ip(),
            dst_addr: *remote.ip(),
            next_header: IpProtocol::Tcp,
            payload_len: len,
            hop_limit: 64,
        };
        let headers = ETHERNET + IPV4 + tcp.header_len();
        let mut bytes = net_header(headers, payload, mss)?.encode().to_vec();
        bytes.extend(ethernet(
            (parties.mac, parties.gateway),
            EthernetProtocol::Ipv4,
        ));
        let mut packet = [0; IPV4];
        ip.emit(
            &mut Ipv4Packet::new_unchecked(&mut packet[..]),
            &ChecksumCapabilities::default(),
        );
        bytes.extend(packet);
        let mut segment = vec![0; tcp.header_len()];
        let mut packet = TcpPacket::new_unchecked(&mut segment[..]);
        let [from, to] = [ip.src_addr, ip.dst_addr].map(IpAddress::Ipv4);
        let mut unfinished = ChecksumCapabilities::default();
        unfinished.tcp = Checksum::None;
        tcp.emit(&mut packet, &from, &to, &unfinished);
        let len = u32::try_from(len)?;
        packet.set_checksum(checksum::pseudo_header(&from, &to, IpProtocol::Tcp, len));
        bytes.extend(segment);
        Ok(bytes)
    }
}

/// For `payload` bytes behind `headers`.
fn net_header(headers: usize, payload: u32, mss: u16) -> anyhow::Result<NetHeader> {
    let plain = NetHeader {
        needs_csum: true,
        csum_start: u16::try_from(ETHERNET + IPV4)?,
        csum_offset: TCP_CHECKSUM,
        ..NetHeader::default()
    };
    if payload <= u32::from(mss) {
        return Ok(plain);
    }
    Ok(NetHeader {
        gso: GsoType::TcpV4,
        gso_size: mss,
        hdr_len: u16::try_from(headers)?,
        ..plain
    })
}

impl Incoming {
    /// Reads what came, virtio-net header first. `None`: it is no concern of ours, or makes no sense.
    pub(crate) fn parse(bytes: &[u8], parties: &Parties) -> Option<Self> {
        let (header, frame) = bytes.split_first_chunk::<NET_HEADER_LEN>()?;
        let header = NetHeader::decode(header)?;
        let frame = EthernetFrame::new_checked(frame).ok()?;
        match frame.ethertype() {
            EthernetProtocol::Arp => Self::parse_arp(frame.payload(), parties),
            EthernetProtocol::Ipv4 if frame.dst_addr() == parties.mac => {
                // Partial, or seen by somebody: nothing has altered it since (virtio 1.2, 5.1.6.4).
                let verified = header.needs_csum || header.data_valid;
                Segment::parse(frame.payload(), parties, verified).map(Self::Segment)
            }
            _ => None,
        }
    }

    fn parse_arp(bytes: &[u8], parties: &Parties) -> Option<Self> {
        let packet = ArpRepr::parse(&ArpPacket::new_checked(bytes).ok()?).ok()?;
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: mac,
            source_protocol_addr: address,
            target_protocol_addr: target,
            ..
        } = packet
        else {
            return None;
        };
        if target != *parties.local.ip() || !mac.is_unicast() {
            return None;
        }
        match operation {
            ArpOperation::Request => Some(Self::Asked(mac, address)),
            ArpOperation::Reply => Some(Self::Told(mac, address)),
            ArpOperation::Unknown(_) => None,
        }
    }
}

impl Segment {
    fn parse(bytes: &[u8], parties: &Parties, verified: bool) -> Option<Self> {
        let ip = Ipv4Packet::new_checked(bytes).ok()?;
        let [local, remote] = [parties.local, parties.remote];
        let is_ours = ip.version() == 4
            && ip.verify_checksum()
            && ip.next_header() == IpProtocol::Tcp
            && (ip.src_addr(), ip.dst_addr()) == (*remote.ip(), *local.ip())
            && !ip.more_frags()
            && ip.frag_offset() == 0;
        if !is_ours {
            return None;
        }
        let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
        let [from, to] = [remote, local].map(|end| IpAddress::Ipv4(*end.ip()));
        let mut checks = ChecksumCapabilities::default();
        if verified {
            checks.tcp = Checksum::None;
        }
        let tcp = TcpRepr::parse(&tcp, &from, &to, &checks).ok()?;
        if (tcp.src_port, tcp.dst_port) != (remote.port(), local.port()) {
            return None;
        }
        Some(Self {
            control: tcp.control,
            seq: tcp.seq_number.0.cast_unsigned(),
            ack: tcp.ack_number.map(|ack| ack.0.cast_unsigned()),
            window: tcp.window_len,
            mss: tcp.max_seg_size,
            shift: tcp.window_scale,
            len: u32::try_from(tcp.payload.len()).ok()?,
        })
    }
}

#[cfg(test)]
#[path = "packet_test.rs"]
mod tests;
