//! Learning, ageing, capacity, moves, static entries, ports and hostile frames.
use super::*;

const A: PortId = PortId(0);
const B: PortId = PortId(1);
const C: PortId = PortId(2);
const UP: PortId = PortId(9);
const NOW: Duration = Duration::from_secs(1000);
const AGEING: Duration = SwitchConfig::DEFAULT_AGEING; // 300 s

fn mac(n: u16) -> MacAddr {
    let [high, low] = n.to_be_bytes();
    MacAddr([0x52, 0x54, 0, 0, high, low])
}

fn frame(src: MacAddr, dst: MacAddr) -> [u8; 14] {
    let mut frame = [0; 14];
    frame[..6].copy_from_slice(&dst.0);
    frame[6..12].copy_from_slice(&src.0);
    frame
}

fn guest(mac: Option<MacAddr>) -> PortConfig {
    PortConfig {
        role: Role::Guest,
        mac,
    }
}

fn uplink() -> PortConfig {
    PortConfig {
        role: Role::Uplink,
        mac: None,
    }
}

/// Guests A, B, C that learn, and an uplink.
fn learning_bridge(capacity: usize) -> Switch {
    let mut switch = Switch::new(SwitchConfig {
        fdb_capacity_per_port: capacity,
        ..SwitchConfig::new(Mode::Bridge)
    });
    for id in [A, B, C] {
        switch.add_port(id, guest(None)).unwrap();
    }
    switch.add_port(UP, uplink()).unwrap();
    switch
}

/// Which port unicast for the address goes to; `None`: it is flooded or dropped as unknown.
fn owner(switch: &mut Switch, now: Duration, dst: MacAddr) -> Option<PortId> {
    let mut probe =
        |ingress| match switch.forward(now, ingress, &frame(mac(0xfff0 + ingress.0), dst)) {
            Egress::Port(id) => Some(id),
            _ => None,
        };
    probe(A).or_else(|| probe(B))
}

#[test]
fn runts_and_unknown_ports_are_dropped() {
    let mut switch = learning_bridge(8);
    for length in 0..14 {
        let egress = switch.forward(NOW, A, &frame(mac(1), mac(2))[..length]);
        assert_eq!(egress, Egress::Drop(DropReason::Runt));
    }
    assert_eq!(switch.counters().dropped(DropReason::Runt), 14);
    for id in [PortId(3), PortId(u16::MAX)] {
        let egress = switch.forward(NOW, id, &frame(mac(1), mac(2)));
        assert_eq!(egress, Egress::Drop(DropReason::UnknownIngress));
    }
    assert_eq!(switch.fdb(NOW).count(), 0);
}

#[test]
fn multicast_and_zero_sources_are_dropped_and_not_learned() {
    for mode in [Mode::Bridge, Mode::Private, Mode::Vepa, Mode::Passthrough] {
        let mut switch = Switch::new(SwitchConfig::new(mode));
        switch.add_port(A, guest(None)).unwrap();
        switch.add_port(UP, uplink()).unwrap();
        for source in [
            MacAddr([0; 6]),
            MacAddr::BROADCAST,
            MacAddr([1, 0, 0x5e, 0, 0, 1]),
        ] {
            for ingress in [A, UP] {
                let egress = switch.forward(NOW, ingress, &frame(source, mac(2)));
                assert_eq!(egress, Egress::Drop(DropReason::BadSource), "{mode:?}");
            }
        }
        assert_eq!(switch.counters().dropped(DropReason::BadSource), 6);
        assert_eq!(switch.fdb(NOW).count(), 0);
    }
}

#[test]
fn mac_control_to_a_station_is_not_forwarded() {
    let mut switch = learning_bridge(8);
    let mut pause = frame(mac(1), mac(2));
    pause[12..].copy_from_slice(&0x8808_u16.to_be_bytes());
    assert_eq!(
        switch.forward(NOW, A, &pause),
        Egress::Drop(DropReason::Pause)
    );
}

