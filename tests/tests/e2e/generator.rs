//! The traffic generator of `benches` in verification mode, through the daemon.
use benches::{Endpoint, FrameKind, FrontEnd, Load, Measured, Options, Role, throughput};
use std::time::Duration;
use tests::{Daemon, say};

const PORTS: [&str; 4] = ["a", "b", "c", "d"];

/// Attaches pairs of ports anew and lets verified frames through.
#[track_caller]
fn verified(daemon: &Daemon, pairs: usize, options: Options, load: &Load) -> Measured {
    let mut ends: Vec<FrontEnd> = PORTS[..2 * pairs]
        .iter()
        .map(|port| {
            let socket = daemon.socket("lan", port);
            let endpoint = Endpoint::open(&socket, Role::Connect).expect("nothing to open yet");
            FrontEnd::meet(&endpoint, options).expect("the port is free")
        })
        .collect();
    let load = Load {
        warm_up: Duration::ZERO,
        time: Duration::from_millis(500),
        verify: true,
        ..*load
    };
    let mut measure = || {
        throughput(&mut ends, &load)
            .unwrap_or_else(|error| panic!("{options:?}, {load:?}: {error:#}"))
    };
    // Both sides poll: on a machine that is busy otherwise neither may get far in the time of one run.
    let mut runs = (0..10).map(|_| measure());
    let measured = runs.find(|measured| measured.received > 0);
    let measured = measured.unwrap_or_else(|| panic!("no frame came: {load:?}"));
    say(&format!(
        "{}, mergeable {}, packed {}: {} frames verified, {} of {} lost to a full ring",
        load.frame,
        options.mergeable,
        options.packed,
        measured.received,
        measured.dropped,
        measured.sent
    ));
    let ports = daemon.network("lan").ports;
    let faulty: Vec<_> = ports
        .iter()
        .filter(|port| port.last_fault.is_some())
        .collect();
    assert!(faulty.is_empty(), "{faulty:?}");
    measured
}

fn daemon(settings: &str) -> Daemon {
    let ports = PORTS.map(|port| format!("[networks.lan.ports.{port}]\n"));
    Daemon::start(&format!("[networks.lan]\n{settings}\n{}", ports.concat()))
}

#[test]
fn frames_of_every_size_come_through_in_order_once_and_unaltered() {
    let daemon = daemon("");
    let plain = [60, 64, 256, 512, 1518, 9018].map(FrameKind::Plain);
    for frame in plain.into_iter().chain([FrameKind::Gso]) {
        for (mergeable, packed) in [(false, false), (true, false), (false, true), (true, true)] {
            let options = Options {
                mergeable,
                packed,
                ..Options::new(frame)
            };
            verified(&daemon, 1, options, &Load::new(frame));
        }
    }
}

#[test]
fn two_pairs_both_ways_with_many_flows_keep_every_order() {
    let daemon = daemon("");
    let frame = FrameKind::Plain(256);
    let load = Load {
        both_ways: true,
        flows: 500,
        ..Load::new(frame)
    };
    verified(&daemon, 2, Options::new(frame), &load);
}

#[test]
fn ten_thousand_stations_on_two_ports_are_told_apart() {
    let daemon = daemon("fdb_capacity_per_port = 8192");
    let frame = FrameKind::Plain(64);
    let load = Load {
        both_ways: true,
        stations: 5000,
        ..Load::new(frame)
    };
    verified(&daemon, 1, Options::new(frame), &load);
}

#[test]
fn below_saturation_nothing_is_lost() {
    let daemon = daemon("");
    for frame in [64, 1518].map(FrameKind::Plain) {
        // Fewer frames on their way than either ring holds: then none has a reason to be lost.
        let load = Load {
            window: 128,
            ..Load::new(frame)
        };
        let measured = verified(&daemon, 1, Options::new(frame), &load);
        assert_eq!(measured.dropped, 0, "of {} frames", measured.sent);
    }
}
