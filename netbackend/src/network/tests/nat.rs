//! A network with a gateway, whose world is the loopback interface of this host.
use super::{
    Net,
    guest::{Guest, GuestSpec},
    mac, workers,
};
use crate::{
    config::NatConfig,
    network::{GatewaySpec, Network, NetworkSpec},
};
use control::FlowStatus;
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
        let gateway = GatewaySpec {
            config: NatConfig {
                host_loopback: true,
                // Router advertisements would come between what a test looks at.
                ipv6_prefix: None,
                ..NatConfig::default()
            },
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
