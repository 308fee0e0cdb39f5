//! What guests are told of datagrams that did not arrive.
use crate::forward::{Forward, GuestRef, Transport};
use crate::testkit::*;
use crate::{DropReason, HostError, IncomingError};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4DstUnreachable, IpProtocol, Ipv4Packet, UdpPacket, UdpRepr};
use std::net::{IpAddr, SocketAddr};

fn dropped(lab: &Lab, reason: DropReason) -> u64 {
    lab.gateway.counters().dropped(reason)
}

fn too_big(
    destination: SocketAddr,
    offender: &str,
    (icmp_type, icmp_code): (u8, u8),
) -> IncomingError {
    IncomingError {
        destination,
        offender: Some(offender.parse().unwrap()),
        icmp_type,
        icmp_code,
        sequence: None,
        mtu: Some(1280),
        quoted: Vec::new(),
    }
}

#[test]
fn a_path_that_takes_only_smaller_packets_is_told_with_its_mtu() {
    let v4 = (GUEST, REMOTE, "198.51.100.7", (3, 4));
    let v6 = (GUEST_V6, REMOTE_V6, "2001:db8:1::1", (2, 0));
    for (guest, remote, router, (kind, code)) in [v4, v6] {
        let mut lab = Lab::new();
        udp_from(&mut lab, guest, remote, &[0; 1400]);
        let error = too_big(remote, router, (kind, code));
        lab.socket(0).errors.push_back(error);
        lab.event(0, ERROR);
        let error = next_error(&mut lab).unwrap();
        assert_eq!(error.from, router.parse::<IpAddr>().unwrap());
        // RFC 1191, 4: the lower half of the word; RFC 4443, 3.2: all of it.
        assert_eq!((error.kind, error.code, error.word), (kind, code, 1280));
    }
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
    let error = next_error(&mut lab).unwrap();
    assert_eq!((error.from, error.kind, error.code), (GATEWAY, 11, 0));
    assert_eq!(error.quoted[20..24], [0x9c, 0x40, 0x82, 0x9a]);
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
    lab.event(0, ERROR);
    let error = next_error(&mut lab).unwrap();
    assert_eq!((error.from, error.kind, error.code), (router, 11, 0));
    assert_eq!(error.quoted[20..24], [0x9c, 0x40, 0x82, 0x9a]);
    // busybox's traceroute knows its probes by their payload.
    assert_eq!(&error.quoted[28..], b"probe 2");
    // An error about a destination that the guest never sent to is an invention.
    lab.socket(0).errors.push_back(IncomingError {
        destination: GUEST,
        offender: Some(router),
        icmp_type: 3,
        icmp_code: 3,
        sequence: None,
        mtu: None,
        quoted: Vec::new(),
    });
    lab.event(0, ERROR);
    assert_eq!(next_error(&mut lab), None);
}