#[test]
fn bridge_learns_from_guests_and_uplink() {
    let mut switch = learning_bridge(8);
    let _ = switch.forward(NOW, B, &frame(mac(1), MacAddr::BROADCAST));
    let _ = switch.forward(NOW, UP, &frame(mac(2), MacAddr::BROADCAST));
    assert_eq!(owner(&mut switch, NOW, mac(1)), Some(B));
    assert_eq!(owner(&mut switch, NOW, mac(2)), Some(UP));
}

#[test]
fn private_and_vepa_do_not_learn_from_the_uplink() {
    for mode in [Mode::Private, Mode::Vepa] {
        let mut switch = Switch::new(SwitchConfig::new(mode));
        switch.add_port(A, guest(None)).unwrap();
        switch.add_port(UP, uplink()).unwrap();
        let _ = switch.forward(NOW, UP, &frame(mac(1), MacAddr::BROADCAST));
        let _ = switch.forward(NOW, A, &frame(mac(2), MacAddr::BROADCAST));
        let learned: Vec<_> = switch
            .fdb(NOW)
            .map(|entry| (entry.mac, entry.port))
            .collect();
        assert_eq!(learned, [(mac(2), A)], "{mode:?}");
    }
}

#[test]
fn private_guest_without_address_gets_unicast_after_it_has_sent() {
    let mut switch = Switch::new(SwitchConfig::new(Mode::Private));
    switch.add_port(A, guest(None)).unwrap();
    switch.add_port(UP, uplink()).unwrap();
    let inbound = frame(mac(7), mac(1));
    assert_eq!(
        switch.forward(NOW, UP, &inbound),
        Egress::Drop(DropReason::UnknownDestination)
    );
    let _ = switch.forward(NOW, A, &frame(mac(1), mac(7)));
    assert_eq!(switch.forward(NOW, UP, &inbound), Egress::Port(A));
}

#[test]
fn entries_age_and_frames_renew_them() {
    let mut switch = learning_bridge(8);
    let hello = frame(mac(1), MacAddr::BROADCAST);
    let _ = switch.forward(NOW, C, &hello);
    let almost = NOW + Duration::from_secs(299);
    assert_eq!(owner(&mut switch, almost, mac(1)), Some(C));
    assert_eq!(owner(&mut switch, NOW + AGEING, mac(1)), None);
    let _ = switch.forward(NOW + AGEING, C, &hello);
    assert_eq!(owner(&mut switch, almost + AGEING, mac(1)), Some(C));
    assert_eq!(owner(&mut switch, NOW + 2 * AGEING, mac(1)), None);
}

#[test]
fn fixed_and_static_entries_do_not_age() {
    let mut switch = learning_bridge(8);
    switch.add_port(PortId(3), guest(Some(mac(1)))).unwrap();
    switch.add_static(mac(2), C).unwrap();
    let late = NOW + 1000 * AGEING;
    assert_eq!(owner(&mut switch, late, mac(1)), Some(PortId(3)));
    assert_eq!(owner(&mut switch, late, mac(2)), Some(C));
}

#[test]
fn listing_shows_kind_and_age_and_hides_the_expired() {
    let mut switch = learning_bridge(8);
    switch.add_port(PortId(3), guest(Some(mac(1)))).unwrap();
    switch.add_static(mac(2), C).unwrap();
    let _ = switch.forward(NOW, C, &frame(mac(3), MacAddr::BROADCAST));
    let later = NOW + Duration::from_secs(7);
    let mut lines: Vec<_> = switch.fdb(later).collect();
    lines.sort_by_key(|entry| entry.mac);
    let line = |n, port, kind, age| FdbEntry {
        vlan: 0,
        mac: mac(n),
        port,
        kind,
        age: Duration::from_secs(age),
    };
    assert_eq!(
        lines,
        [
            line(1, PortId(3), EntryKind::Fixed, 0),
            line(2, C, EntryKind::Static, 0),
            line(3, C, EntryKind::Learned, 7)
        ]
    );
    assert_eq!(switch.fdb(NOW + AGEING).count(), 2);
}

#[test]
fn an_address_moves_with_its_owner() {
    let mut switch = learning_bridge(8);
    let hello = frame(mac(1), MacAddr::BROADCAST);
    for port in [B, C, UP, C] {
        let _ = switch.forward(NOW, port, &hello);
        assert_eq!(owner(&mut switch, NOW, mac(1)), Some(port));
    }
    assert_eq!(switch.counters().fdb_moves, 3);
    assert_eq!(
        switch.fdb(NOW).filter(|entry| entry.mac == mac(1)).count(),
        1
    );
}

