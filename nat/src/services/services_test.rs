//! The services through the gateway's door: frames in, frames out.
use super::*;
use crate::testkit::{FakeHost, GATEWAY, GUEST_MAC, Lab};

/// The services of the default network, and what they sent.
struct World {
    services: Services,
    host: FakeHost,
    counters: Counters,
    lab: Lab,
}

impl World {
    fn new() -> Self {
        let lab = Lab::new();
        Self {
            services: Services::new(lab.gateway.config(), 1),
            host: FakeHost::default(),
            counters: Counters::default(),
            lab,
        }
    }

    /// Whether a service took the datagram.
    fn datagram(&mut self, source: [u8; 4], to: IpAddr, ports: (u16, u16), payload: &[u8]) -> bool {
        let mut cx = Context {
            now: self.lab.now,
            host: &mut self.host,
            out: &mut self.lab.wire,
            counters: &mut self.counters,
        };
        let datagram = Datagram {
            port: PortId(1),
            mac: GUEST_MAC,
            source: (source, ports.0).into(),
            destination: (to, ports.1).into(),
            payload,
        };
        self.services.datagram(&mut cx, &datagram)
    }

    /// Payloads of the UDP datagrams over IPv4 from a port.
    fn datagrams_from(&mut self, port: u16) -> Vec<Vec<u8>> {
        let frames = std::mem::take(&mut self.lab.wire.frames).into_iter();
        let ours = frames.filter(|(frame, _)| {
            frame[12..14] == [0x08, 0x00] && frame[23] == 17 && frame[34..36] == port.to_be_bytes()
        });
        ours.map(|(frame, _)| frame[42..].to_vec()).collect()
    }
}

/// A DISCOVER with rapid commit, and a host name.
fn discover() -> Vec<u8> {
    let mut bytes = vec![1, 1, 6, 0, 1, 2, 3, 4];
    bytes.resize(28, 0);
    bytes.extend(GUEST_MAC.as_bytes());
    bytes.resize(236, 0);
    bytes.extend([
        99, 130, 83, 99, 53, 1, 1, 80, 0, 12, 3, b'w', b'e', b'b', 255,
    ]);
    bytes
}

fn dns_query(name: &str) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(name.parse::<dns::Name>().unwrap().wire());
    message.extend([0, 1, 0, 1]);
    message
}

const DNS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 3));

fn lease(world: &mut World) {
    let broadcast = IpAddr::from([255, 255, 255, 255]);
    assert!(world.datagram([0; 4], broadcast, (68, 67), &discover()));
    let replies = world.datagrams_from(67);
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0][16..20], [10, 0, 2, 15]);
}

