//! What a port may do, in the forwarding function.
use std::time::Duration;

use crate::{
    DropReason, Egress, MacAddr, Mode, PortConfig, PortError, PortId, PortPolicy, Rate, Role,
    Switch, SwitchConfig,
};

const NOW: Duration = Duration::from_secs(1);
const BROADCAST: MacAddr = MacAddr::BROADCAST;

fn mac(n: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 0, n])
}

/// Guests 0 to 3 with fixed addresses and the uplink 4.
fn switch(mode: Mode) -> Switch {
    let mut switch = Switch::new(SwitchConfig::new(mode));
    for n in 0..4 {
        let guest = PortConfig {
            role: Role::Guest,
            mac: Some(mac(n)),
        };
        switch.add_port(PortId(n.into()), guest).unwrap();
    }
    let uplink = PortConfig {
        role: Role::Uplink,
        mac: None,
    };
    switch.add_port(PortId(4), uplink).unwrap();
    switch
}

fn send(switch: &mut Switch, now: Duration, from: u8, src: MacAddr, dst: MacAddr) -> Vec<u16> {
    let frame = [&dst.0[..], &src.0, &[0x88, 0xb5, 0, 0]].concat();
    match switch.forward(now, PortId(from.into()), &frame) {
        Egress::Drop(_) => Vec::new(),
        Egress::Port(port) => vec![port.0],
        Egress::Flood(flood) => switch.targets(flood).map(|port| port.0).collect(),
    }
}

#[test]
fn isolated_ports_reach_the_others_and_the_uplink_only() {
    let mut switch = switch(Mode::Bridge);
    let isolated = PortPolicy {
        isolated: true,
        ..PortPolicy::default()
    };
    for n in [0, 1] {
        switch.set_policy(NOW, PortId(n), &isolated).unwrap();
    }
    // from, to (4 is a host behind the uplink), who gets it
    let table: [(u8, MacAddr, &[u16]); 10] = [
        (0, mac(1), &[]),
        (1, mac(0), &[]),
        (0, mac(2), &[2]),
        (2, mac(0), &[0]),
        (2, mac(3), &[3]),
        (0, BROADCAST, &[2, 3, 4]),
        (2, BROADCAST, &[0, 1, 3, 4]),
        (0, mac(99), &[4]),
        (4, BROADCAST, &[0, 1, 2, 3]),
        (4, mac(1), &[1]),
    ];
    for (from, to, receivers) in table {
        let src = if from == 4 { mac(200) } else { mac(from) };
        assert_eq!(
            send(&mut switch, NOW, from, src, to),
            receivers,
            "{from} to {to}"
        );
    }
    assert_eq!(switch.counters().dropped(DropReason::Isolated), 2);
    switch
        .set_policy(NOW, PortId(1), &PortPolicy::default())
        .unwrap();
    assert_eq!(
        send(&mut switch, NOW, 0, mac(0), mac(1)),
        [1],
        "no longer isolated"
    );
}

#[test]
fn a_guarded_port_sends_from_its_own_address_in_every_mode() {
    for mode in [Mode::Bridge, Mode::Private, Mode::Vepa] {
        let mut switch = switch(mode);
        let guarded = PortPolicy {
            anti_spoofing: true,
            ..PortPolicy::default()
        };
        switch.set_policy(NOW, PortId(0), &guarded).unwrap();
        assert_eq!(
            send(&mut switch, NOW, 0, mac(1), BROADCAST),
            [0u16; 0],
            "{mode:?}"
        );
        assert_eq!(switch.counters().dropped(DropReason::Spoofed), 1);
        assert!(
            !send(&mut switch, NOW, 0, mac(0), BROADCAST).is_empty(),
            "{mode:?}"
        );
        // Others are not concerned.
        assert!(
            !send(&mut switch, NOW, 2, mac(77), BROADCAST).is_empty(),
            "{mode:?}"
        );
    }
}

#[test]
fn a_storm_is_cut_to_its_limit_and_known_unicast_is_not_concerned() {
    let mut switch = switch(Mode::Bridge);
    let limited = PortPolicy {
        storm_limit: Some(Rate {
            per_second: 1000,
            burst: 10,
        }),
        ..PortPolicy::default()
    };
    switch
        .set_policy(Duration::ZERO, PortId(0), &limited)
        .unwrap();
    let multicast = MacAddr([1, 0, 0x5e, 0, 0, 251]);
    let mut passed = 0u32;
    for tick in 0..100_000u32 {
        let now = Duration::from_micros(100) * tick;
        let dst = [BROADCAST, multicast, mac(99)][tick as usize % 3];
        passed += u32::from(!send(&mut switch, now, 0, mac(0), dst).is_empty());
        assert_eq!(send(&mut switch, now, 0, mac(0), mac(1)), [1]);
        assert_eq!(send(&mut switch, now, 2, mac(2), BROADCAST).len(), 4);
    }
    // Ten seconds.
    assert!(passed.abs_diff(10_000) <= 200, "{passed}");
    let dropped = switch.counters().dropped(DropReason::Storm);
    assert_eq!(dropped, u64::from(100_000 - passed));
}

#[test]
fn a_storm_towards_a_port_of_its_own_is_cut_within_a_burst_too() {
    let mut switch = switch(Mode::Bridge);
    switch.join(PortId(0), PortId(1)).unwrap();
    let limited = PortPolicy {
        storm_limit: Some(Rate {
            per_second: 10,
            burst: 10,
        }),
        ..PortPolicy::default()
    };
    switch.set_policy(NOW, PortId(0), &limited).unwrap();
    let mut passed = 0;
    for _ in 0..100 {
        passed += send(&mut switch, NOW, 0, mac(0), BROADCAST).len();
    }
    assert_eq!(passed, 10);
    for _ in 0..100 {
        assert_eq!(send(&mut switch, NOW, 0, mac(0), mac(9)), [1]);
    }
}

#[test]
fn a_policy_needs_its_port_and_anti_spoofing_an_address() {
    let mut switch = Switch::new(SwitchConfig::new(Mode::Bridge));
    let guarded = PortPolicy {
        anti_spoofing: true,
        ..PortPolicy::default()
    };
    let refused = switch.set_policy(NOW, PortId(3), &guarded);
    assert_eq!(refused, Err(PortError::NoSuchPort(PortId(3))));
    let learning = PortConfig {
        role: Role::Guest,
        mac: None,
    };
    switch.add_port(PortId(3), learning).unwrap();
    let refused = switch.set_policy(NOW, PortId(3), &guarded);
    assert_eq!(refused, Err(PortError::NoFixedAddress(PortId(3))));
}
