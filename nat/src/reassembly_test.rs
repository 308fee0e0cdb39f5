//! Fragments through the gateway, to a host socket.
use crate::DropReason;
use crate::testkit::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, UdpPacket, UdpRepr};
use std::time::Duration;

/// A UDP datagram for [`REMOTE`], without a checksum.
fn datagram(len: usize) -> Vec<u8> {
    let total = u16::try_from(len + 8).unwrap();
    let mut bytes = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 0];
    bytes[4..6].copy_from_slice(&total.to_be_bytes());
    bytes.extend((0..len).map(|n| u8::try_from(n % 253).unwrap()));
    bytes
}

/// Sends bytes of a datagram as a fragment.
fn fragment(lab: &mut Lab, id: u16, bytes: &[u8], offset: usize, more: bool) {
    let mut frame = ip_frame(
        lab.mac,
        GUEST.ip(),
        REMOTE.ip(),
        IpProtocol::Udp,
        bytes.len(),
        |place| {
            place.copy_from_slice(bytes);
        },
    );
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
    packet.set_ident(id);
    packet.set_frag_offset(u16::try_from(offset).unwrap());
    packet.set_more_frags(more);
    packet.set_dont_frag(false);
    packet.fill_checksum();
    lab.frame(&frame);
}

fn dropped(lab: &Lab, reason: DropReason) -> u64 {
    lab.gateway.counters().dropped(reason)
}

fn held(lab: &Lab) -> usize {
    lab.gateway.guest_of(GUEST_MAC).unwrap().reassembling
}

#[test]
fn fragments_in_any_order_make_one_datagram() {
    let bytes = datagram(4000);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut lab = Lab::new();
        for n in order {
            let start = n * 1480;
            let end = bytes.len().min(start + 1480);
            fragment(&mut lab, 7, &bytes[start..end], start, n < 2);
        }
        assert_eq!(lab.socket(0).sent.len(), 1);
        assert!(lab.socket(0).sent[0].payload == bytes[8..]);
        assert_eq!(held(&lab), 0);
    }
}

#[test]
fn datagrams_of_other_ids_do_not_mix() {
    let mut lab = Lab::new();
    let bytes = datagram(32);
    fragment(&mut lab, 1, &bytes[..16], 0, true);
    fragment(&mut lab, 2, &bytes[16..], 16, false);
    assert!(lab.host().sockets.is_empty());
    fragment(&mut lab, 1, &bytes[16..], 16, false);
    assert_eq!(lab.socket(0).sent.len(), 1);
}

#[test]
fn an_overlap_ends_the_datagram() {
    let bytes = datagram(64);
    for (start, end) in [(0, 16), (8, 24), (16, 32), (0, 72)] {
        let mut lab = Lab::new();
        fragment(&mut lab, 1, &bytes[8..24], 8, true);
        fragment(&mut lab, 1, &bytes[start..end], start, true);
        let expected = u64::from(start < 24 && end > 8);
        assert_eq!(
            dropped(&lab, DropReason::BadFragment),
            expected,
            "{start}..{end}"
        );
    }
}

#[test]
fn fragments_that_cannot_be_are_refused() {
    let mut lab = Lab::new();
    let bytes = datagram(64);
    // Not a multiple of 8; nothing; beyond 64 KiB; two ends; a part behind the end.
    fragment(&mut lab, 1, &bytes[..15], 0, true);
    fragment(&mut lab, 2, &[], 8, true);
    fragment(&mut lab, 3, &bytes[..64], 65_528 - 8, false);
    assert_eq!(dropped(&lab, DropReason::BadFragment), 3);
    fragment(&mut lab, 4, &bytes[16..32], 16, false);
    fragment(&mut lab, 4, &bytes[40..48], 40, false);
    assert_eq!(dropped(&lab, DropReason::BadFragment), 4);
    fragment(&mut lab, 5, &bytes[40..48], 40, true);
    fragment(&mut lab, 5, &bytes[16..32], 16, false);
    assert_eq!(dropped(&lab, DropReason::BadFragment), 5);
    assert_eq!(held(&lab), 0);
}

#[test]
fn what_is_never_complete_is_forgotten_and_does_not_grow() {
    let mut lab = Lab::new();
    for id in 0..5000 {
        fragment(&mut lab, id, &[0; 8], 60_000, true);
    }
    assert!(held(&lab) <= 256 << 10, "{}", held(&lab));
    assert!(dropped(&lab, DropReason::ReassemblyQuota) > 4900);
    lab.pass(Duration::from_secs(16));
    assert_eq!(held(&lab), 0);
    // And there is room again.
    let bytes = datagram(32);
    fragment(&mut lab, 1, &bytes[..16], 0, true);
    fragment(&mut lab, 1, &bytes[16..], 16, false);
    assert_eq!(lab.socket(0).sent.len(), 1);
}

