//! Quotas: what one guest does costs the others nothing.
use crate::testkit::*;
use crate::{DropReason, MacAddr, PortId};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

fn other_guest(lab: &mut Lab) -> SocketAddr {
    lab.mac = MacAddr([0x52, 0x54, 0, 0, 0, 0x16]);
    "10.0.2.16:40000".parse().unwrap()
}

#[test]
fn a_flood_of_100_000_syns_leaves_the_other_guests_flows() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let start = lab.now;
    let attacker = other_guest(&mut lab);
    let (mut delivered, mut at) = (0_usize, 1);
    for n in 0..100_000_u32 {
        let remote = SocketAddr::new(
            Ipv4Addr::from_bits(0xc633_6400 + n % 256).into(),
            u16::try_from(1 + n % 60_000).unwrap(),
        );
        let from = SocketAddr::new(attacker.ip(), u16::try_from(1 + n / 256 % 60_000).unwrap());
        lab.tcp_from(from, remote, &syn(n));
        if n % 100 == 0 {
            // The other guest goes on as if nothing was.
            lab.mac = GUEST_MAC;
            lab.tcp(&data(at, ours, &[7; 1000]));
            at += 1000;
            lab.world(0, &[8; 1000]);
            delivered += 1000;
            lab.tcp(&ack(at, ours + u32::try_from(delivered).unwrap()));
            other_guest(&mut lab);
        }
        lab.now += Duration::from_micros(10);
    }
    assert_eq!(lab.socket(0).outbox.len(), delivered);
    let received = lab
        .gateway
        .flows(lab.now)
        .find(|flow| flow.guest == GUEST)
        .unwrap();
    assert_eq!(received.received, u64::try_from(delivered).unwrap());
    // The attacker has what it may have, and no more; a second of SYNs is within its rate and burst.
    let attackers = lab.gateway.guest_of(lab.mac).unwrap();
    assert!(attackers.half_open <= 2048, "{}", attackers.half_open);
    assert!(lab.host().open_count() <= 2049);
    assert!(lab.gateway.counters().dropped(DropReason::HalfOpenQuota) > 90_000);
    assert!(lab.now.saturating_sub(start) >= Duration::from_secs(1));
    // A third one may connect meanwhile.
    lab.mac = MacAddr([0x52, 0x54, 0, 0, 0, 0x17]);
    let before = lab.host().sockets.len();
    lab.tcp_from("10.0.2.17:1".parse().unwrap(), REMOTE, &syn(1));
    assert_eq!(lab.host().sockets.len(), before + 1);
}

#[test]
fn two_thousand_connections_at_once() {
    let mut lab = Lab::new();
    let ports = 10_000..12_000_u16;
    let from = |port| SocketAddr::new(GUEST.ip(), port);
    for port in ports.clone() {
        lab.tcp_from(from(port), REMOTE, &syn(u32::from(port)));
    }
    assert_eq!(lab.host().sockets.len(), 2000);
    for (index, port) in ports.clone().enumerate() {
        lab.connected(index);
        let answer = lab.next_tcp().unwrap();
        lab.tcp_from(
            from(port),
            REMOTE,
            &data(u32::from(port) + 1, answer.seq + 1, &port.to_be_bytes()),
        );
        assert_eq!(lab.next_tcp().unwrap().ack, Some(u32::from(port) + 3));
    }
    for (index, port) in ports.enumerate() {
        assert_eq!(lab.socket(index).outbox, port.to_be_bytes());
    }
    assert_eq!(lab.gateway.guest_of(GUEST_MAC).unwrap().half_open, 0);
}

#[test]
fn a_guest_has_no_more_flows_and_no_more_buffers_than_it_may() {
    let mut lab = Lab::with(|config| {
        config.quotas.flows_per_guest = 10;
        config.quotas.buffer_per_guest = 16 << 10;
    });
    for port in 1..20 {
        let from = SocketAddr::new(GUEST.ip(), port);
        lab.tcp_from(from, REMOTE, &syn(1));
    }
    assert_eq!(lab.host().sockets.len(), 10);
    assert_eq!(lab.gateway.counters().dropped(DropReason::FlowQuota), 9);
    for index in 0..10 {
        lab.connected(index);
        let port = u16::try_from(index + 1).unwrap();
        let answer = lab.next_tcp().unwrap();
        lab.socket(index).room = 0;
        lab.tcp_from(
            SocketAddr::new(GUEST.ip(), port),
            REMOTE,
            &data(2, answer.seq + 1, &[1; 1000]),
        );
        while lab.next_tcp().is_some() {}
    }
    assert!(lab.gateway.guest_of(GUEST_MAC).unwrap().buffered <= 16 << 10);
    assert!(lab.gateway.counters().dropped(DropReason::BufferQuota) > 0);
    // Another guest is not touched by that.
    let guest = other_guest(&mut lab);
    lab.tcp_from(guest, REMOTE, &syn(1));
    assert_eq!(lab.host().sockets.len(), 11);
}

