//! UDP and echo, both ways.
use crate::testkit::*;
use crate::{DropReason, Filtering, GsoKind, HostError, Protocol};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, UdpPacket};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

fn dropped(lab: &Lab, reason: DropReason) -> u64 {
    lab.gateway.counters().dropped(reason)
}

const OTHER: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7)), 5353);

#[test]
fn one_socket_for_an_endpoint_wherever_it_sends_to() {
    let mut lab = Lab::new();
    udp(&mut lab, REMOTE, b"one");
    udp(&mut lab, OTHER, b"two");
    assert_eq!(lab.host().sockets.len(), 1);
    let sent = &lab.socket(0).sent;
    assert_eq!(
        (sent[0].to, &sent[0].payload[..], sent[0].hop_limit),
        (REMOTE, &b"one"[..], Some(63))
    );
    assert_eq!(sent[1].to, OTHER);
    arrive(&mut lab, 0, REMOTE, b"answer");
    assert_eq!(next_udp(&mut lab), Some((REMOTE, b"answer".to_vec())));
    let status = lab.gateway.flows(lab.now).next().unwrap();
    assert_eq!(
        (status.protocol, status.sent, status.received),
        (Protocol::Udp, 6, 6)
    );
}

#[test]
fn what_finds_no_room_in_the_network_waits_in_the_socket() {
    let mut lab = Lab::new();
    udp(&mut lab, REMOTE, b"to the world");
    lab.wire.room = 3;
    for number in 0..8u8 {
        lab.socket(0).arrived.push_back((REMOTE, vec![number]));
    }
    lab.event(0, READABLE);
    let mut taken = Vec::new();
    while taken.len() < 8 {
        assert_eq!(lab.wire.frames.len(), (8 - taken.len()).min(3));
        while let Some((_, payload)) = next_udp(&mut lab) {
            taken.extend(payload);
        }
        lab.poll();
    }
    assert_eq!(taken, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(next_udp(&mut lab), None);
    assert_eq!(dropped(&lab, DropReason::NoRoom), 0);
}

#[test]
fn datagrams_that_came_as_one_go_on_as_one_as_far_as_the_limit_allows() {
    // An idle limit has 64 KiB, and the last datagram may take more than is left.
    for (limit, second) in [(None, 40), (Some(1), 26)] {
        let mut lab = Lab::with(|config| config.quotas.download_rate = limit);
        udp(&mut lab, REMOTE, b"to the world");
        lab.socket(0).segment = Some(1000);
        for passing in [40, second] {
            arrive(&mut lab, 0, REMOTE, &vec![7; 40_000]);
            let (frame, meta) = lab.next_frame().expect("a frame");
            assert_eq!(frame.len(), 14 + 20 + 8 + passing * 1000);
            let gso = meta.gso.expect("several");
            assert_eq!((gso.kind, gso.size), (GsoKind::Udp, 1000));
            assert_eq!(next_udp(&mut lab), None);
        }
        let lost = 40 - u64::try_from(second).unwrap();
        assert_eq!(dropped(&lab, DropReason::RateLimit), lost);
    }
}

#[test]
fn who_may_answer_is_as_configured() {
    let same_host = SocketAddr::new(REMOTE.ip(), 999);
    for (filtering, from_host, from_other) in [
        (Filtering::EndpointIndependent, true, true),
        (Filtering::AddressDependent, true, false),
        (Filtering::AddressAndPortDependent, false, false),
    ] {
        let mut lab = Lab::with(|config| config.policy.filtering = filtering);
        udp(&mut lab, REMOTE, b"hello");
        arrive(&mut lab, 0, same_host, b"a");
        assert_eq!(next_udp(&mut lab).is_some(), from_host, "{filtering:?}");
        arrive(&mut lab, 0, OTHER, b"b");
        assert_eq!(next_udp(&mut lab).is_some(), from_other, "{filtering:?}");
        arrive(&mut lab, 0, REMOTE, b"c");
        assert!(next_udp(&mut lab).is_some());
        let filtered = u64::from(!from_host) + u64::from(!from_other);
        assert_eq!(dropped(&lab, DropReason::Filtered), filtered);
    }
}

#[test]
fn a_mapping_lives_while_the_guest_sends_and_not_because_the_world_does() {
    let mut lab = Lab::new();
    let remote = SocketAddr::new(REMOTE.ip(), 5000);
    udp(&mut lab, remote, b"hello");
    for _ in 0..4 {
        lab.pass(Duration::from_secs(250));
        udp(&mut lab, remote, b"still here");
    }
    assert_eq!(lab.host().sockets.len(), 1);
    for _ in 0..2 {
        lab.pass(Duration::from_secs(140));
        arrive(&mut lab, 0, remote, b"are you there?");
    }
    lab.pass(Duration::from_secs(25));
    assert!(lab.socket(0).closed);
    assert_eq!(lab.gateway.guest_of(GUEST_MAC).unwrap().flows, 0);
}

#[test]
fn guests_leave_ports_of_the_host_to_others() {
    let mut lab = Lab::with(|config| config.quotas.datagram_ports = 10);
    let send = |lab: &mut Lab, guest: u8| {
        lab.mac.0[5] = guest;
        for port in 1..=20 {
            let guest = SocketAddr::from(([10, 0, 2, guest], port));
            udp_from(lab, guest, REMOTE, b"hello");
        }
    };
    send(&mut lab, 20);
    assert_eq!(lab.host().open_count(), 8);
    assert_eq!(dropped(&lab, DropReason::FlowQuota), 12);
    send(&mut lab, 21);
    assert_eq!(lab.host().open_count(), 10);
    lab.pass(Duration::from_mins(6));
    assert_eq!(lab.host().open_count(), 0);
    send(&mut lab, 21);
    assert_eq!(lab.host().open_count(), 8);
}

#[test]
fn an_exchange_with_a_well_known_port_is_forgotten_sooner() {
    let mut lab = Lab::new();
    udp(&mut lab, SocketAddr::new(REMOTE.ip(), 123), b"time?");
    lab.pass(Duration::from_secs(119));
    assert_eq!(lab.host().open_count(), 1);
    lab.pass(Duration::from_secs(2));
    assert_eq!(lab.host().open_count(), 0);
}

#[test]
fn datagrams_that_are_none_go_nowhere() {
    let mut lab = Lab::new();
    for (bytes, reason) in [
        // Shorter than a header; a length less than a header, more than the packet; ports of 0.
        (vec![0x9c, 0x40, 0, 80, 0, 8, 0], DropReason::Malformed),
        (vec![0x9c, 0x40, 0, 80, 0, 7, 0, 0], DropReason::Malformed),
        (vec![0x9c, 0x40, 0, 80, 0, 9, 0, 0], DropReason::Malformed),
        (vec![0, 0, 0, 80, 0, 8, 0, 0], DropReason::BadSource),
        (vec![0x9c, 0x40, 0, 0, 0, 8, 0, 0], DropReason::BadSource),
        (vec![0x9c, 0x40, 0, 80, 0, 8, 1, 2], DropReason::BadChecksum),
    ] {
        let before = dropped(&lab, reason);
        lab.packet(
            GUEST.ip(),
            REMOTE.ip(),
            IpProtocol::Udp,
            bytes.len(),
            |place| {
                place.copy_from_slice(&bytes);
            },
        );
        assert_eq!(dropped(&lab, reason), before + 1, "{bytes:?}");
    }
    assert!(lab.host().sockets.is_empty());
}

#[test]
fn sources_that_no_guest_may_have_go_nowhere() {
    let mut lab = Lab::new();
    for source in [
        "8.8.8.8",
        "224.0.0.1",
        "10.0.2.2",
        "10.0.2.255",
        "0.0.0.0",
        "127.0.0.1",
    ] {
        let source = SocketAddr::new(source.parse().unwrap(), 99);
        udp_from(&mut lab, source, REMOTE, b"spoofed");
    }
    assert_eq!(dropped(&lab, DropReason::BadSource), 6);
    assert!(lab.host().sockets.is_empty());
}

fn echo(lab: &mut Lab, to: IpAddr, ident: u16, seq_no: u16, payload: &[u8]) {
    let repr = Icmpv4Repr::EchoRequest {
        ident,
        seq_no,
        data: payload,
    };
    lab.packet(
        GUEST.ip(),
        to,
        IpProtocol::Icmp,
        repr.buffer_len(),
        |place| {
            repr.emit(
                &mut Icmpv4Packet::new_unchecked(place),
                &ChecksumCapabilities::default(),
            );
        },
    );
}

#[test]
fn echo_leaves_by_a_socket_and_comes_back_with_the_guests_identifier() {
    let mut lab = Lab::new();
    echo(&mut lab, REMOTE.ip(), 0x1234, 7, b"payload");
    assert_eq!(lab.socket(0).sent[0].to, SocketAddr::new(REMOTE.ip(), 0));
    // The host's kernel has an identifier of its own.
    let mut answer = lab.socket(0).sent[0].payload.clone();
    answer[0] = 0;
    answer[4..6].copy_from_slice(&[9, 9]);
    arrive(&mut lab, 0, SocketAddr::new(REMOTE.ip(), 0), &answer);
    let (frame, _) = lab.next_frame().unwrap();
    let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
    assert_eq!(ip.hop_limit(), 56);
    let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
    let repr = Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()).unwrap();
    assert_eq!(
        repr,
        Icmpv4Repr::EchoReply {
            ident: 0x1234,
            seq_no: 7,
            data: b"payload"
        }
    );
    // Short ones, and ones of strangers, are nothing.
    arrive(&mut lab, 0, SocketAddr::new(REMOTE.ip(), 0), &answer[..7]);
    arrive(&mut lab, 0, SocketAddr::new(OTHER.ip(), 0), &answer);
    assert!(lab.next_frame().is_none());
}

