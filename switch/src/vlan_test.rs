//! Which frames reach which ports, and with which tags.
use super::*;
use crate::{Egress, MacAddr, Mode, PortConfig, PortId, PortPolicy, Switch, SwitchConfig};
use std::time::Duration;

const NOW: Duration = Duration::from_secs(1);
/// EtherType of experiments (IEEE 802), then some payload.
const REST: [u8; 6] = [0x88, 0xb5, 1, 2, 3, 4];
const S_TPID: u16 = 0x88a8;

// The ports of `network`.
const ACCESS_10: u16 = 0;
const ALSO_10: u16 = 1;
const ACCESS_20: u16 = 2;
/// 20 and 30 tagged.
const TRUNK: u16 = 3;
/// 20 tagged, 10 without tag.
const NATIVE_10: u16 = 4;
const TOLD_NOTHING: u16 = 5;
const UPLINK: u16 = 6;

fn mac(n: u16) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 0, u8::try_from(n).unwrap()])
}

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

fn policy(untagged: Option<u16>, tagged: &[u16]) -> PortPolicy {
    PortPolicy {
        vlans: Some(PortVlans {
            untagged: untagged.map(vlan),
            tagged: tagged.iter().copied().map(vlan).collect(),
        }),
        ..PortPolicy::default()
    }
}

fn network(mode: Mode) -> Switch {
    let mut switch = Switch::new(SwitchConfig::new(mode));
    for id in ACCESS_10..=UPLINK {
        let role = if id == UPLINK {
            Role::Uplink
        } else {
            Role::Guest
        };
        switch
            .add_port(PortId(id), PortConfig { role, mac: None })
            .unwrap();
    }
    for (id, policy) in [
        (ACCESS_10, policy(Some(10), &[])),
        (ALSO_10, policy(Some(10), &[])),
        (ACCESS_20, policy(Some(20), &[])),
        (TRUNK, policy(None, &[20, 30])),
        (NATIVE_10, policy(Some(10), &[20])),
    ] {
        switch.set_policy(NOW, PortId(id), &policy).unwrap();
    }
    switch
}

fn frame(to: MacAddr, from: MacAddr, tags: &[(u16, u16)]) -> Vec<u8> {
    let mut frame = [to.0, from.0].concat();
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(REST);
    frame
}

/// Ports that a frame reaches, and what is done to its tag there.
fn sent(switch: &mut Switch, from: u16, frame: &[u8]) -> Vec<(u16, Retag)> {
    let targets: Vec<_> = match switch.forward(NOW, PortId(from), frame) {
        Egress::Drop(_) => Vec::new(),
        Egress::Port(port) => vec![port],
        Egress::Flood(flood) => switch.targets(flood).collect(),
    };
    targets
        .iter()
        .map(|to| (to.0, switch.retag(PortId(from), *to, frame)))
        .collect()
}

#[test]
fn broadcasts_stay_in_their_vlan_and_are_tagged_as_each_port_has_it() {
    use Retag::{Insert, Keep, Set, Strip};
    /// Where from, with what tags, and where to.
    type Case<'a> = (u16, &'a [(u16, u16)], &'a [(u16, Retag)]);
    const PRIORITY: u16 = 5 << 13;
    let cases: [Case<'_>; 19] = [
        (
            ACCESS_10,
            &[],
            &[(ALSO_10, Keep), (NATIVE_10, Keep), (UPLINK, Insert(10))],
        ),
        // A priority is kept where there is a tag to hold it.
        (
            ACCESS_10,
            &[(TPID, PRIORITY)],
            &[
                (ALSO_10, Strip),
                (NATIVE_10, Strip),
                (UPLINK, Set(PRIORITY + 10)),
            ],
        ),
        // Access ports take no tags, not even their own.
        (ACCESS_10, &[(TPID, 10)], &[]),
        (ACCESS_10, &[(TPID, 20)], &[]),
        // An S-tag is payload.
        (
            ACCESS_10,
            &[(S_TPID, 20), (TPID, 20)],
            &[(ALSO_10, Keep), (NATIVE_10, Keep), (UPLINK, Insert(10))],
        ),
        (
            ACCESS_20,
            &[],
            &[
                (TRUNK, Insert(20)),
                (NATIVE_10, Insert(20)),
                (UPLINK, Insert(20)),
            ],
        ),
        (
            TRUNK,
            &[(TPID, PRIORITY + 20)],
            &[(ACCESS_20, Strip), (NATIVE_10, Keep), (UPLINK, Keep)],
        ),
        (TRUNK, &[(TPID, 30)], &[(UPLINK, Keep)]),
        (TRUNK, &[(TPID, 10)], &[]),
        (TRUNK, &[(TPID, 4095)], &[]),
        // It has no native VLAN.
        (TRUNK, &[], &[]),
        (TRUNK, &[(TPID, PRIORITY)], &[]),
        (
            NATIVE_10,
            &[],
            &[(ACCESS_10, Keep), (ALSO_10, Keep), (UPLINK, Insert(10))],
        ),
        (
            NATIVE_10,
            &[(TPID, 10)],
            &[(ACCESS_10, Strip), (ALSO_10, Strip), (UPLINK, Keep)],
        ),
        (TOLD_NOTHING, &[], &[(UPLINK, Keep)]),
        (TOLD_NOTHING, &[(TPID, 10)], &[]),
        (UPLINK, &[], &[(TOLD_NOTHING, Keep)]),
        (
            UPLINK,
            &[(TPID, 10)],
            &[(ACCESS_10, Strip), (ALSO_10, Strip), (NATIVE_10, Strip)],
        ),
        (UPLINK, &[(TPID, 11)], &[]),
    ];
    let mut switch = network(Mode::Bridge);
    for (from, tags, expected) in cases {
        let frame = frame(MacAddr::BROADCAST, mac(from), tags);
        assert_eq!(
            sent(&mut switch, from, &frame),
            expected,
            "{from} {tags:x?}"
        );
    }
}