#[test]
fn a_host_that_cannot_send_is_told_of() {
    let mut lab = Lab::new();
    lab.host().refuse = Some(HostError::NetworkUnreachable);
    udp(&mut lab, REMOTE, b"hello");
    let error = next_error(&mut lab).unwrap();
    assert_eq!(
        (error.from, error.kind, error.code),
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

#[test]
fn what_was_taken_and_could_not_be_sent_is_told_and_counted() {
    let v4 = (GUEST, REMOTE, GATEWAY, (3, 0));
    let gateway_v6 = "fd00::2".parse().unwrap();
    let v6 = (GUEST_V6, REMOTE_V6, gateway_v6, (1, 0));
    for (guest, remote, gateway, number) in [v4, v6] {
        let mut lab = Lab::new();
        lab.host().lose = Some(HostError::NetworkUnreachable);
        udp_from(&mut lab, guest, remote, b"hello");
        let error = next_error(&mut lab).expect("an error");
        assert_eq!((error.from, (error.kind, error.code)), (gateway, number));
        assert!(error.quoted.ends_with(b"hello"));
        assert_eq!(dropped(&lab, DropReason::HostRefused), 1);
        assert_eq!(next_error(&mut lab), None);
    }
}

#[test]
fn what_was_too_long_is_told_by_the_error_queue_and_once() {
    let mut lab = Lab::new();
    udp(&mut lab, REMOTE, b"short");
    lab.host().lose = Some(HostError::MessageTooLong);
    let error = too_big(REMOTE, "198.51.100.7", (3, 4));
    lab.socket(0).errors.push_back(error);
    udp(&mut lab, REMOTE, &[0; 1400]);
    assert_eq!(next_error(&mut lab).unwrap().word, 1280);
    assert_eq!(next_error(&mut lab), None);
    assert_eq!(dropped(&lab, DropReason::HostRefused), 1);
}

pub(super) const CLIENT: &str = "203.0.113.5:51000";
const CLIENT_V6: &str = "[2001:db8:5::5]:51000";

/// A guest that a client has asked something by a forward: socket 0.
pub(super) fn asked_by_a_forward(client: &str) -> Lab {
    let mut lab = Lab::new();
    lab.tcp(&rst(0));
    lab.wire.frames.clear();
    let forward = Forward {
        transport: Transport::Udp,
        address: None,
        interface: None,
        first_port: 5353,
        last_port: 5353,
        guest: GuestRef::Address(GUEST.ip()),
        guest_port: GUEST.port(),
        preserve_source: false,
    };
    lab.gateway.forward_add(lab.now, &forward).unwrap();
    arrive(&mut lab, 0, client.parse().unwrap(), b"a question");
    let seen = SocketAddr::new(GATEWAY, 51_000);
    assert_eq!(next_udp(&mut lab), Some((seen, b"a question".to_vec())));
    lab
}

#[test]
fn a_path_to_a_client_of_a_forward_is_told_with_its_mtu() {
    let seen = SocketAddr::new(GATEWAY, 51_000);
    for (client, router, number, from, mtu) in [
        (CLIENT, "198.51.100.7", (3, 4), "198.51.100.7", 1280),
        // The guest knows it by an IPv4 address, and its packets are shorter by the difference of the headers.
        (CLIENT_V6, "2001:db8:1::1", (2, 0), "10.0.2.2", 1260),
    ] {
        let destination = client.parse().unwrap();
        let mut lab = asked_by_a_forward(client);
        // Before there was an answer nothing can have been too big.
        let error = too_big(destination, router, number);
        lab.socket(0).errors.push_back(error.clone());
        lab.event(0, ERROR);
        assert_eq!(next_error(&mut lab), None);
        udp(&mut lab, seen, &[0; 1400]);
        lab.socket(0).errors.push_back(error.clone());
        lab.event(0, ERROR);
        let told = next_error(&mut lab).expect("an error");
        assert_eq!(
            (told.from, told.kind, told.code),
            (from.parse().unwrap(), 3, 4)
        );
        assert_eq!(told.word, mtu);
        let about = Ipv4Packet::new_unchecked(&told.quoted);
        assert_eq!(
            IpAddr::from(about.dst_addr()),
            GATEWAY,
            "as the guest knows it"
        );
        assert_eq!(told.quoted[20..24], [0x9c, 0x40, 0xc7, 0x38]);
        // The host knows by then, and refuses.
        lab.socket(0).errors.push_back(error);
        lab.host().lose = Some(HostError::MessageTooLong);
        udp(&mut lab, seen, &[0; 1400]);
        assert_eq!(next_error(&mut lab).unwrap().word, mtu);
        // Of somebody who never asked.
        let other = too_big("203.0.113.9:1".parse().unwrap(), router, number);
        lab.socket(0).errors.push_back(other);
        lab.event(0, ERROR);
        assert_eq!(next_error(&mut lab), None);
        assert_eq!(dropped(&lab, DropReason::Filtered), 2);
    }
}

#[test]
fn an_answer_by_a_forward_that_cannot_be_sent_is_told() {
    let mut lab = asked_by_a_forward(CLIENT);
    let seen = SocketAddr::new(GATEWAY, 51_000);
    lab.host().lose = Some(HostError::HostUnreachable);
    udp(&mut lab, seen, b"an answer");
    let error = next_error(&mut lab).expect("an error");
    assert_eq!((error.from, error.kind, error.code), (GATEWAY, 3, 1));
    let about = Ipv4Packet::new_unchecked(&error.quoted);
    assert_eq!(
        IpAddr::from(about.dst_addr()),
        GATEWAY,
        "as the guest knows it"
    );
}