#[test]
fn new_flows_are_rationed_and_come_back_with_time() {
    let mut lab = Lab::with(|config| {
        config.quotas.new_flows_per_second = 10;
        config.quotas.new_flows_burst = 5;
    });
    let connect = |lab: &mut Lab, port| {
        lab.tcp_from(SocketAddr::new(GUEST.ip(), port), REMOTE, &syn(1));
        lab.host().sockets.len()
    };
    for port in 1..10 {
        connect(&mut lab, port);
    }
    assert_eq!(lab.host().sockets.len(), 5);
    assert_eq!(lab.gateway.counters().dropped(DropReason::FlowRate), 4);
    lab.pass(Duration::from_millis(150));
    assert_eq!(connect(&mut lab, 50), 6);
}

#[test]
fn a_flood_of_mac_addresses_is_bounded_and_costs_nobody_a_flow() {
    let mut lab = Lab::with(|config| config.quotas.guests = 50);
    let ours = lab.establish(&syn(0));
    lab.port = Some(PortId(7));
    for n in 0..1000_u16 {
        let [a, b] = n.to_be_bytes();
        lab.mac = MacAddr([2, 0, 0, 1, a, b]);
        lab.now += Duration::from_millis(1);
        let guest = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 100)), 1);
        lab.tcp_from(guest, REMOTE, &ack(1, 1));
    }
    lab.wire.frames.clear();
    lab.mac = GUEST_MAC;
    lab.tcp(&data(1, ours, b"alive"));
    lab.expect(&ack(ours, 6));
}

#[test]
fn two_guests_with_one_address_do_not_meet() {
    let mut lab = Lab::new();
    lab.establish(&syn(0));
    other_guest(&mut lab);
    // Another MAC address, the same IP address and ports: a reset with the right number is nothing to the first flow.
    lab.tcp(&rst(1));
    assert!(!lab.socket(0).reset);
    let ours = lab.establish(&syn(70));
    lab.tcp(&data(71, ours, b"mine"));
    assert_eq!(
        (lab.socket(0).outbox.len(), &lab.socket(1).outbox[..]),
        (0, &b"mine"[..])
    );
}

#[test]
fn frames_for_others_are_not_answered() {
    let mut lab = Lab::new();
    let mut frame = lab.tcp_frame(GUEST, REMOTE, &ack(1, 1));
    for destination in [[2, 0, 0, 0, 0, 9], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        frame[..6].copy_from_slice(&destination);
        lab.frame(&frame);
    }
    lab.expect_nothing();
    assert_eq!(
        lab.gateway.counters().dropped(DropReason::BadDestination),
        3
    );
}

#[test]
fn an_address_is_its_holders_whoever_was_seen_with_it() {
    let address: IpAddr = "10.0.2.15".parse().unwrap();
    let [mac, other] = [1, 2].map(|last| MacAddr([0x52, 0x54, 0, 0, 0, last]));
    let mut guests = super::Guests::new(crate::config::Quotas::default(), 1);
    let at = Duration::from_secs;
    let (holder, impostor) = (
        guests.seen(mac, PortId(1), at(0)).unwrap(),
        guests.seen(other, PortId(2), at(0)).unwrap(),
    );
    // Nobody's: whoever was there first has it, until silent for a while.
    guests.learn(impostor, address, at(0), || None);
    guests.learn(holder, address, at(59), || None);
    assert_eq!(guests.owner(address), Some(impostor));
    // Leased since then: it may be the other's by hand.
    guests.learn(holder, address, at(59), || Some((mac, at(50))));
    assert_eq!(guests.owner(address), Some(impostor));
    // Reserved, or leased before: at once.
    guests.learn(holder, address, at(59), || Some((mac, at(0))));
    assert_eq!(guests.owner(address), Some(holder));
    guests.learn(impostor, address, at(1000), || Some((mac, at(0))));
    assert_eq!(guests.owner(address), Some(holder));
    guests.learn(impostor, address, at(1000), || None);
    assert_eq!(guests.owner(address), Some(impostor), "the lease has ended");
}

#[test]
fn many_addresses_behind_one_port_have_what_one_guest_may_have() {
    let mut lab = Lab::with(|config| config.quotas.flows = 10_000);
    lab.port = Some(PortId(7));
    for n in 0..64 * 400_u32 {
        let station = u8::try_from(n % 64).unwrap();
        lab.mac = MacAddr([2, 0, 0, 0, 1, station]);
        let guest: IpAddr = Ipv4Addr::new(10, 0, 2, 100 + station).into();
        let from = SocketAddr::new(guest, u16::try_from(1 + n / 64).unwrap());
        lab.tcp_from(from, REMOTE, &syn(n));
        lab.now += Duration::from_micros(100);
    }
    assert_eq!(lab.host().open_count(), 2048);
    // Behind another port nothing is missing.
    let ours = {
        lab.port = None;
        lab.mac = GUEST_MAC;
        lab.establish(&syn(0))
    };
    lab.tcp(&data(1, ours, b"alive"));
    lab.expect(&ack(ours, 6));
}

