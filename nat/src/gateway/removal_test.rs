//! Who is behind a port that is removed leaves nothing behind.
use crate::PortId;
use crate::account::Held;
use crate::testkit::*;
use smoltcp::wire::{IpProtocol, Ipv4Packet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const PORT: PortId = PortId(3);

/// A datagram's first fragment, whose rest never comes.
fn fragment(lab: &mut Lab) {
    let mut frame = ip_frame(lab.mac, GUEST.ip(), REMOTE.ip(), IpProtocol::Udp, 8, |_| {});
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
    packet.set_dont_frag(false);
    packet.set_more_frags(true);
    packet.fill_checksum();
    lab.frame(&frame);
}

/// A gateway with a guest behind [`PORT`] that has all it may have: a connection, a mapping and a part of a datagram.
fn lab() -> Lab {
    let mut lab = Lab::with(|config| {
        config.quotas.flows_per_guest = 2;
        config.quotas.new_flows_per_second = 1;
        config.quotas.new_flows_burst = 2;
    });
    lab.port = Some(PORT);
    lab.establish(&syn(0));
    udp(&mut lab, REMOTE, b"hello");
    fragment(&mut lab);
    assert_eq!(lab.gateway.flows(lab.now).count(), 2);
    assert!(lab.gateway.guest_of(GUEST_MAC).unwrap().reassembling > 0);
    lab
}

#[test]
fn flows_end_with_their_port() {
    let mut lab = lab();
    lab.gateway.forget_port(lab.now, PORT);
    assert!(lab.socket(0).reset && lab.socket(1).closed);
    assert_eq!(lab.gateway.flows(lab.now).count(), 0);
    assert_eq!(lab.gateway.guest_of(GUEST_MAC), None);
    // What happened to its sockets before that is nobody's, and no timer is left.
    lab.event(0, READABLE);
    lab.event(1, READABLE);
    lab.pass(Duration::from_hours(24));
    assert_eq!(lab.next, None);
    lab.expect_nothing();
}

#[test]
fn who_gets_its_number_next_begins_with_nothing() {
    let mut lab = lab();
    lab.gateway.forget_port(lab.now, PORT);
    lab.establish(&syn(500));
    udp(&mut lab, REMOTE, b"hello");
    assert_eq!(lab.gateway.flows(lab.now).count(), 2);
    let held = lab.gateway.guest_of(GUEST_MAC).unwrap();
    let expected = Held {
        flows: 2,
        ports: 1,
        ..Held::default()
    };
    assert_eq!(held, expected);
}

#[test]
fn what_others_have_stays() {
    let mut lab = lab();
    for other in [PortId(0), PortId(2), PortId(4)] {
        lab.gateway.forget_port(lab.now, other);
    }
    assert_eq!(lab.gateway.flows(lab.now).count(), 2);
    // It has moved, and its flows with it.
    lab.port = Some(PortId(9));
    lab.tcp(&ack(1, 1));
    lab.gateway.forget_port(lab.now, PORT);
    assert_eq!(lab.gateway.flows(lab.now).count(), 2);
    assert!(!lab.socket(0).reset && !lab.socket(1).closed);
}

#[test]
fn an_address_of_one_that_is_gone_is_free() {
    let mut lab = lab();
    lab.gateway.forget_port(lab.now, PORT);
    // Held by the first, it would be that one's for a minute.
    lab.port = Some(PortId(4));
    lab.mac = crate::MacAddr([2, 0, 0, 0, 0, 4]);
    lab.establish(&syn(0));
    let owner = lab.gateway.guests.owner(GUEST.ip());
    assert_eq!(owner, lab.gateway.guests.id_of(lab.mac));
}

#[test]
fn connections_to_the_dns_server_count_where_their_guest_has_gone() {
    let dns = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 3)), 53);
    let mut lab = Lab::new();
    lab.port = Some(PORT);
    for port in 50_000..50_016 {
        let guest = SocketAddr::new(GUEST.ip(), port);
        lab.tcp_from(guest, dns, &syn(0));
        let ours = lab.next_tcp().expect("SYN-ACK").seq + 1;
        lab.tcp_from(guest, dns, &ack(1, ours));
    }
    // Another port's guest uses its MAC address, or it has moved, and its number is given to the next.
    lab.port = Some(PortId(9));
    lab.tcp(&ack(1, 1));
    lab.gateway.forget_port(lab.now, PORT);
    assert_eq!(lab.gateway.flows(lab.now).count(), 16);
    lab.wire.frames.clear();
    lab.port = Some(PORT);
    lab.mac = crate::MacAddr([2, 0, 0, 0, 0, 4]);
    let other = SocketAddr::from(([10, 0, 2, 99], 50_000));
    lab.tcp_from(other, dns, &syn(0));
    assert_eq!(lab.next_tcp().expect("SYN-ACK").flags, "SA");
}