#[test]
fn a_full_port_learns_no_more_and_still_forwards() {
    let mut switch = learning_bridge(3);
    for n in 1..=10 {
        let egress = switch.forward(NOW, C, &frame(mac(n), mac(999)));
        assert!(matches!(egress, Egress::Flood(_)));
    }
    assert_eq!(switch.counters().fdb_full, 7);
    assert_eq!(switch.fdb(NOW).filter(|entry| entry.port == C).count(), 3);
    assert_eq!(owner(&mut switch, NOW, mac(3)), Some(C));
    assert_eq!(owner(&mut switch, NOW, mac(4)), None);
    // Others keep their share, and one of them may take an address over.
    let _ = switch.forward(NOW, B, &frame(mac(1), mac(999)));
    assert_eq!(owner(&mut switch, NOW, mac(1)), Some(B));
    // That freed a place.
    let _ = switch.forward(NOW, C, &frame(mac(4), mac(999)));
    assert_eq!(owner(&mut switch, NOW, mac(4)), Some(C));
}

#[test]
fn expired_entries_give_their_room_back() {
    let mut switch = learning_bridge(2);
    for n in 1..=2 {
        let _ = switch.forward(NOW, C, &frame(mac(n), mac(999)));
    }
    let _ = switch.forward(NOW + AGEING, C, &frame(mac(3), mac(999)));
    assert_eq!(owner(&mut switch, NOW + AGEING, mac(3)), Some(C));
    assert_eq!(switch.counters().fdb_full, 0);
}

#[test]
fn zero_capacity_and_zero_ageing_make_a_hub() {
    for config in [
        SwitchConfig {
            fdb_capacity_per_port: 0,
            ..SwitchConfig::new(Mode::Bridge)
        },
        SwitchConfig {
            ageing: Duration::ZERO,
            ..SwitchConfig::new(Mode::Bridge)
        },
    ] {
        let mut switch = Switch::new(config);
        for id in [A, B, C] {
            switch.add_port(id, guest(None)).unwrap();
        }
        let _ = switch.forward(NOW, C, &frame(mac(1), mac(2)));
        assert_eq!(owner(&mut switch, NOW, mac(1)), None);
    }
}

#[test]
fn a_pinned_address_cannot_be_stolen() {
    let mut switch = learning_bridge(8);
    switch.add_port(PortId(3), guest(Some(mac(1)))).unwrap();
    switch.add_static(mac(2), C).unwrap();
    for thief in [B, UP] {
        for n in [1, 2] {
            let _ = switch.forward(NOW, thief, &frame(mac(n), MacAddr::BROADCAST));
        }
    }
    assert_eq!(owner(&mut switch, NOW, mac(1)), Some(PortId(3)));
    assert_eq!(owner(&mut switch, NOW, mac(2)), Some(C));
    assert_eq!(switch.counters().source_pinned_elsewhere, 4);
}

#[test]
fn a_port_with_a_fixed_address_never_learns() {
    let mut switch = learning_bridge(8);
    switch.add_port(PortId(3), guest(Some(mac(1)))).unwrap();
    let egress = switch.forward(NOW, PortId(3), &frame(mac(5), MacAddr::BROADCAST));
    assert!(matches!(egress, Egress::Flood(_)));
    assert_eq!(owner(&mut switch, NOW, mac(5)), None);
    assert_eq!(switch.counters().source_not_fixed, 1);
}

#[test]
fn pinning_replaces_what_was_learned_and_frees_its_room() {
    let mut switch = learning_bridge(1);
    let _ = switch.forward(NOW, C, &frame(mac(1), MacAddr::BROADCAST));
    switch.add_port(PortId(3), guest(Some(mac(1)))).unwrap();
    assert_eq!(owner(&mut switch, NOW, mac(1)), Some(PortId(3)));
    let _ = switch.forward(NOW, C, &frame(mac(2), MacAddr::BROADCAST));
    assert_eq!(owner(&mut switch, NOW, mac(2)), Some(C));
}

