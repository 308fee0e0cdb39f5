//! Target `switch`: what holds for every sequence of frames, ports and time.
use crate::input::Input;
use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    time::Duration,
};
use switch::{
    Egress, EntryKind, MacAddr, Mode, PortConfig, PortId, PortPolicy, Rate, Role, Switch,
    SwitchConfig,
};

/// This id is always the uplink's, so that scenarios have one often.
const UPLINK: u16 = 7;
const MODES: [Mode; 4] = [Mode::Bridge, Mode::Private, Mode::Vepa, Mode::Passthrough];

/// A switch and what the scenario knows of it.
struct World {
    switch: Switch,
    mode: Mode,
    capacity: usize,
    now: Duration,
    ports: HashMap<PortId, Port>,
}

/// What a port was told to be.
#[derive(Default)]
struct Port {
    mac: Option<MacAddr>,
    guarded: bool,
    isolated: bool,
}

/// Plays the input as events on one switch.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mode = MODES[usize::from(input.u8()) % MODES.len()];
    let capacity = usize::from(input.u8() % 5);
    let config = SwitchConfig {
        fdb_capacity_per_port: capacity,
        ..SwitchConfig::new(mode)
    };
    let mut world = World {
        switch: Switch::new(config),
        mode,
        capacity,
        now: Duration::ZERO,
        ports: HashMap::new(),
    };
    while !input.is_empty() {
        world.event(&mut input);
        world.check_table();
    }
}

/// A few stations, so that they collide; some group addresses; any address.
fn address(input: &mut Input<'_>) -> MacAddr {
    match input.u8() % 32 {
        20 => MacAddr::BROADCAST,
        21 => MacAddr([1, 0, 0x5e, 0, 0, 1]),
        22 => MacAddr([1, 0x80, 0xc2, 0, 0, input.u8() % 17]),
        23 => MacAddr([0; 6]),
        24 => {
            let mut octets = [0; 6];
            let bytes = input.take(6);
            octets[..bytes.len()].copy_from_slice(bytes);
            MacAddr(octets)
        }
        n => MacAddr([0x52, 0x54, 0, 0, 0, n]),
    }
}

impl World {
    fn event(&mut self, input: &mut Input<'_>) {
        match input.u8() % 16 {
            0 => self.add(input),
            1 => {
                let id = PortId(u16::from(input.u8() % 9));
                self.switch.remove_port(id);
                self.ports.remove(&id);
            }
            2 => {
                let id = PortId(u16::from(input.u8() % 9));
                let mac = address(input);
                if self.switch.add_static(mac, id).is_ok() {
                    assert!(mac.is_station() && self.ports.contains_key(&id));
                }
            }
            5 => self.set_policy(input),
            3 => self.now += Duration::from_millis(u64::from(input.u32() % 400_000)),
            4 => {
                let ingress = PortId(input.u16());
                let len = usize::from(input.u8() % 64);
                let bytes = input.take(len);
                self.frame(ingress, bytes);
            }
            _ => {
                let ingress = PortId(u16::from(input.u8() % 9));
                let mut frame = Vec::with_capacity(14);
                frame.extend(address(input).0);
                frame.extend(address(input).0);
                frame.extend(match input.u8() % 8 {
                    0 => [0x88, 0x08],
                    1 => [0x81, 0x00],
                    2 | 3 => [0x08, 0x06],
                    4 | 5 => [0x86, 0xdd],
                    _ => [0x08, 0x00],
                });
                let len = usize::from(input.u8() % 128);
                frame.extend(input.take(len));
                self.frame(ingress, &frame);
            }
        }
    }

    fn add(&mut self, input: &mut Input<'_>) {
        let id = PortId(u16::from(input.u8() % 9));
        let role = if id.0 == UPLINK {
            Role::Uplink
        } else {
            Role::Guest
        };
        let mac = input.u8().is_multiple_of(3).then(|| address(input));
        if self.switch.add_port(id, PortConfig { role, mac }).is_ok() {
            let port = Port {
                mac,
                ..Port::default()
            };
            assert!(self.ports.insert(id, port).is_none(), "added twice");
        }
    }