#[test]
fn connections_of_the_world_that_nobody_answers_leave_room_for_the_guests_own() {
    let mut lab = Lab::with(|config| config.quotas.flows_per_guest = 400);
    // It is heard, so that its MAC address is known.
    lab.tcp(&rst(0));
    let forward = crate::forward::Forward {
        transport: crate::forward::Transport::Tcp,
        address: None,
        interface: None,
        first_port: 2222,
        last_port: 2222,
        guest: crate::forward::GuestRef::Address(GUEST.ip()),
        guest_port: 22,
        preserve_source: false,
    };
    lab.gateway.forward_add(lab.now, &forward).unwrap();
    for port in 1000..1300 {
        let client = SocketAddr::new("203.0.113.5".parse().unwrap(), port);
        lab.socket(0).backlog.push_back(client);
        lab.event(0, READABLE);
    }
    assert_eq!(lab.gateway.flows(lab.now).count(), 100, "a quarter");
    assert_eq!(lab.host().open_count(), 101);
    for port in 0..300_u16 {
        let from = SocketAddr::new(GUEST.ip(), 2000 + port);
        lab.tcp_from(from, REMOTE, &syn(u32::from(port)));
    }
    assert_eq!(lab.gateway.flows(lab.now).count(), 400);
    // Given up, and counted out.
    lab.pass(Duration::from_mins(10));
    let held = lab.gateway.guest_of(GUEST_MAC).unwrap();
    assert_eq!(held, crate::account::Held::default());
}

#[test]
fn what_a_guest_has_goes_with_it_to_another_port() {
    let mut lab = Lab::with(|config| config.quotas.flows_per_guest = 3);
    let connect = |lab: &mut Lab, port| {
        lab.tcp_from(SocketAddr::new(GUEST.ip(), port), REMOTE, &syn(1));
        lab.host().sockets.len()
    };
    lab.port = Some(PortId(1));
    assert_eq!([1, 2].map(|port| connect(&mut lab, port)), [1, 2]);
    lab.port = Some(PortId(2));
    assert_eq!([3, 4].map(|port| connect(&mut lab, port)), [3, 3]);
    // The first port is as good as new for others.
    lab.port = Some(PortId(1));
    other_guest(&mut lab);
    assert_eq!(
        [5, 6, 7, 8].map(|port| connect(&mut lab, port)),
        [4, 5, 6, 6]
    );
    // All of it ends.
    lab.pass(Duration::from_mins(10));
    assert_eq!(lab.gateway.guest_of(GUEST_MAC).unwrap().flows, 0);
    assert_eq!(connect(&mut lab, 9), 7);
}

#[test]
fn a_guest_that_moves_to_and_fro_has_no_more_new_flows_by_that() {
    let mut lab = Lab::with(|config| {
        config.quotas.new_flows_per_second = 10;
        config.quotas.new_flows_burst = 5;
    });
    for n in 1..=40 {
        lab.port = Some(PortId(n % 2));
        lab.tcp_from(SocketAddr::new(GUEST.ip(), n), REMOTE, &syn(1));
    }
    assert_eq!(lab.host().sockets.len(), 10, "five for each port");
    assert_eq!(lab.gateway.counters().dropped(DropReason::FlowRate), 30);
}

#[test]
fn a_guest_that_moves_to_and_fro_may_send_no_more_by_that() {
    let mut lab = Lab::with(|config| config.quotas.upload_rate = Some(1000));
    let payload = [7; 1000];
    for n in 0..400 {
        lab.port = Some(PortId(n % 2));
        udp(&mut lab, REMOTE, &payload);
    }
    // Of each port a burst of 64 KiB, and what does not quite fit into it.
    assert_eq!(lab.socket(0).sent.len(), 2 * 66);
}

#[test]
fn a_port_full_of_addresses_takes_no_place_from_another() {
    let mac = |port: u8, n: u16| {
        let [a, b] = n.to_be_bytes();
        MacAddr([2, 0, 0, port, a, b])
    };
    let quotas = crate::config::Quotas {
        guests: 400,
        ..Default::default()
    };
    let mut guests = super::Guests::new(quotas, 1);
    let now = Duration::from_secs(1);
    // Each of them has a flow, so none can be forgotten.
    for port in 1..=5 {
        for n in 0..200 {
            if let Some(id) = guests.seen(mac(port, n), PortId(port.into()), now) {
                guests.open_flow(id, now).unwrap();
            }
        }
    }
    let behind = |guests: &super::Guests, port| {
        let of = |&n: &u16| guests.id_of(mac(port, n)).is_some();
        (0..1000).filter(of).count()
    };
    assert_eq!(
        [1, 2, 3, 4, 5].map(|port| behind(&guests, port)),
        [100, 100, 100, 100, 16]
    );
    // Those without a flow make room for each other, of their own port only.
    for n in 0..1000 {
        assert!(guests.seen(mac(9, n), PortId(9), now).is_some(), "{n}");
    }
    assert_eq!([1, 9].map(|port| behind(&guests, port)), [100, 16]);
}
