use super::*;
use crate::config::Overrides;
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
    assert_eq!(leaving.len(), 2);
    assert!(leaving.contains(&&change.added[1].transport));
    assert!(!leaving.contains(&&change.added[0].transport));
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
    assert_eq!(plan.leaving(&old).len(), 1);
}

#[test]
fn ports_that_came_or_went_during_a_reload_are_kept_up_with() {
    let network = |text| networks(text).remove(0);
    let before = network("[networks.a.ports.went]\n[networks.a.ports.stays]");
    let mut now = network("[networks.a.ports.stays]\n[networks.a.ports.came]");
    let asked =
        network("[networks.a.ports.went]\n[networks.a.ports.stays]\n[networks.a.ports.new]");
    keep_up(&mut now, Some(&before), asked);
    assert_eq!(names(&now.ports), ["new", "stays", "came"]);
}

#[test]
fn mtu_stays_while_the_nic_is_unplugged() {
    let network = |nic: &str| {
        let text = format!("[networks.a.uplink]\nnic = \"{nic}\"");
        networks(&text).remove(0)
    };
    let mut running = network("eth1");
    running.mtu = 9000;
    let mut same = network("eth1");
    assert!(keep_mtu(&mut same, Some(&running)));
    assert_eq!(same, running);
    assert!(!keep_mtu(&mut network("eth2"), Some(&running)));
    assert!(!keep_mtu(&mut network("eth1"), None));
}

#[test]
fn forward_that_cannot_be_had_costs_no_other() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = format!(
        "[networks.a]\nmode = \"nat\"\nforwards = [\"tcp:127.0.0.1:{port}=:22\", \"udp:127.0.0.1:{port}=:53\"]"
    );
    let mut network = networks(&text).remove(0);
    let mut report = ReloadReport::default();
    let open = open_forwards(&mut network, &mut report);
    assert_eq!(open.len(), 1);
    assert_eq!(network.nat.unwrap().forwards, [open[0].forward.clone()]);
    assert_eq!(report.failed.len(), 1, "{report:?}");
}