#[test]
fn arp_is_answered_through_the_gateway() {
    let mut lab = Lab::new();
    let mut frame = vec![0xff; 6];
    frame.extend(GUEST_MAC.as_bytes());
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(GUEST_MAC.as_bytes());
    frame.extend([10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
    lab.frame(&frame);
    let replies = lab
        .wire
        .frames
        .iter()
        .filter(|(frame, _)| frame[12..14] == [8, 6]);
    assert_eq!(replies.count(), 1);
}

#[test]
fn a_lease_makes_its_guest_known_by_name_to_dns_and_to_forwards() {
    let mut world = World::new();
    lease(&mut world);
    let services = &world.services;
    assert_eq!(services.resolve("WEB", false), Some([10, 0, 2, 15].into()));
    assert_eq!(services.resolve("web", true), None);
    assert_eq!(services.first_lease(false), Some([10, 0, 2, 15].into()));
    assert!(world.datagram([10, 0, 2, 15], DNS, (5000, 53), &dns_query("web.internal")));
    assert!(world.datagrams_from(53)[0].ends_with(&[10, 0, 2, 15]));
    assert!(world.datagram(
        [10, 0, 2, 15],
        GATEWAY,
        (5000, 53),
        &dns_query("gateway.internal")
    ));
    assert!(world.datagrams_from(53)[0].ends_with(&[10, 0, 2, 2]));
}

#[test]
fn the_first_guest_is_one_whatever_family_is_asked_for() {
    let record = |address: &str, last, station_age| LeaseRecord {
        address: address.parse().unwrap(),
        client: vec![last],
        mac: [0x52, 0x54, 0, 0, 0, last],
        hostname: None,
        remaining: 600,
        station_age,
    };
    // The one had an IPv4 address first, the other an IPv6 address.
    let (v4, v6) = ("10.0.2.15", "fd00::1000");
    for (age_v4, age_v6, expected) in [
        (9000, 5000, [Some(v4), None]),
        (5000, 9000, [None, Some(v6)]),
    ] {
        let mut world = World::new();
        let leases = Leases {
            ipv4: vec![record(v4, 1, age_v4)],
            ipv6: vec![record(v6, 2, age_v6)],
        };
        let now = world.lab.now;
        world.services.restore_leases(now, &leases, Duration::ZERO);
        let found = [false, true].map(|ipv6| world.services.first_lease(ipv6));
        let expected = expected.map(|text| text.map(|text| text.parse().unwrap()));
        assert_eq!(found, expected);
    }
}

#[test]
fn routers_advertise_what_dhcp6_does() {
    for (dhcp6, flags) in [
        (Dhcp6::Stateful, 0xc0),
        (Dhcp6::Stateless, 0x40),
        (Dhcp6::Off, 0),
    ] {
        let mut lab = Lab::with(|config| {
            config.services.router_advertisements = true;
            config.services.dhcp6 = dhcp6;
        });
        lab.poll();
        let (frame, _) = lab.next_frame().expect("an advertisement");
        // Behind type, code, sum and hop limit (RFC 4861, 4.2).
        assert_eq!((frame[54], frame[59]), (134, flags), "{dhcp6:?}");
    }
}

#[test]
fn ports_of_no_service_are_left_to_others() {
    let mut world = World::new();
    assert!(
        !world.datagram([10, 0, 2, 15], GATEWAY, (5000, 69), b""),
        "no directory is served"
    );
    assert!(
        !world.datagram([10, 0, 2, 15], GATEWAY, (5000, 547), b""),
        "of the other family"
    );
    assert!(!world.datagram([10, 0, 2, 15], [192, 0, 2, 1].into(), (5000, 53), b""));
}

#[test]
fn leases_outlive_the_gateway() {
    let mut world = World::new();
    let before = world.services.leases_generation();
    lease(&mut world);
    assert_ne!(world.services.leases_generation(), before);
    let now = world.lab.now;
    let kept = world.services.leases(now);
    let mut next = World::new();
    next.services
        .restore_leases(now, &kept, Duration::from_mins(1));
    let mut expected = kept.ipv4[0].clone();
    expected.remaining -= 60;
    expected.station_age += 60_000;
    assert_eq!(next.services.leases(now).ipv4, [expected]);
    assert_eq!(
        next.services.resolve("web", false),
        Some([10, 0, 2, 15].into())
    );
}

#[test]
fn an_answer_without_room_is_counted_and_not_kept() {
    let mut world = World::new();
    world.lab.wire.room = 0;
    world.datagram([0; 4], IpAddr::from([255; 4]), (68, 67), &discover());
    assert_eq!(world.counters.dropped(DropReason::NoRoom), 1);
    world.lab.wire.room = usize::MAX;
    assert!(world.datagrams_from(67).is_empty());
}

#[test]
fn where_the_gateway_stands_for_the_host_its_dns_port_is_the_hosts() {
    let lab = Lab::with(|config| config.policy.gateway_is_host_loopback = true);
    let services = lab.gateway.services();
    assert!(!services.listens(SocketAddr::new(GATEWAY, 53)));
    assert!(services.listens(SocketAddr::new(DNS, 53)));
    let lab = Lab::new();
    assert!(lab.gateway.services().listens(SocketAddr::new(GATEWAY, 53)));
    assert!(!lab.gateway.services().listens(SocketAddr::new(GATEWAY, 80)));
}

#[test]
fn routers_are_advertised_from_the_start_with_a_right_checksum() {
    let mut lab = Lab::with(|config| config.services.router_advertisements = true);
    lab.poll();
    let (frame, _) = &lab.wire.frames[0];
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!((frame[21], frame[54]), (255, 134));
    let address = |at: usize| -> std::net::Ipv6Addr {
        <[u8; 16]>::try_from(&frame[at..at + 16]).unwrap().into()
    };
    let pseudo = Pseudo::V6(address(22), address(38));
    let sum = pseudo
        .sum(protocol::ICMPV6, frame.len() - 54)
        .bytes(&frame[54..]);
    assert_eq!(sum.checksum(), [0, 0]);
}

#[test]
fn domains_to_search_are_told_as_they_change() {
    let mut world = World::new();
    let domains = ["example.org", "internal"].map(|name| name.parse().unwrap());
    world.services.set_search(&domains);
    let mut asks = discover();
    asks.truncate(asks.len() - 1);
    asks.extend([55, 1, 119, 255]);
    let broadcast = IpAddr::from([255, 255, 255, 255]);
    assert!(world.datagram([0; 4], broadcast, (68, 67), &asks));
    // The guests' own first, and once.
    let told = b"\x77\x17\x08internal\0\x07example\x03org\0";
    let reply = &world.datagrams_from(67)[0];
    assert!(reply.windows(told.len()).any(|place| place == told));
}

#[test]
fn routers_advertise_a_change_as_soon_as_they_may() {
    let mut lab = Lab::with(|config| config.services.router_advertisements = true);
    lab.poll();
    lab.wire.frames.clear();
    lab.poll();
    assert!(lab.wire.frames.is_empty(), "not due");
    let domains = ["example.org".parse().unwrap()];
    lab.gateway.services_mut().set_search(&domains);
    lab.poll();
    assert!(lab.wire.frames.is_empty(), "the last one is not 3 s old");
    lab.now += Duration::from_secs(3);
    lab.poll();
    let (frame, _) = &lab.wire.frames[0];
    let told = b"\x07example\x03org\0";
    assert!(frame.windows(told.len()).any(|place| place == told));
}