#[test]
fn a_host_without_sockets_for_all_echoes_forgets_the_idlest_of_who_has_most_to_answer_for() {
    let mut lab = Lab::new();
    echo(&mut lab, REMOTE.ip(), 1, 0, b"");
    lab.pass(Duration::from_secs(1));
    echo(&mut lab, REMOTE.ip(), 2, 0, b"");
    lab.host().refuse_echo = Some(HostError::Refused);
    echo(&mut lab, REMOTE.ip(), 3, 0, b"");
    assert!(lab.socket(0).closed, "the first had been idle for longer");
    assert!(!lab.socket(1).closed);
    assert_eq!(lab.socket(2).sent.len(), 1);
    assert!(lab.next_frame().is_none(), "nobody is told of anything");
    let mut answer = lab.socket(2).sent[0].payload.clone();
    answer[0] = 0;
    arrive(&mut lab, 2, SocketAddr::new(REMOTE.ip(), 0), &answer);
    assert!(lab.next_frame().is_some(), "and its answer comes");
}

#[test]
fn a_port_takes_the_places_of_its_own_echoes_whatever_mac_addresses_it_makes_up() {
    let mut lab = Lab::new();
    // The idlest is another port's.
    lab.port = Some(crate::PortId(1));
    echo(&mut lab, REMOTE.ip(), 1, 0, b"");
    lab.pass(Duration::from_secs(1));
    lab.port = Some(crate::PortId(2));
    lab.mac = crate::MacAddr([2, 0, 0, 0, 0, 1]);
    echo(&mut lab, REMOTE.ip(), 2, 0, b"");
    lab.mac = crate::MacAddr([2, 0, 0, 0, 0, 2]);
    lab.host().refuse_echo = Some(HostError::Refused);
    echo(&mut lab, REMOTE.ip(), 3, 0, b"");
    assert!(!lab.socket(0).closed && lab.socket(1).closed);
    assert_eq!(lab.socket(2).sent.len(), 1);
}