#[test]
fn an_uplink_with_an_address_still_learns_and_takes_unknown_unicast() {
    let mut switch = Switch::new(SwitchConfig::new(Mode::Bridge));
    switch.add_port(A, guest(Some(mac(1)))).unwrap();
    switch
        .add_port(
            UP,
            PortConfig {
                role: Role::Uplink,
                mac: Some(mac(2)),
            },
        )
        .unwrap();
    assert_eq!(
        switch.forward(NOW, A, &frame(mac(1), mac(77))),
        Egress::Port(UP)
    );
    let _ = switch.forward(NOW, UP, &frame(mac(3), mac(1)));
    assert!(
        switch
            .fdb(NOW)
            .any(|entry| entry.mac == mac(3) && entry.port == UP)
    );
}

#[test]
fn the_address_of_the_uplink_changes_for_all_switches() {
    let mut switch = Switch::new(SwitchConfig::new(Mode::Bridge));
    let mut other = switch.share();
    let up = PortConfig {
        role: Role::Uplink,
        mac: Some(mac(2)),
    };
    for switch in [&mut switch, &mut other] {
        switch.add_port(A, guest(Some(mac(1)))).unwrap();
        switch.add_port(B, guest(None)).unwrap();
        switch.add_port(C, guest(None)).unwrap();
        switch.add_port(UP, up).unwrap();
    }
    // What a guest pretends, or has been.
    assert_eq!(owner(&mut other, NOW, mac(3)), None);
    let _ = other.forward(NOW, B, &frame(mac(3), mac(1)));
    for switch in [&mut switch, &mut other] {
        switch.set_uplink_address(UP, mac(3)).unwrap();
    }
    for switch in [&mut switch, &mut other] {
        assert_eq!(owner(switch, NOW, mac(3)), Some(UP));
        assert_eq!(
            owner(switch, NOW, mac(2)),
            None,
            "not the uplink's any more"
        );
        let fixed = switch.fdb(NOW);
        let fixed = fixed.filter(|entry| entry.kind == EntryKind::Fixed);
        assert_eq!(fixed.count(), 2);
    }
    // Not over a guest's, and of the uplink only.
    for (port, address) in [(UP, 1), (A, 5)] {
        assert!(switch.set_uplink_address(port, mac(address)).is_err());
    }
    assert_eq!(owner(&mut switch, NOW, mac(3)), Some(UP));
}

#[test]
fn an_address_that_is_bound_to_the_uplink_outlives_being_the_hosts() {
    let mut switch = learning_bridge(8);
    switch.add_static(mac(4), UP).unwrap();
    for address in [4, 5] {
        switch.set_uplink_address(UP, mac(address)).unwrap();
        assert_eq!(owner(&mut switch, NOW, mac(address)), Some(UP));
    }
    let kinds = switch.fdb(NOW).filter_map(|entry| {
        let is_pinned = entry.kind != EntryKind::Learned;
        is_pinned.then_some((entry.mac, entry.kind))
    });
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort_by_key(|(mac, _)| *mac);
    assert_eq!(
        kinds,
        [(mac(4), EntryKind::Static), (mac(5), EntryKind::Fixed)]
    );
}

#[test]
fn a_gateway_pinned_to_the_uplink_cannot_be_shadowed() {
    let mut switch = Switch::new(SwitchConfig::new(Mode::Private));
    switch.add_port(A, guest(None)).unwrap();
    switch.add_port(B, guest(Some(mac(2)))).unwrap();
    switch.add_port(UP, uplink()).unwrap();
    switch.add_static(mac(99), UP).unwrap();
    let _ = switch.forward(NOW, A, &frame(mac(99), MacAddr::BROADCAST));
    assert_eq!(
        switch.forward(NOW, UP, &frame(mac(99), mac(2))),
        Egress::Port(B)
    );
}

