//! What reaches guests in fragments, and when.
use super::errors_test::{CLIENT, asked_by_a_forward};
use crate::DropReason;
use crate::testkit::*;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6FragmentHeader, Ipv6Packet, UdpPacket};

/// Payloads of the fragments that wait, none of which is longer than the MTU.
fn fragments_v6(lab: &mut Lab, mtu: usize) -> Vec<u8> {
    let (mut whole, mut id) = (Vec::new(), None);
    while let Some((frame, _)) = lab.next_frame() {
        assert!(frame.len() <= 14 + mtu, "{}", frame.len());
        let ip = Ipv6Packet::new_checked(&frame[14..]).unwrap();
        assert_eq!(ip.next_header(), IpProtocol::Ipv6Frag);
        let payload = ip.payload();
        assert_eq!(payload[..2], [17, 0], "the header behind is that of UDP");
        let header = Ipv6FragmentHeader::new_checked(&payload[2..8]).unwrap();
        assert_eq!(*id.get_or_insert(header.ident()), header.ident());
        assert_eq!(usize::from(header.frag_offset()) * 8, whole.len());
        whole.extend_from_slice(&payload[8..]);
        if !header.more_frags() {
            break;
        }
        assert_eq!(payload.len() % 8, 0);
    }
    whole
}

#[test]
fn what_is_larger_than_the_mtu_goes_in_fragments_of_ipv6() {
    let mut lab = Lab::new();
    udp_from(&mut lab, GUEST_V6, REMOTE_V6, b"?");
    for len in [1453, 4000, 60_000] {
        let sent: Vec<u8> = (0..len).map(|n: u32| n.to_be_bytes()[3]).collect();
        arrive(&mut lab, 0, REMOTE_V6, &sent);
        let whole = fragments_v6(&mut lab, 1500);
        let packet = UdpPacket::new_checked(&whole[..]).unwrap();
        assert!(packet.verify_checksum(&REMOTE_V6.ip().into(), &GUEST_V6.ip().into()));
        assert_eq!(packet.payload(), sent);
    }
    arrive(&mut lab, 0, REMOTE_V6, &[1; 1452]);
    let (frame, _) = lab.next_frame().unwrap();
    assert_eq!((frame.len(), frame[20]), (1514, 17), "it just fits");
}

#[test]
fn a_router_behind_the_guest_is_heard() {
    let mut lab = Lab::new();
    udp(&mut lab, REMOTE, b"?");
    udp_from(&mut lab, GUEST_V6, REMOTE_V6, b"?");
    for (index, remote, mtu) in [(0, REMOTE, 1400), (1, REMOTE_V6, 1300)] {
        arrive(&mut lab, index, remote, &[7; 1450]);
        let (frame, _) = lab.next_frame().unwrap();
        too_big(&mut lab, &frame, mtu);
        // Of the two that were told the smaller one.
        too_big(&mut lab, &frame, 1490);
        arrive(&mut lab, index, remote, &[7; 1450]);
        let mut frames = Vec::new();
        while let Some((frame, _)) = lab.next_frame() {
            assert!(frame.len() <= 14 + usize::from(mtu), "{}", frame.len());
            frames.push(frame);
        }
        assert_eq!(frames.len(), 2);
    }
    assert_eq!(lab.gateway.counters().dropped(DropReason::UnknownIcmp), 0);
}

#[test]
fn a_guest_shrinks_its_own_packets_only() {
    let mut lab = Lab::new();
    udp(&mut lab, REMOTE, b"?");
    arrive(&mut lab, 0, REMOTE, &[7; 1450]);
    let (frame, _) = lab.next_frame().unwrap();
    lab.mac.0[5] = 0x16;
    too_big(&mut lab, &frame, 600);
    lab.mac = GUEST_MAC;
    let mut other = frame.clone();
    // For a port that has no mapping.
    other[36..38].copy_from_slice(&[1, 1]);
    too_big(&mut lab, &other, 600);
    assert_eq!(lab.gateway.counters().dropped(DropReason::UnknownIcmp), 2);
    arrive(&mut lab, 0, REMOTE, &[7; 1450]);
    assert_eq!(next_udp(&mut lab).unwrap().1.len(), 1450);
    // A tiny one is not believed.
    too_big(&mut lab, &frame, 68);
    arrive(&mut lab, 0, REMOTE, &[7; 1450]);
    let (frame, _) = lab.next_frame().unwrap();
    let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
    assert_eq!(
        (ip.total_len(), ip.more_frags(), ip.dont_frag()),
        (572, true, false)
    );
}

#[test]
fn a_router_before_the_guest_of_a_forward_is_heard() {
    let mut lab = asked_by_a_forward(CLIENT);
    let client = CLIENT.parse().unwrap();
    arrive(&mut lab, 0, client, &[7; 1400]);
    let (whole, _) = lab.next_frame().unwrap();
    too_big(&mut lab, &whole, 1000);
    assert_eq!(lab.gateway.counters().dropped(DropReason::UnknownIcmp), 0);
    arrive(&mut lab, 0, client, &[7; 1400]);
    let lengths: Vec<usize> = std::iter::from_fn(|| Some(lab.next_frame()?.0.len())).collect();
    assert_eq!(lengths.len(), 2);
    assert!(
        lengths.iter().all(|length| *length <= 14 + 1000),
        "{lengths:?}"
    );
}

#[test]
fn what_a_forwards_socket_has_waits_for_the_room_of_its_narrowest_session() {
    let mut lab = asked_by_a_forward(CLIENT);
    let client = CLIENT.parse().unwrap();
    arrive(&mut lab, 0, client, &[7; 1400]);
    let (whole, _) = lab.next_frame().unwrap();
    too_big(&mut lab, &whole, 576);
    // Room for five of these as the network takes them, in 44 fragments each; for two on that way.
    lab.wire.room = 2 * 118;
    for _ in 0..3 {
        let large = (client, vec![7; 65_000]);
        lab.socket(0).arrived.push_back(large);
    }
    lab.event(0, READABLE);
    assert_eq!(lab.wire.frames.len(), 2 * 118);
    assert_eq!(lab.socket(0).arrived.len(), 1);
    lab.wire.frames.clear();
    lab.poll();
    assert_eq!(lab.wire.frames.len(), 118);
    assert_eq!(lab.gateway.counters().dropped(DropReason::NoRoom), 0);
}
