//! The traffic generator of `benches` in verification mode, through the daemon.
use benches::{Endpoint, FrameKind, FrontEnd, Load, Options, Pages, Role, one_way};
use std::time::Duration;
use tests::{Daemon, say};

const CONFIG: &str = "[networks.lan.ports.a]\n[networks.lan.ports.b]\n";

#[test]
fn frames_of_every_size_come_through_in_order_once_and_unaltered() {
    let daemon = Daemon::start(CONFIG);
    let [from, to] = ["a", "b"].map(|port| {
        Endpoint::open(&daemon.socket("lan", port), Role::Connect).expect("nothing to open yet")
    });
    let plain = [60, 64, 256, 512, 1518, 9018].map(FrameKind::Plain);
    for frame in plain.into_iter().chain([FrameKind::Gso]) {
        let options = Options {
            queue_size: 256,
            frame,
            pages: Pages::Normal,
        };
        let mut sender = FrontEnd::meet(&from, options).expect("the sender attaches");
        let mut receiver = FrontEnd::meet(&to, options).expect("the receiver attaches");
        let load = Load {
            frame,
            burst: 32,
            warm_up: Duration::ZERO,
            time: Duration::from_millis(500),
            verify: true,
        };
        let measured = one_way(&mut sender, &mut receiver, &load)
            .unwrap_or_else(|error| panic!("frames of {frame} bytes: {error:#}"));
        assert!(measured.received > 0, "no frame of {frame} bytes came");
        say(&format!(
            "{frame}: {} frames verified, {} of {} lost to a full ring",
            measured.received, measured.dropped, measured.sent
        ));
        let ports = daemon.network("lan").ports;
        let faulty: Vec<_> = ports
            .iter()
            .filter(|port| port.last_fault.is_some())
            .collect();
        assert!(faulty.is_empty(), "{faulty:?}");
    }
}
