//! Two worlds of the same shape: endpoints, a relay, a host behind it.
//!
//! ```text
//!   E1  E2  E3  E4
//!    |   |   |   |
//!   macvlan, or netbackend
//!         |
//!     host's NIC      <- not with a tap, which is the relay's port itself
//!         |           <- "wire": what leaves, seen at the relay's port
//!   relay (Linux bridge)
//!         |
//!      outside
//! ```
use super::frames::{self, Frame, Station, Tag};
use super::matrix::{Matrix, Receiver};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use tests::{Daemon, Namespace, PacketSocket};

const PATIENCE: Duration = Duration::from_secs(30);

/// How netbackend reaches the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By a tap.
    Tap,
    /// By a macvtap in passthru mode on the host's NIC.
    Nic,
    /// By a packet socket on the host's NIC.
    Packet,
    /// Each guest by a macvtap of its own.
    Attach,
}

impl Way {
    /// The modes that it is for.
    pub(super) fn modes(self) -> &'static [&'static str] {
        match self {
            // Guests cannot have a NIC to themselves that the host goes on using.
            Self::Packet => &["bridge", "private", "vepa"],
            Self::Tap | Self::Nic | Self::Attach => &["bridge", "private", "vepa", "passthrough"],
        }
    }
}

/// Way, mode and relay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) way: Way,
    /// As netbackend calls it.
    pub(super) mode: &'static str,
    pub(super) hairpin: bool,
}

impl Scenario {
    pub(super) fn stations(self) -> Vec<Station> {
        let host = (self.way != Way::Tap).then_some(Station::Host);
        let endpoints = (0..self.endpoints()).map(Station::Endpoint);
        endpoints.chain(host).chain([Station::Outside]).collect()
    }

    fn endpoints(self) -> usize {
        match self.mode {
            "passthrough" => 1,
            _ => 4,
        }
    }

    /// As `ip link` calls it.
    fn macvlan_mode(self) -> &'static str {
        match self.mode {
            "passthrough" => "passthru",
            mode => mode,
        }
    }
}

/// A running world.
pub(super) struct World {
    name: &'static str,
    sockets: BTreeMap<Receiver, PacketSocket>,
    /// Endpoints, and the host if there is one.
    inside: Vec<Receiver>,
    next_mark: u32,
    received: Vec<(Receiver, Vec<u8>)>,
    // Dropped in this order: the daemon before the namespaces that its taps are in.
    _daemon: Option<Daemon>,
    _namespaces: (Vec<Namespace>, Vec<Namespace>),
}

fn namespaces(purpose: &str, count: usize) -> Vec<Namespace> {
    (0..count)
        .map(|index| Namespace::quiet(&format!("{purpose}{index}")))
        .collect()
}

fn text(mac: frames::Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The relay with the host behind it at its port `out`.
fn relay_and_outside() -> (Namespace, Namespace) {
    let [relay, outside] = namespaces("relay", 2).try_into().unwrap();
    relay.script(&format!(
        "ip link add relay up type bridge stp_state 0 mcast_snooping 0
         ip link add out up master relay type veth peer name eth0 address {} netns {}
         ip netns exec {1} ip link set eth0 up",
        text(Station::Outside.mac()),
        outside.name()
    ));
    (relay, outside)
}

/// The host with its NIC `lower`, whose other end is `up0` at the relay.
fn host(relay: &Namespace) -> Namespace {
    let [host] = namespaces("lower", 1).try_into().unwrap();
    host.script(&format!(
        "ip link add lower up address {} type veth peer name up0 netns {}",
        text(Station::Host.mac()),
        relay.name()
    ));
    relay.run("ip link set up0 up");
    host
}

/// Makes `interface` the port of the relay that leads to the endpoints.
fn connect(relay: &Namespace, interface: &str, hairpin: bool) {
    let hairpin = if hairpin { "on" } else { "off" };
    relay.script(&format!(
        "ip link set {interface} up master relay
         bridge link set dev {interface} hairpin {hairpin}"
    ));
}

fn join_groups(endpoints: &[Namespace]) {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let mut script = String::new();
        for group in frames::joined(index) {
            writeln!(script, "ip maddress add {} dev eth0", text(group)).unwrap();
        }
        endpoint.script(&script);
    }
}

