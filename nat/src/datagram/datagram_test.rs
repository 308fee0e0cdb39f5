//! UDP and echo, both ways.
use crate::testkit::*;
use crate::{DropReason, Filtering, HostError, IncomingError, Protocol, Readiness};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, UdpPacket, UdpRepr,
};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

fn udp_from(lab: &mut Lab, guest: SocketAddr, to: SocketAddr, payload: &[u8]) {
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

fn udp(lab: &mut Lab, to: SocketAddr, payload: &[u8]) {
    udp_from(lab, GUEST, to, payload);
}

/// The next datagram to the guest: who sent it, and its payload.
#[track_caller]
fn next_udp(lab: &mut Lab) -> Option<(SocketAddr, Vec<u8>)> {
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

/// The next ICMP error to the guest: type, code, and the packet that it quotes.
#[track_caller]
fn next_error(lab: &mut Lab) -> Option<(IpAddr, u8, u8, Vec<u8>)> {
    let (frame, _) = lab.next_frame()?;
    let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
    assert_eq!(ip.next_header(), IpProtocol::Icmp);
    let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
    assert!(icmp.verify_checksum());
    let quoted = icmp.data().to_vec();
    Some((
        ip.src_addr().into(),
        icmp.msg_type().into(),
        icmp.msg_code(),
        quoted,
    ))
}

fn world(lab: &mut Lab, index: usize, from: SocketAddr, payload: &[u8]) {
    lab.socket(index)
        .arrived
        .push_back((from, payload.to_vec()));
    lab.event(index, READABLE);
}

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
    world(&mut lab, 0, REMOTE, b"answer");
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
fn who_may_answer_is_as_configured() {
    let same_host = SocketAddr::new(REMOTE.ip(), 999);
    for (filtering, from_host, from_other) in [
        (Filtering::EndpointIndependent, true, true),
        (Filtering::AddressDependent, true, false),
        (Filtering::AddressAndPortDependent, false, false),
    ] {
        let mut lab = Lab::with(|config| config.policy.filtering = filtering);
        udp(&mut lab, REMOTE, b"hello");
        world(&mut lab, 0, same_host, b"a");
        assert_eq!(next_udp(&mut lab).is_some(), from_host, "{filtering:?}");
        world(&mut lab, 0, OTHER, b"b");
        assert_eq!(next_udp(&mut lab).is_some(), from_other, "{filtering:?}");
        world(&mut lab, 0, REMOTE, b"c");
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
        world(&mut lab, 0, remote, b"are you there?");
    }
    lab.pass(Duration::from_secs(25));
    assert!(lab.socket(0).closed);
    assert_eq!(lab.gateway.guest_of(GUEST_MAC).unwrap().flows, 0);
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

#[test]
fn a_path_that_takes_only_smaller_packets_is_told() {
    let mut lab = Lab::new();
    udp(&mut lab, REMOTE, &[0; 1400]);
    lab.socket(0).errors.push_back(IncomingError {
        destination: REMOTE,
        offender: Some(OTHER.ip()),
        icmp_type: 3,
        icmp_code: 4,
        sequence: None,
        mtu: Some(1280),
        quoted: Vec::new(),
    });
    lab.event(
        0,
        Readiness {
            error: true,
            ..Default::default()
        },
    );
    let (from, kind, code, _) = next_error(&mut lab).unwrap();
    assert_eq!((from, kind, code), (OTHER.ip(), 3, 4));
}

#[test]
fn traceroute_sees_the_gateway_and_every_router_behind_it() {
    let mut lab = Lab::new();
    let repr = UdpRepr {
        src_port: GUEST.port(),
        dst_port: 33434,
    };
    let to = SocketAddr::new(REMOTE.ip(), 33434);
    let send = |lab: &mut Lab, ttl: u8| {
        let mut frame = ip_frame(lab.mac, GUEST.ip(), to.ip(), IpProtocol::Udp, 8, |place| {
            repr.emit(
                &mut UdpPacket::new_unchecked(place),
                &GUEST.ip().into(),
                &to.ip().into(),
                0,
                |_| {},
                &ChecksumCapabilities::default(),
            );
        });
        let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
        packet.set_hop_limit(ttl);
        packet.fill_checksum();
        lab.frame(&frame);
    };
    send(&mut lab, 1);
    let (from, kind, code, quoted) = next_error(&mut lab).unwrap();
    assert_eq!((from, kind, code), (GATEWAY, 11, 0));
    assert_eq!(quoted[20..24], [0x9c, 0x40, 0x82, 0x9a]);
    send(&mut lab, 2);
    assert_eq!(lab.socket(0).sent[0].hop_limit, Some(1));
    let router: IpAddr = "203.0.113.1".parse().unwrap();
    lab.socket(0).errors.push_back(IncomingError {
        destination: to,
        offender: Some(router),
        icmp_type: 11,
        icmp_code: 0,
        sequence: None,
        mtu: None,
        quoted: b"probe 2".to_vec(),
    });
    lab.event(
        0,
        Readiness {
            error: true,
            ..Default::default()
        },
    );
    let (from, kind, code, quoted) = next_error(&mut lab).unwrap();
    assert_eq!((from, kind, code), (router, 11, 0));
    assert_eq!(quoted[20..24], [0x9c, 0x40, 0x82, 0x9a]);
    // busybox's traceroute knows its probes by their payload.
    assert_eq!(&quoted[28..], b"probe 2");
    // An error about a destination that the guest never sent to is an invention.
    lab.socket(0).errors.push_back(IncomingError {
        destination: OTHER,
        offender: Some(router),
        icmp_type: 3,
        icmp_code: 3,
        sequence: None,
        mtu: None,
        quoted: Vec::new(),
    });
    lab.event(
        0,
        Readiness {
            error: true,
            ..Default::default()
        },
    );
    assert_eq!(next_error(&mut lab), None);
}

#[test]
fn a_host_that_cannot_send_is_told_of() {
    let mut lab = Lab::new();
    lab.host().refuse = Some(HostError::NetworkUnreachable);
    udp(&mut lab, REMOTE, b"hello");
    let (from, kind, code, _) = next_error(&mut lab).unwrap();
    assert_eq!(
        (from, kind, code),
        (GATEWAY, 3, u8::from(Icmpv4DstUnreachable::NetUnreachable))
    );
    assert_eq!(lab.gateway.guest_of(GUEST_MAC).unwrap().flows, 0);
}

#[test]
fn icmp_errors_are_rationed() {
    let mut lab = Lab::new();
    lab.host().refuse = Some(HostError::HostUnreachable);
    for _ in 0..1000 {
        udp(&mut lab, REMOTE, b"hello");
    }
    assert!(lab.gateway.counters().icmp_errors <= 60);
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
    world(&mut lab, 0, SocketAddr::new(REMOTE.ip(), 0), &answer);
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
    world(&mut lab, 0, SocketAddr::new(REMOTE.ip(), 0), &answer[..7]);
    world(&mut lab, 0, SocketAddr::new(OTHER.ip(), 0), &answer);
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
    world(&mut lab, 2, SocketAddr::new(REMOTE.ip(), 0), &answer);
    assert!(lab.next_frame().is_some(), "and its answer comes");
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
        world(&mut lab, 0, OTHER, &sent);
        let whole = reassemble(&mut lab);
        let packet = UdpPacket::new_checked(&whole[..]).unwrap();
        assert!(packet.verify_checksum(&OTHER.ip().into(), &GUEST.ip().into()));
        assert_eq!(packet.payload(), sent);
    }
    world(&mut lab, 0, OTHER, &[1; 1472]);
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