    fn set_policy(&mut self, input: &mut Input<'_>) {
        let id = PortId(u16::from(input.u8() % 9));
        let bits = input.u8();
        let policy = PortPolicy {
            anti_spoofing: bits & 1 != 0,
            addresses: if bits & 2 == 0 {
                Vec::new()
            } else {
                vec![Ipv4Addr::from(input.u32()).into()]
            },
            isolated: bits & 4 != 0,
            storm_limit: (bits & 8 != 0).then(|| Rate {
                per_second: input.u64(),
                burst: u64::from(input.u8()),
            }),
            vlans: None,
        };
        if self.switch.set_policy(self.now, id, &policy).is_ok() {
            let port = self.ports.get_mut(&id).expect("a policy for no port");
            port.guarded = policy.anti_spoofing;
            port.isolated = policy.isolated;
            assert!(!port.guarded || port.mac.is_some(), "nothing to go by");
        }
    }

    fn owner_among_guests(&self, mac: MacAddr) -> Option<PortId> {
        let mut entries = self.switch.fdb(self.now);
        let found = entries.find(|entry| entry.mac == mac && entry.port.0 != UPLINK);
        found.map(|entry| entry.port)
    }

    fn frame(&mut self, ingress: PortId, frame: &[u8]) {
        let source = frame.get(6..12).and_then(|octets| octets.try_into().ok());
        let sender = source.and_then(|octets| self.owner_among_guests(MacAddr(octets)));
        let egress = self.switch.forward(self.now, ingress, frame);
        let targets: Vec<PortId> = match egress {
            Egress::Drop(reason) => {
                assert!(self.switch.counters().dropped(reason) > 0, "uncounted drop");
                return;
            }
            Egress::Port(id) => vec![id],
            Egress::Flood(flood) => self.switch.targets(flood).collect(),
        };
        assert!(!targets.is_empty());
        assert!(!targets.contains(&ingress), "back out of its ingress");
        let distinct: HashSet<_> = targets.iter().collect();
        assert_eq!(distinct.len(), targets.len(), "twice to one port");
        for id in &targets {
            assert!(self.ports.contains_key(id), "to a port that is gone");
        }
        let from = self.ports.get(&ingress).expect("from a port that is gone");
        if from.guarded {
            assert_eq!(source.map(MacAddr), from.mac, "a spoofed source");
        }
        if from.isolated && self.mode == Mode::Bridge {
            let mut among = targets.iter().map(|id| self.ports[id].isolated);
            assert!(!among.any(|isolated| isolated), "isolated from each other");
        }
        assert!(frame.len() >= 14, "a runt was forwarded");
        assert!(source.is_some_and(|octets| MacAddr(octets).is_station()));
        if ingress.0 != UPLINK && self.mode != Mode::Bridge {
            assert_eq!(targets, [PortId(UPLINK)], "only bridges connect guests");
        }
        if ingress.0 == UPLINK
            && self.mode == Mode::Private
            && let Some(sender) = sender
        {
            assert_eq!(targets, [sender], "isolation, even by reflection");
        }
    }

    fn check_table(&self) {
        let mut macs = HashSet::new();
        let mut learned = HashMap::<PortId, usize>::new();
        for entry in self.switch.fdb(self.now) {
            assert!(entry.mac.is_station());
            assert!(macs.insert(entry.mac), "two entries for one address");
            assert!(
                self.ports.contains_key(&entry.port),
                "an entry outlives its port"
            );
            if entry.kind == EntryKind::Learned {
                *learned.entry(entry.port).or_default() += 1;
            }
        }
        assert!(
            learned.values().all(|count| *count <= self.capacity),
            "a port has learned more than it may"
        );
        for (id, port) in &self.ports {
            if let Some(mac) = &port.mac {
                let mut entries = self.switch.fdb(self.now);
                let entry = entries.find(|entry| entry.mac == *mac);
                assert!(
                    entry.is_some_and(|entry| entry.port == *id),
                    "a fixed address belongs to its port"
                );
            }
        }
    }
}