#[test]
fn a_tag_within_a_tag_does_not_hop_and_half_a_tag_is_none() {
    let mut switch = network(Mode::Bridge);
    for from in ACCESS_10..=UPLINK {
        for outer in [0, 10, 20] {
            let frame = frame(MacAddr::BROADCAST, mac(from), &[(TPID, outer), (TPID, 30)]);
            assert_eq!(sent(&mut switch, from, &frame), [], "{from} {outer}");
            for len in 14..18 {
                assert_eq!(sent(&mut switch, from, &frame[..len]), [], "{from} {outer}");
            }
        }
    }
    let dropped = switch.counters().dropped(DropReason::Vlan);
    assert_eq!(dropped, 7 * 3 * 5);
}

#[test]
fn addresses_are_learned_per_vlan_so_that_nobody_takes_over_another_vlans() {
    let mut switch = network(Mode::Bridge);
    let shared = mac(99);
    // The same address behind two ports, in two VLANs.
    for from in [ALSO_10, ACCESS_20] {
        sent(&mut switch, from, &frame(MacAddr::BROADCAST, shared, &[]));
    }
    assert_eq!(switch.counters().fdb_moves, 0);
    let to_shared = |tags: &[(u16, u16)]| frame(shared, mac(1), tags);
    assert_eq!(
        sent(&mut switch, ACCESS_10, &to_shared(&[])),
        [(ALSO_10, Retag::Keep)]
    );
    let tagged = to_shared(&[(TPID, 20)]);
    assert_eq!(
        sent(&mut switch, TRUNK, &tagged),
        [(ACCESS_20, Retag::Strip)]
    );
    let mut vlans: Vec<_> = switch
        .fdb(NOW)
        .filter(|entry| entry.mac == shared)
        .map(|entry| (entry.vlan, entry.port.0))
        .collect();
    vlans.sort_unstable();
    assert_eq!(vlans, [(10, ALSO_10), (20, ACCESS_20)]);
}

#[test]
fn fixed_addresses_are_their_ports_in_every_vlan() {
    let mut switch = network(Mode::Bridge);
    let fixed = PortConfig {
        role: Role::Guest,
        mac: Some(mac(77)),
    };
    switch.add_port(PortId(7), fixed).unwrap();
    switch
        .set_policy(NOW, PortId(7), &policy(Some(10), &[]))
        .unwrap();
    let to_fixed = frame(mac(77), mac(1), &[]);
    assert_eq!(sent(&mut switch, ACCESS_10, &to_fixed), [(7, Retag::Keep)]);
    assert_eq!(sent(&mut switch, ACCESS_20, &to_fixed), [], "not its VLAN");
    assert_eq!(switch.counters().dropped(DropReason::Vlan), 1);
    // Nobody learns it elsewhere.
    sent(
        &mut switch,
        ACCESS_20,
        &frame(MacAddr::BROADCAST, mac(77), &[]),
    );
    assert_eq!(switch.counters().source_pinned_elsewhere, 1);
    assert_eq!(sent(&mut switch, ACCESS_10, &to_fixed), [(7, Retag::Keep)]);
}

#[test]
fn the_other_modes_keep_vlans_apart_on_the_uplink() {
    for mode in [Mode::Private, Mode::Vepa] {
        let mut switch = network(mode);
        let out = frame(mac(200), mac(1), &[]);
        assert_eq!(
            sent(&mut switch, ACCESS_10, &out),
            [(UPLINK, Retag::Insert(10))]
        );
        let back = frame(mac(1), mac(200), &[(TPID, 10)]);
        assert_eq!(
            sent(&mut switch, UPLINK, &back),
            [(ACCESS_10, Retag::Strip)]
        );
        let strange = frame(mac(1), mac(200), &[(TPID, 20)]);
        assert_eq!(sent(&mut switch, UPLINK, &strange), [], "{mode:?}");
        let all = frame(MacAddr::BROADCAST, mac(200), &[(TPID, 30)]);
        assert_eq!(sent(&mut switch, UPLINK, &all), [(TRUNK, Retag::Keep)]);
    }
}

#[test]
fn tags_are_payload_until_a_port_has_vlans_and_again_when_none_has() {
    let mut switch = network(Mode::Bridge);
    let twice = frame(MacAddr::BROADCAST, mac(5), &[(TPID, 10), (TPID, 20)]);
    assert!(switch.heeds_vlans());
    for id in ACCESS_10..=NATIVE_10 {
        assert_eq!(sent(&mut switch, TOLD_NOTHING, &twice), []);
        switch
            .set_policy(NOW, PortId(id), &PortPolicy::default())
            .unwrap();
    }
    assert!(!switch.heeds_vlans());
    let everybody = [0, 1, 2, 3, 4, 6].map(|id| (id, Retag::Keep));
    assert_eq!(sent(&mut switch, TOLD_NOTHING, &twice), everybody);
}

#[test]
fn numbers_of_vlans() {
    assert_eq!([0, 4095, u16::MAX].map(VlanId::new), [None; 3]);
    let set: VlanSet = [1, 64, 4094].map(vlan).into_iter().collect();
    let members: Vec<_> = (1..=LAST).filter(|id| set.contains(vlan(*id))).collect();
    assert_eq!(members, [1, 64, 4094]);
    assert_eq!(set.iter().map(VlanId::get).collect::<Vec<_>>(), members);
    assert!(!set.is_empty() && VlanSet::default().is_empty());
}
