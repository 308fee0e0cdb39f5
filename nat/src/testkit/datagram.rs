//! Datagrams of a guest, and what it gets for them.
use super::lab::{GATEWAY, GUEST, Lab, READABLE, ip_frame};
use crate::Readiness;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv6Packet, UdpPacket, UdpRepr,
};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub(crate) const GUEST_V6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x15)),
    40_000,
);
pub(crate) const REMOTE_V6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80)),
    443,
);

/// Completes an ICMP message.
pub(crate) fn fill_icmp_checksum(message: &mut [u8], source: IpAddr, destination: IpAddr) {
    match (source, destination) {
        (IpAddr::V4(_), _) => Icmpv4Packet::new_unchecked(message).fill_checksum(),
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Icmpv6Packet::new_unchecked(message).fill_checksum(&source, &destination);
        }
        _ => panic!("two families"),
    }
}

/// There is something in the error queue.
pub(crate) const ERROR: Readiness = Readiness {
    readable: false,
    writable: false,
    peer_closed: false,
    error: true,
    urgent: false,
};

/// An ICMP error to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToldError {
    pub(crate) from: IpAddr,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    /// bytes 4 to 7
    pub(crate) word: u32,
    /// the packet it is about
    pub(crate) quoted: Vec<u8>,
}

/// Sends a datagram.
pub(crate) fn udp_from(lab: &mut Lab, guest: SocketAddr, to: SocketAddr, payload: &[u8]) {
    let repr = UdpRepr {
        src_port: guest.port(),
        dst_port: to.port(),
    };
    let len = 8 + payload.len();
    lab.packet(guest.ip(), to.ip(), IpProtocol::Udp, len, |place| {
        repr.emit(
            &mut UdpPacket::new_unchecked(place),
            &guest.ip().into(),
            &to.ip().into(),
            payload.len(),
            |bytes| bytes.copy_from_slice(payload),
            &ChecksumCapabilities::default(),
        );
    });
}

/// The same of [`GUEST`].
pub(crate) fn udp(lab: &mut Lab, to: SocketAddr, payload: &[u8]) {
    udp_from(lab, GUEST, to, payload);
}

/// The next datagram to the guest: who sent it, and its payload.
#[track_caller]
pub(crate) fn next_udp(lab: &mut Lab) -> Option<(SocketAddr, Vec<u8>)> {
    let (frame, _) = lab.next_frame()?;
    let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
    let packet = UdpPacket::new_checked(ip.payload()).expect("a datagram");
    assert!(packet.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
    assert_eq!(
        SocketAddr::new(ip.dst_addr().into(), packet.dst_port()),
        GUEST
    );
    let from = SocketAddr::new(ip.src_addr().into(), packet.src_port());
    Some((from, packet.payload().to_vec()))
}

/// The next ICMP error to a guest.
#[track_caller]
pub(crate) fn next_error(lab: &mut Lab) -> Option<ToldError> {
    let (frame, _) = lab.next_frame()?;
    let (from, icmp): (IpAddr, Vec<u8>) = if frame[14] >> 4 == 4 {
        let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        assert_eq!(ip.next_header(), IpProtocol::Icmp);
        let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum());
        (ip.src_addr().into(), ip.payload().to_vec())
    } else {
        let ip = Ipv6Packet::new_checked(&frame[14..]).unwrap();
        assert_eq!(ip.next_header(), IpProtocol::Icmpv6);
        let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
        (ip.src_addr().into(), ip.payload().to_vec())
    };
    Some(ToldError {
        from,
        kind: icmp[0],
        code: icmp[1],
        word: u32::from_be_bytes(icmp[4..8].try_into().unwrap()),
        quoted: icmp[8..].to_vec(),
    })
}

/// The world sends something to a socket.
pub(crate) fn arrive(lab: &mut Lab, index: usize, from: SocketAddr, payload: &[u8]) {
    lab.socket(index)
        .arrived
        .push_back((from, payload.to_vec()));
    lab.event(index, READABLE);
}

/// An error of a router among the guests about a frame of the gateway.
pub(crate) fn too_big(lab: &mut Lab, frame: &[u8], mtu: u16) {
    let packet = &frame[14..];
    let v4 = packet[0] >> 4 == 4;
    let (kind, code, number, quoted) = if v4 {
        (3, 4, IpProtocol::Icmp, 28)
    } else {
        (2, 0, IpProtocol::Icmpv6, 48)
    };
    let (source, destination): (IpAddr, IpAddr) = if v4 {
        (GUEST.ip(), GATEWAY)
    } else {
        (GUEST_V6.ip(), "fd00::2".parse().unwrap())
    };
    let mut message = vec![kind, code, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(&packet[..quoted]);
    let frame = ip_frame(
        lab.mac,
        source,
        destination,
        number,
        message.len(),
        |place| {
            place.copy_from_slice(&message);
            fill_icmp_checksum(place, source, destination);
        },
    );
    lab.frame(&frame);
}
