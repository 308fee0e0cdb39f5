//! The data plane as its front-ends see it.
mod bad_front_ends;
mod bad_inputs;
mod counters;
mod direct;
mod forwarding;
mod guest;
mod handshake;
mod hostile;
mod idle;
mod inflight;
mod lifecycle;
mod links;
mod messages;
mod migration;
mod nat;
mod offloads;
mod offloads_udp;
mod packed;
mod policy;
mod raw;
mod segmentation;
mod tap;
mod vlans;
mod workers;

use super::{Network, NetworkSpec, PortSpec, PortTransport};
use control::PortStatus;
use guest::wait_for;
use std::{
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    time::Duration,
};
use switch::{Mode, Role};
use tempfile::TempDir;

/// A network with sockets in a directory of its own.
#[derive(Debug)]
struct Net {
    network: Network,
    dir: TempDir,
}

impl Net {
    fn new() -> Self {
        Self::named("test", Duration::from_micros(50))
    }

    fn named(name: &str, poll_idle: Duration) -> Self {
        Self::with_workers(name, poll_idle, workers())
    }

    fn with_workers(name: &str, poll_idle: Duration, workers: u16) -> Self {
        let network = Network::start(NetworkSpec {
            name: name.into(),
            mode: Mode::Bridge,
            mtu: 1500,
            ageing: Duration::from_mins(5),
            fdb_capacity_per_port: 64,
            poll_idle,
            workers,
            cpus: Vec::new(),
            require_sealed_memory: false,
            isolate: false,
        })
        .unwrap();
        Self {
            network,
            dir: TempDir::new().unwrap(),
        }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Adds a vhost-user port; returns its socket.
    fn port(&self, name: &str, queue_pairs: u16) -> PathBuf {
        let path = self.socket(name);
        let transport = PortTransport::VhostUser(UnixListener::bind(&path).unwrap());
        self.network
            .add_port(port_spec(name, queue_pairs), transport)
            .unwrap();
        path
    }

    fn status(&self, name: &str) -> PortStatus {
        self.network
            .report()
            .into_iter()
            .find(|status| status.name == name)
            .unwrap()
    }

    #[track_caller]
    fn wait_for_status(&self, name: &str, what: &str, condition: impl Fn(&PortStatus) -> bool) {
        wait_for(what, || condition(&self.status(name)));
    }

    /// A port with a guest on it.
    fn guest(&self, name: &str, spec: guest::GuestSpec) -> guest::Connected {
        let path: &Path = &self.port(name, spec.pairs);
        guest::Guest::new(spec).connect(path)
    }
}

/// Workers of networks in tests: `NETBACKEND_TEST_WORKERS`, else 1. All that holds with one must hold with several.
fn workers() -> u16 {
    let given = std::env::var("NETBACKEND_TEST_WORKERS");
    given.map_or(1, |number| number.parse().unwrap())
}

fn port_spec(name: &str, queue_pairs: u16) -> PortSpec {
    PortSpec {
        policy: control::PortPolicy::default(),
        name: name.into(),
        role: Role::Guest,
        mac: None,
        queue_pairs,
    }
}

/// Address of guest `n`.
fn mac(n: u8) -> [u8; 6] {
    [0x52, 0x54, 0, 0, 0, n]
}

const BROADCAST: [u8; 6] = [0xff; 6];

/// A frame of `len` bytes with a pattern that starts with `seed`.
fn frame(to: [u8; 6], from: [u8; 6], len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(to);
    bytes.extend(from);
    // Local experimental ethertype: nothing looks into it.
    bytes.extend([0x88, 0xb5]);
    let mut value = seed;
    while bytes.len() < len {
        bytes.push(value);
        value = value.wrapping_mul(5).wrapping_add(7);
    }
    bytes
}

/// Lets the switch know where guests are: each sends one broadcast, all others take it.
#[track_caller]
fn introduce(guests: &mut [&mut guest::Guest]) {
    for guest in &mut *guests {
        while guest.poll(0).is_some() {}
    }
    for sender in 0..guests.len() {
        let number = u8::try_from(sender).unwrap();
        let hello = frame(BROADCAST, mac(number), 60, number);
        guests[sender].send(&hello);
        for (index, other) in guests.iter_mut().enumerate() {
            if index != sender {
                assert_eq!(other.receive().frame, hello);
            }
        }
    }
}
