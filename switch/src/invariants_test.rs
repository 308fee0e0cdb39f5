//! What holds for every switch and every sequence of frames.
use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const UPLINK: PortId = PortId(7);

/// One thing that happens to a switch.
#[derive(Debug, Clone)]
enum Event {
    Frame { ingress: u16, src: u8, dst: u8 },
    Bytes { ingress: u16, bytes: Vec<u8> },
    Wait { seconds: u64 },
    Add { id: u16, mac: Option<u8> },
    Remove { id: u16 },
    Static { id: u16, mac: u8 },
}

/// A few stations, so that they collide; some group addresses.
fn address(n: u8) -> MacAddr {
    match n {
        20 => MacAddr::BROADCAST,
        21 => MacAddr([1, 0, 0x5e, 0, 0, 1]),
        22 => MacAddr([1, 0x80, 0xc2, 0, 0, 0]),
        23 => MacAddr([1, 0x80, 0xc2, 0, 0, 1]),
        24 => MacAddr([0; 6]),
        n => MacAddr([0x52, 0x54, 0, 0, 0, n]),
    }
}

fn event() -> impl Strategy<Value = Event> {
    let id = 0_u16..9;
    let mac = 0_u8..25;
    prop_oneof![
        20 => (id.clone(), mac.clone(), mac.clone())
            .prop_map(|(ingress, src, dst)| Event::Frame { ingress, src, dst }),
        2 => (any::<u16>(), prop::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(ingress, bytes)| Event::Bytes { ingress, bytes }),
        1 => (0_u64..400).prop_map(|seconds| Event::Wait { seconds }),
        2 => (id.clone(), prop::option::of(mac.clone()))
            .prop_map(|(id, mac)| Event::Add { id, mac }),
        1 => id.clone().prop_map(|id| Event::Remove { id }),
        1 => (id, mac).prop_map(|(id, mac)| Event::Static { id, mac }),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![
        Mode::Bridge,
        Mode::Private,
        Mode::Vepa,
        Mode::Passthrough,
    ])
}

fn is_local(switch: &Switch, now: Duration, mac: MacAddr) -> Option<PortId> {
    switch
        .fdb(now)
        .find(|entry| entry.mac == mac && entry.port != UPLINK)
        .map(|entry| entry.port)
}

fn check(switch: &mut Switch, mode: Mode, now: Duration, ingress: PortId, frame: &[u8]) {
    let sender = frame
        .get(6..12)
        .and_then(|src| is_local(switch, now, MacAddr(src.try_into().unwrap())));
    let egress = switch.forward(now, ingress, frame);
    let ports: Vec<PortId> = match egress {
        Egress::Drop(reason) => {
            assert!(switch.counters().dropped(reason) > 0);
            return;
        }
        Egress::Port(id) => vec![id],
        Egress::Flood(flood) => switch.targets(flood).collect(),
    };
    assert!(!ports.is_empty());
    assert!(!ports.contains(&ingress), "never back out of the ingress");
    assert_eq!(
        ports.iter().collect::<HashSet<_>>().len(),
        ports.len(),
        "once per port at most"
    );
    if ingress != UPLINK && mode != Mode::Bridge {
        assert_eq!(ports, [UPLINK], "only bridges connect guests");
    }
    if ingress == UPLINK && mode == Mode::Private && sender.is_some() {
        assert_eq!(Some(ports[0]), sender, "not even by reflection");
        assert_eq!(ports.len(), 1);
    }
}

proptest! {
    #[test]
    fn hold_for_every_sequence(
        mode in mode(),
        capacity in 0_usize..4,
        events in prop::collection::vec(event(), 0..200),
    ) {
        let config = SwitchConfig { fdb_capacity_per_port: capacity, ..SwitchConfig::new(mode) };
        let mut switch = Switch::new(config);
        let mut now = Duration::ZERO;
        for event in events {
            match event {
                Event::Frame { ingress, src, dst } => {
                    let mut frame = [0; 14];
                    frame[..6].copy_from_slice(&address(dst).0);
                    frame[6..12].copy_from_slice(&address(src).0);
                    check(&mut switch, mode, now, PortId(ingress), &frame);
                }
                Event::Bytes { ingress, bytes } => {
                    check(&mut switch, mode, now, PortId(ingress), &bytes);
                }
                Event::Wait { seconds } => now += Duration::from_secs(seconds),
                Event::Add { id, mac } => {
                    let id = PortId(id);
                    let role = if id == UPLINK { Role::Uplink } else { Role::Guest };
                    let _ = switch.add_port(id, PortConfig { role, mac: mac.map(address) });
                }
                Event::Remove { id } => switch.remove_port(PortId(id)),
                Event::Static { id, mac } => {
                    let _ = switch.add_static(address(mac), PortId(id));
                }
            }
            check_table(&switch, capacity, now)?;
        }
    }
}

fn check_table(switch: &Switch, capacity: usize, now: Duration) -> Result<(), TestCaseError> {
    let mut macs = HashSet::new();
    let mut learned = std::collections::HashMap::<PortId, usize>::new();
    for entry in switch.fdb(now) {
        prop_assert!(entry.mac.is_station());
        prop_assert!(macs.insert(entry.mac), "one entry per address");
        prop_assert!(
            switch.ports.get(entry.port).is_some(),
            "no entry outlives its port"
        );
        if entry.kind == EntryKind::Learned {
            *learned.entry(entry.port).or_default() += 1;
        }
    }
    prop_assert!(learned.values().all(|count| *count <= capacity));
    Ok(())
}