#[test]
fn removing_a_port_forgets_it() {
    let mut switch = learning_bridge(2);
    switch.add_static(mac(2), C).unwrap();
    let _ = switch.forward(NOW, C, &frame(mac(1), MacAddr::BROADCAST));
    let Egress::Flood(flood) = switch.forward(NOW, A, &frame(mac(3), MacAddr::BROADCAST)) else {
        panic!("expected a flood");
    };
    switch.remove_port(C);
    assert_eq!(switch.targets(flood).collect::<Vec<_>>(), [B, UP]);
    assert!(switch.fdb(NOW).all(|entry| entry.port != C));
    let egress = switch.forward(NOW, C, &frame(mac(1), mac(3)));
    assert_eq!(egress, Egress::Drop(DropReason::UnknownIngress));
    // The id, the address and the port's whole share are free again.
    switch.add_port(C, guest(Some(mac(2)))).unwrap();
    switch.remove_port(C);
    switch.add_port(C, guest(None)).unwrap();
    for n in 10..12 {
        let _ = switch.forward(NOW, C, &frame(mac(n), MacAddr::BROADCAST));
        assert_eq!(owner(&mut switch, NOW, mac(n)), Some(C));
    }
    switch.remove_port(PortId(500));
}

#[test]
fn refused_ports() {
    let mut switch = learning_bridge(8);
    switch.add_port(PortId(3), guest(Some(mac(1)))).unwrap();
    let in_use = PortError::AddressInUse {
        mac: mac(1),
        owner: PortId(3),
    };
    let refused = [
        (A, guest(None), PortError::InUse(A)),
        (PortId(4), uplink(), PortError::SecondUplink(UP)),
        (PortId(4), guest(Some(mac(1))), in_use),
        (
            PortId(4),
            guest(Some(MacAddr::BROADCAST)),
            PortError::NotAStation(MacAddr::BROADCAST),
        ),
        (
            PortId(4),
            guest(Some(MacAddr([0; 6]))),
            PortError::NotAStation(MacAddr([0; 6])),
        ),
    ];
    for (id, config, error) in refused {
        assert_eq!(switch.add_port(id, config), Err(error));
    }
    assert_eq!(switch.add_static(mac(1), C), Err(in_use));
    assert_eq!(
        switch.add_static(mac(5), PortId(4)),
        Err(PortError::NoSuchPort(PortId(4)))
    );
    assert_eq!(switch.add_static(mac(1), PortId(3)), Ok(()));
    assert!(
        switch
            .fdb(NOW)
            .any(|entry| entry.mac == mac(1) && entry.kind == EntryKind::Fixed)
    );
    switch
        .add_port(PortId(4), guest(Some(mac(2))))
        .expect("a refused port leaves nothing behind");
}

#[test]
fn passthrough_refuses_a_second_guest() {
    let mut switch = Switch::new(SwitchConfig::new(Mode::Passthrough));
    switch.add_port(UP, uplink()).unwrap();
    switch.add_port(A, guest(None)).unwrap();
    assert_eq!(
        switch.add_port(B, guest(None)),
        Err(PortError::SecondGuest(A))
    );
    assert_eq!(
        switch.add_port(C, uplink()),
        Err(PortError::SecondUplink(UP))
    );
    switch.remove_port(A);
    switch.add_port(B, guest(None)).unwrap();
}

#[test]
fn thousands_of_ports() {
    let mut switch = Switch::new(SwitchConfig::new(Mode::Bridge));
    for n in 0..4000 {
        switch
            .add_port(PortId(n), guest((n % 2 == 0).then(|| mac(n + 1))))
            .unwrap();
    }
    let Egress::Flood(flood) = switch.forward(NOW, A, &frame(mac(1), MacAddr::BROADCAST)) else {
        panic!("expected a flood");
    };
    assert_eq!(switch.targets(flood).count(), 3999);
    let Egress::Flood(flood) = switch.forward(NOW, A, &frame(mac(1), mac(9999))) else {
        panic!("expected a flood");
    };
    assert_eq!(switch.targets(flood).count(), 2000);
    assert_eq!(
        switch.forward(NOW, A, &frame(mac(1), mac(3999))),
        Egress::Port(PortId(3998))
    );
}

#[test]
fn names_of_reasons_are_distinct() {
    let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), DropReason::ALL.len());
    let switch = learning_bridge(1);
    assert!(switch.counters().drops().all(|(_, count)| count == 0));
}