/// Puts together what the gateway sent in fragments; each fits the MTU.
fn reassemble(lab: &mut Lab) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut id = None;
    while let Some((frame, _)) = lab.next_frame() {
        assert!(frame.len() <= 14 + 1500, "{}", frame.len());
        let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        assert!(ip.verify_checksum() && !ip.dont_frag());
        assert_eq!(*id.get_or_insert(ip.ident()), ip.ident());
        assert_eq!(usize::from(ip.frag_offset()), whole.len());
        whole.extend_from_slice(ip.payload());
        if !ip.more_frags() {
            break;
        }
    }
    whole
}

#[test]
fn what_is_larger_than_the_mtu_goes_in_fragments() {
    let mut lab = Lab::new();
    udp(&mut lab, OTHER, b"?");
    for len in [1473, 4000, 60_000] {
        let sent: Vec<u8> = (0..len).map(|n: u32| n.to_be_bytes()[3]).collect();
        arrive(&mut lab, 0, OTHER, &sent);
        let whole = reassemble(&mut lab);
        let packet = UdpPacket::new_checked(&whole[..]).unwrap();
        assert!(packet.verify_checksum(&OTHER.ip().into(), &GUEST.ip().into()));
        assert_eq!(packet.payload(), sent);
    }
    arrive(&mut lab, 0, OTHER, &[1; 1472]);
    assert_eq!(next_udp(&mut lab).unwrap().1.len(), 1472, "it just fits");
    echo(&mut lab, GATEWAY, 1, 2, &[7; 3000]);
    let whole = reassemble(&mut lab);
    let icmp = Icmpv4Packet::new_checked(&whole[..]).unwrap();
    assert!(icmp.verify_checksum());
    assert_eq!(icmp.data(), [7; 3000]);
}

