//! A network with a gateway, whose world is the loopback interface of this host.
use super::{
    BROADCAST, Net, frame,
    guest::{Guest, GuestSpec},
    mac, workers,
};
use crate::{
    config::NatConfig,
    network::{Gateway, GatewaySpec, Network, NetworkSpec},
};
use control::{DnsCounters, FlowStatus};
use etherparse::PacketBuilder;
use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};
use switch::Mode;
use tempfile::TempDir;

const GATEWAY_MAC: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];
const GATEWAY: [u8; 4] = [10, 0, 2, 2];

impl Net {
    /// A NAT network; the gateway's address stands for the loopback interface.
    fn nat(isolate: bool) -> Self {
        Self::nat_with(isolate, |_| {})
    }

    /// The same, configured otherwise.
    fn nat_with(isolate: bool, change: impl FnOnce(&mut NatConfig)) -> Self {
        let spec = NetworkSpec {
            name: "nat".into(),
            mode: Mode::Bridge,
            mtu: 1500,
            ageing: Duration::from_mins(5),
            fdb_capacity_per_port: 64,
            poll_idle: Duration::from_micros(50),
            workers: workers(),
            cpus: Vec::new(),
            require_sealed_memory: false,
            isolate,
        };
        let mut config = NatConfig {
            host_loopback: true,
            // Router advertisements would come between what a test looks at.
            ipv6_prefix: None,
            ..NatConfig::default()
        };
        change(&mut config);
        let gateway = GatewaySpec {
            config,
            lease_file: None,
            raw_echo: Vec::new(),
        };
        Self {
            network: Network::start_with(spec, Some(gateway)).unwrap(),
            dir: TempDir::new().unwrap(),
        }
    }

    fn flows(&self) -> Vec<FlowStatus> {
        self.network.gateway().unwrap().flows().unwrap()
    }
}

/// A server in the world.
fn server() -> UdpSocket {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server
        .set_read_timeout(Some(super::guest::DEADLINE))
        .unwrap();
    server
}

/// A datagram of guest `n` to the world.
fn datagram(n: u8, server: &UdpSocket, payload: &[u8]) -> Vec<u8> {
    let port = server.local_addr().unwrap().port();
    let builder = PacketBuilder::ethernet2(mac(n), GATEWAY_MAC)
        .ipv4([10, 0, 2, 100 + n], GATEWAY, 64)
        .udp(4000, port);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// A question of guest 1 for an address, to the gateway's DNS server.
fn question(name: &[&str]) -> Vec<u8> {
    // Id 7, recursion desired, one question.
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    let builder = PacketBuilder::ethernet2(mac(1), GATEWAY_MAC)
        .ipv4([10, 0, 2, 101], [10, 0, 2, 3], 64)
        .udp(4000, 53);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &message).unwrap();
    bytes
}

/// The guest asks the world, and is answered.
#[track_caller]
fn reach(guest: &mut Guest, n: u8, server: &UdpSocket) {
    guest.send(&datagram(n, server, &[n; 20]));
    let mut asked = [0; 64];
    let (len, from) = server.recv_from(&mut asked).unwrap();
    assert_eq!(asked[..len], [n; 20]);
    server.send_to(&[n; 30], from).unwrap();
    let answer = guest.receive().frame;
    assert_eq!((&answer[..6], &answer[42..]), (&mac(n)[..], &[n; 30][..]));
}

#[test]
fn flows_of_a_port_end_with_it() {
    let net = Net::nat(false);
    let (server, other) = (server(), server());
    let mut stays = net.guest("stays", GuestSpec::default());
    reach(&mut stays.guest, 1, &server);
    for name in ["first", "second", "third"] {
        let mut guest = net.guest(name, GuestSpec::default());
        reach(&mut guest.guest, 2, &server);
        assert_eq!(net.flows().len(), 2, "{name}");
        // What it has sent last is in nobody's way, either.
        for n in 3..50 {
            guest.guest.send(&datagram(n, &other, b"last"));
        }
        assert!(net.network.remove_port(name).unwrap());
        let macs: Vec<String> = net.flows().into_iter().map(|flow| flow.mac).collect();
        assert_eq!(macs, ["52:54:00:00:00:01"], "{name}");
    }
    reach(&mut stays.guest, 1, &server);
}

#[test]
fn a_ports_number_is_taken_until_the_gateway_has_forgotten_it() {
    let mut net = Net::new();
    let (gateway, requests) = Gateway::without_thread().unwrap();
    net.network.gateway = Some(gateway);
    let id = |net: &Net, name: &str| net.network.lock_ports()[name].id.0;
    net.port("a", 1);
    assert_eq!(id(&net, "a"), 1);
    // The gateway does not come to it in time.
    assert!(net.network.remove_port("a").unwrap());
    net.port("b", 1);
    assert_eq!(id(&net, "b"), 2);
    let late = requests.try_recv().unwrap();
    net.port("c", 1);
    assert_eq!(id(&net, "c"), 3);
    drop(late);
    net.port("d", 1);
    assert_eq!(id(&net, "d"), 1);
}

#[test]
fn questions_are_counted_by_how_they_were_answered() {
    let server = server();
    let net = Net::nat_with(false, |config| {
        config.dns = vec![server.local_addr().unwrap()];
        let known = vec!["192.0.2.7".parse().unwrap()];
        config.records.insert("known.example".into(), known);
    });
    let mut guest = net.guest("guest", GuestSpec::default());
    guest.guest.send(&question(&["known", "example"]));
    guest.guest.receive();
    // Twice, the second time from the cache.
    guest.guest.send(&question(&["www", "example"]));
    let mut message = [0; 512];
    let (len, from) = server.recv_from(&mut message).unwrap();
    let mut answer = message[..len].to_vec();
    // An answer that says so: recursion available, one record.
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[6..8].copy_from_slice(&[0, 1]);
    // Without what a client may say beside its question (EDNS).
    answer.truncate(12 + 17);
    answer[10..12].fill(0);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 192, 0, 2, 8]);
    server.send_to(&answer, from).unwrap();
    for _ in 0..2 {
        let answer = guest.guest.receive().frame;
        assert_eq!(answer[answer.len() - 4..], [192, 0, 2, 8]);
        guest.guest.send(&question(&["www", "example"]));
    }
    guest.guest.receive();
    let counted = net.network.gateway().unwrap().status().unwrap().dns;
    let expected = DnsCounters {
        queries: 4,
        local: 1,
        cached: 2,
        forwarded: 1,
        ..DnsCounters::default()
    };
    assert_eq!(counted, expected);
}

#[test]
fn isolated_guests_reach_the_world_and_not_each_other() {
    let net = Net::nat(true);
    let server = server();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    // Each is known to the switch then.
    reach(&mut a.guest, 1, &server);
    reach(&mut b.guest, 2, &server);
    for round in 0..5 {
        a.guest.send(&frame(mac(2), mac(1), 100, round));
        a.guest.send(&frame(BROADCAST, mac(1), 100, round));
        b.guest.send(&frame(mac(1), mac(2), 100, round));
        b.guest.send(&frame(BROADCAST, mac(2), 100, round));
        // The next that each gets is the world's answer.
        reach(&mut a.guest, 1, &server);
        reach(&mut b.guest, 2, &server);
    }
    assert!(net.drops("a", "isolated") > 0 && net.drops("b", "isolated") > 0);
}
