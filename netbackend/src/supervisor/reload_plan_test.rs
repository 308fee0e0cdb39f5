use super::*;
use crate::config::{Config, Overrides};
use std::path::Path;

fn networks(text: &str) -> Vec<NetworkConfig> {
    let config = Config::parse(Path::new("nb.toml"), text, &Overrides::default());
    config.unwrap().networks
}

fn plan(old: &str, new: &str) -> (Plan, Networks) {
    let old: Networks = networks(old)
        .into_iter()
        .map(|network| (network.name.clone(), network))
        .collect();
    (Plan::new(&old, &networks(new)), old)
}

fn names(ports: &[PortConfig]) -> Vec<&str> {
    ports.iter().map(|port| port.name.as_str()).collect()
}

#[test]
fn same_text_in_other_order_touches_nothing() {
    let (plan, _) = plan(
        "[networks.a.ports.x]\n[networks.a.ports.y]\n[networks.b]",
        "[networks.b]\nmtu = 1500\n[networks.a.ports.y]\n[networks.a.ports.x]",
    );
    let expected = Plan {
        untouched: vec!["a".into(), "b".into()],
        ..Plan::default()
    };
    assert_eq!(plan, expected);
}

#[test]
fn ports_change_without_the_settings_of_their_network() {
    let (plan, old) = plan(
        "[networks.a.ports.gone]\n[networks.a.ports.same]\n[networks.a.ports.other]",
        "[networks.a.ports.same]\n[networks.a.ports.other]\nqueue_pairs = 1\n[networks.a.ports.new]",
    );
    let [change] = &plan.changed[..] else {
        panic!("{plan:?}");
    };
    assert!(!change.settings);
    assert_eq!(change.removed, ["gone", "other"]);
    assert_eq!(names(&change.added), ["new", "other"]);
    // The socket of `other` is free only when the old port is gone.
    let leaving = plan.leaving(&old);
    assert_eq!(leaving.transports.len(), 2);
    assert!(leaving.have(&change.network, &change.added[1]));
    assert!(!leaving.have(&change.network, &change.added[0]));
}

#[test]
fn settings_change_without_the_ports() {
    let (plan, _) = plan(
        "[networks.a]\nmtu = 1500\n[networks.a.ports.x]",
        "[networks.a]\nmtu = 9000\n[networks.a.ports.x]",
    );
    let [change] = &plan.changed[..] else {
        panic!("{plan:?}");
    };
    assert!(change.settings && change.removed.is_empty() && change.added.is_empty());
}

#[test]
fn networks_come_and_go() {
    let (plan, old) = plan(
        "[networks.a.ports.x]\n[networks.b]",
        "[networks.b]\n[networks.c]",
    );
    assert_eq!(plan.removed, ["a"]);
    assert_eq!(plan.untouched, ["b"]);
    assert_eq!(plan.added[0].name, "c");
    assert_eq!(plan.leaving(&old).transports.len(), 1);
}

#[test]
fn a_nic_is_free_only_when_its_old_ports_are_gone() {
    let section = |name: &str, keys: &str| format!("[networks.{name}.uplink]\n{keys}\n");
    let switch = section("a", "nic = \"e\"");
    let macvtaps = section("a", "nic = \"e\"\nattach = \"macvtap\"") + "[networks.a.ports.g]\n";
    let other = section("b", "nic = \"e\"\nattach = \"macvtap\"") + "[networks.b.ports.g]\n";
    let moved = section("a", "nic = \"f\"") + &other;
    for (old, new) in [
        (&macvtaps, &switch),
        (&switch, &macvtaps),
        (&switch, &other),
        (&other, &switch),
        (&switch, &moved),
    ] {
        let (plan, old) = plan(old, new);
        let leaving = plan.leaving(&old);
        let changed = plan.changed.iter();
        let changed = changed.flat_map(|change| change.added.iter().map(|p| (&change.network, p)));
        let added = plan.added.iter();
        let added = added.flat_map(|network| network.ports.iter().map(move |p| (network, p)));
        for (network, port) in changed.chain(added) {
            assert!(leaving.have(network, port), "{}: {port:?}", network.name);
        }
    }
    // Guests with macvtaps that stay are in nobody's way.
    let more = other.clone() + "[networks.b.ports.h]\n";
    let (plan, old) = plan(&other, &more);
    let [change] = &plan.changed[..] else {
        panic!("{plan:?}");
    };
    assert!(!plan.leaving(&old).have(&change.network, &change.added[0]));
}

#[test]
fn a_nic_is_handed_over_only_to_another_network_that_changes() {
    let on = |network: &str, nic: &str, mtu: u16| {
        let uplink =
            format!("[networks.{network}.uplink]\nnic = \"{nic}\"\nattach = \"macvtap\"\n");
        format!("[networks.{network}]\nmtu = {mtu}\n") + &uplink
    };
    let before = on("a", "e", 1500) + &on("b", "f", 1500);
    let handing_over = |old: &str, new: &str| {
        let (plan, old) = plan(old, new);
        let changed = plan.changed.iter();
        let due = changed.filter(|change| plan.hands_over(change, &old));
        let due = due.map(|change| change.network.name.clone());
        due.collect::<Vec<_>>()
    };
    for (after, expected) in [
        (on("a", "f", 1500) + &on("b", "e", 1500), &["a", "b"][..]),
        (on("a", "g", 1500) + &on("b", "e", 1500), &["a"]),
        (
            on("a", "g", 1500) + &on("b", "f", 1500) + &on("c", "e", 1500),
            &["a"],
        ),
        // Each keeps its own, or takes one that is nobody's.
        (on("a", "e", 1400) + &on("b", "f", 1400), &[]),
        (on("a", "g", 1500) + &on("b", "h", 1500), &[]),
    ] {
        assert_eq!(handing_over(&before, &after), expected, "{after}");
    }
    // One that stays as it is needs nothing anew.
    let shared = on("a", "e", 1500) + &on("b", "e", 1500);
    let left = on("a", "g", 1500) + &on("b", "e", 1500);
    assert_eq!(handing_over(&shared, &left), [""; 0]);
}