#[test]
fn the_gateway_answers_echo_itself() {
    let mut lab = Lab::new();
    echo(&mut lab, GATEWAY, 5, 6, b"abc");
    let (frame, _) = lab.next_frame().unwrap();
    let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
    let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
    let repr = Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()).unwrap();
    assert_eq!(
        repr,
        Icmpv4Repr::EchoReply {
            ident: 5,
            seq_no: 6,
            data: b"abc"
        }
    );
    assert!(lab.host().sockets.is_empty());
}

#[test]
fn truncated_and_broken_icmp_is_counted() {
    let mut lab = Lab::new();
    for len in 0..8 {
        lab.packet(GUEST.ip(), REMOTE.ip(), IpProtocol::Icmp, len, |place| {
            place.fill(8);
        });
    }
    assert_eq!(dropped(&lab, DropReason::Malformed), 8);
    lab.packet(GUEST.ip(), REMOTE.ip(), IpProtocol::Icmp, 8, |place| {
        place.fill(8);
    });
    assert_eq!(dropped(&lab, DropReason::BadChecksum), 1);
    assert!(lab.host().sockets.is_empty());
}

#[test]
fn truncated_and_broken_icmpv6_is_counted() {
    let mut lab = Lab::new();
    let (source, destination) = (GUEST_V6.ip(), REMOTE_V6.ip());
    for len in 0..8 {
        lab.packet(source, destination, IpProtocol::Icmpv6, len, |place| {
            place.fill(128);
        });
    }
    assert_eq!(dropped(&lab, DropReason::Malformed), 8);
    lab.packet(source, destination, IpProtocol::Icmpv6, 8, |place| {
        place.fill(128);
    });
    assert_eq!(dropped(&lab, DropReason::BadChecksum), 1);
    // An error that quotes nothing, and one without an end of what it quotes.
    for len in [8, 8 + 40] {
        lab.packet(source, destination, IpProtocol::Icmpv6, len, |place| {
            place.fill(0);
            place[0] = 2;
            fill_icmp_checksum(place, source, destination);
        });
    }
    assert_eq!(dropped(&lab, DropReason::UnknownIcmp), 2);
    assert!(lab.host().sockets.is_empty());
}