#[test]
fn tiny_fragments_with_gaps_are_too_many() {
    let mut lab = Lab::new();
    for n in 0..100 {
        fragment(&mut lab, 1, &[0; 8], 16 * n, true);
    }
    assert_eq!(dropped(&lab, DropReason::ReassemblyQuota), 1);
}

#[test]
fn tiny_fragments_of_tcp_cannot_hide_a_header() {
    let mut lab = Lab::new();
    let mut frame = lab.tcp_frame(GUEST, REMOTE, &syn(5));
    let tcp = frame.split_off(34);
    for (start, end) in [(0, 8), (8, 16), (16, tcp.len())] {
        let mut bytes = ip_frame(
            lab.mac,
            GUEST.ip(),
            REMOTE.ip(),
            IpProtocol::Tcp,
            end - start,
            |place| {
                place.copy_from_slice(&tcp[start..end]);
            },
        );
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[14..]);
        packet.set_frag_offset(u16::try_from(start).unwrap());
        packet.set_more_frags(end < tcp.len());
        packet.set_dont_frag(false);
        packet.fill_checksum();
        lab.frame(&bytes);
    }
    assert_eq!(lab.socket(0).remote, Some(REMOTE), "it is one SYN, whole");
}

/// A UDP datagram of [`GUEST_V6`] for [`REMOTE_V6`], with its checksum, which IPv6 does not do without.
fn datagram_v6(payload: &[u8]) -> Vec<u8> {
    let repr = UdpRepr {
        src_port: GUEST_V6.port(),
        dst_port: REMOTE_V6.port(),
    };
    let mut bytes = vec![0; 8 + payload.len()];
    repr.emit(
        &mut UdpPacket::new_unchecked(&mut bytes[..]),
        &GUEST_V6.ip().into(),
        &REMOTE_V6.ip().into(),
        payload.len(),
        |place| place.copy_from_slice(payload),
        &ChecksumCapabilities::default(),
    );
    bytes
}

/// Sends bytes behind a fragment header (RFC 8200, 4.5).
fn fragment_v6(lab: &mut Lab, id: u32, bytes: &[u8], offset: u16, more: bool) {
    let len = 8 + bytes.len();
    let (source, destination) = (GUEST_V6.ip(), REMOTE_V6.ip());
    lab.packet(source, destination, IpProtocol::Ipv6Frag, len, |place| {
        place[..2].copy_from_slice(&[17, 0]);
        place[2..4].copy_from_slice(&(offset | u16::from(more)).to_be_bytes());
        place[4..8].copy_from_slice(&id.to_be_bytes());
        place[8..].copy_from_slice(bytes);
    });
}

#[test]
fn fragments_of_ipv6_in_any_order_make_one_datagram() {
    let payload: Vec<u8> = (0..4000_u32).map(|n| n.to_be_bytes()[3]).collect();
    let bytes = datagram_v6(&payload);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut lab = Lab::new();
        for n in order {
            let start = n * 1448;
            let end = bytes.len().min(start + 1448);
            let offset = u16::try_from(start).unwrap();
            fragment_v6(&mut lab, 1 << 20, &bytes[start..end], offset, n < 2);
        }
        assert_eq!(lab.socket(0).sent.len(), 1);
        assert!(lab.socket(0).sent[0].payload == payload);
        assert_eq!(held(&lab), 0);
    }
}

#[test]
fn fragments_of_ipv6_that_overlap_or_cannot_be_are_refused() {
    let mut lab = Lab::new();
    let bytes = datagram_v6(&[7; 56]);
    // RFC 8200, 4.5: overlapping fragments end the whole datagram.
    fragment_v6(&mut lab, 1, &bytes[..32], 0, true);
    fragment_v6(&mut lab, 1, &bytes[24..], 24, false);
    assert_eq!(dropped(&lab, DropReason::BadFragment), 1);
    // All but the last are multiples of eight; and none goes on behind 65 535.
    fragment_v6(&mut lab, 2, &bytes[..31], 0, true);
    fragment_v6(&mut lab, 3, &bytes, 65_528, false);
    assert_eq!(dropped(&lab, DropReason::BadFragment), 3);
    // Identifications have 32 bits, and all of them count.
    fragment_v6(&mut lab, 1, &bytes[..32], 0, true);
    fragment_v6(&mut lab, 1 << 16 | 1, &bytes[32..], 32, false);
    assert!(lab.host().sockets.is_empty());
    fragment_v6(&mut lab, 1, &bytes[32..], 32, false);
    assert_eq!(lab.socket(0).sent.len(), 1);
}