impl World {
    /// macvlan devices on a veth pair.
    pub(super) fn of_the_kernel(scenario: Scenario) -> Self {
        let (relay, outside) = relay_and_outside();
        let endpoints = namespaces("macvlan", scenario.endpoints());
        let host = host(&relay);
        let mut script = String::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            write!(
                script,
                "\nip link add link lower name eth0 netns {netns} address {mac} type macvlan mode {mode}
                 ip netns exec {netns} ip link set eth0 up",
                netns = endpoint.name(),
                mac = text(Station::Endpoint(index).mac()),
                mode = scenario.macvlan_mode()
            )
            .unwrap();
        }
        host.script(&script);
        connect(&relay, "up0", scenario.hairpin);
        let more = vec![relay, outside, host];
        Self::new("kernel", scenario, None, endpoints, more)
    }

    /// Taps of a network.
    pub(super) fn of_netbackend(scenario: Scenario) -> Self {
        let (relay, outside) = relay_and_outside();
        let endpoints = namespaces("tap", scenario.endpoints());
        let mut more = vec![relay, outside];
        let mut config = format!("[networks.n]\nmode = \"{}\"\n", scenario.mode);
        match scenario.way {
            Way::Tap => write!(
                config,
                "[networks.n.ports.up]\nkind = \"tap\"\ninterface = \"up0\"\nnetns = \"{}\"\nuplink = true\n",
                more[0].name()
            ),
            Way::Nic | Way::Packet | Way::Attach => {
                let host = host(&more[0]);
                let (key, attach) = match scenario.way {
                    Way::Packet => ("packet", "switch"),
                    Way::Attach => ("nic", "macvtap"),
                    _ => ("nic", "switch"),
                };
                let netns = host.name().to_owned();
                more.push(host);
                write!(
                    config,
                    "[networks.n.uplink]\n{key} = \"lower\"\nnetns = \"{netns}\"\nattach = \"{attach}\"\n"
                )
            }
        }
        .unwrap();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let mac = text(Station::Endpoint(index).mac());
            let netns = endpoint.name();
            write!(
                config,
                "[networks.n.ports.e{index}]\nkind = \"tap\"\ninterface = \"eth0\"\n\
                 netns = \"{netns}\"\nmac = \"{mac}\"\n"
            )
            .unwrap();
        }
        let daemon = Daemon::start(&config);
        connect(&more[0], "up0", scenario.hairpin);
        Self::new("netbackend", scenario, Some(daemon), endpoints, more)
    }

    /// `more`: relay, outside, and the host if there is one.
    fn new(
        name: &'static str,
        scenario: Scenario,
        daemon: Option<Daemon>,
        endpoints: Vec<Namespace>,
        more: Vec<Namespace>,
    ) -> Self {
        join_groups(&endpoints);
        let [relay, outside, ..] = &more[..] else {
            panic!("a relay and a host behind it");
        };
        let mut sockets = BTreeMap::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let station = Station::Endpoint(index);
            sockets.insert(station.into(), PacketSocket::open(endpoint, "eth0"));
        }
        if scenario.way != Way::Tap {
            let own = PacketSocket::open_for(&more[2], "lower", frames::ETHERTYPE_EXPERIMENT);
            sockets.insert(Station::Host.into(), own);
        }
        let inside = sockets.keys().copied().collect();
        sockets.insert(Station::Outside.into(), PacketSocket::open(outside, "eth0"));
        sockets.insert(Receiver::Wire, PacketSocket::open(relay, "up0"));
        let mut world = Self {
            name,
            sockets,
            inside,
            next_mark: 0,
            received: Vec::new(),
            _daemon: daemon,
            _namespaces: (endpoints, more),
        };
        world.wait_connected();
        world
    }

    /// Sends frame after frame, each when all traces of the one before have arrived.
    pub(super) fn play(mut self, script: &[Frame]) -> Matrix {
        for frame in script {
            self.sockets[&frame.sender.into()].send(&frame.bytes);
            self.settle(frame.sender);
        }
        Matrix::new(script, self.received)
    }

    /// Until both directions work: interfaces of different kinds take different time to come up.
    fn wait_connected(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let retry = Duration::from_millis(100);
        let connected = |world: &mut Self| {
            let outwards = world.send_mark(Station::Endpoint(0));
            let mut connected = world.await_mark(Station::Outside.into(), outwards, retry);
            let inwards = world.send_mark(Station::Outside);
            for receiver in world.inside.clone() {
                connected &= world.await_mark(receiver, inwards, retry);
            }
            connected
        };
        while !connected(self) {
            assert!(Instant::now() < deadline, "{}: no connection", self.name);
        }
        self.received.clear();
    }

    /// Sends marks along the ways that a frame of `sender` may have taken and waits for them: what
    /// was sent before is then received, however busy the machine is. Step by step:
    /// from the sender outwards; from outside to all endpoints, behind what the relay reflected;
    /// outwards again, behind what endpoints or the switch may have sent back.
    fn settle(&mut self, sender: Station) {
        if sender != Station::Outside {
            self.settle_outwards(sender);
        }
        let mark = self.send_mark(Station::Outside);
        for receiver in self.inside.clone() {
            self.expect_mark(receiver, mark);
        }
        self.settle_outwards(Station::Endpoint(0));
    }

    fn settle_outwards(&mut self, sender: Station) {
        let mark = self.send_mark(sender);
        self.expect_mark(Receiver::Wire, mark);
        self.expect_mark(Station::Outside.into(), mark);
    }

    fn send_mark(&mut self, sender: Station) -> u32 {
        let mark = self.next_mark;
        self.next_mark += 1;
        self.sockets[&sender.into()].send(&frames::mark(sender, mark));
        mark
    }

    fn expect_mark(&mut self, receiver: Receiver, mark: u32) {
        let found = self.await_mark(receiver, mark, PATIENCE);
        assert!(found, "{}: mark {mark} did not reach {receiver}", self.name);
    }

    /// Records what arrives until the mark does.
    fn await_mark(&mut self, receiver: Receiver, mark: u32, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let socket = &self.sockets[&receiver];
        while let Some(frame) = socket.receive(deadline) {
            match frames::tag(&frame) {
                Some(Tag::Mark(number)) if number == mark => return true,
                // Whenever it comes, its number tells which step it belongs to.
                Some(Tag::Step(_)) if receiver.takes(&frame) => {
                    self.received.push((receiver, frame));
                }
                _ => {}
            }
        }
        false
    }
}
