//! Other uplinks for networks that run.
use super::{Guest, OUTSIDE, PATIENCE, Wire, leased};
use control::{PortState, ReloadReport};
use std::fs;
use tests::{Daemon, heavy, needs_root, wait_until};

#[track_caller]
fn reload(daemon: &Daemon, config: &str) -> ReloadReport {
    fs::write(daemon.directory().join("netbackend.toml"), config).unwrap();
    daemon.client().reload().unwrap()
}

#[test]
fn a_nic_changes_hands_in_a_reload() {
    if !needs_root("a_nic_changes_hands_in_a_reload") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let guest = Guest::new(2);
    let section = |network: &str, attach: &str| {
        let uplink = wire.section(network, &format!("attach = \"{attach}\""));
        uplink + &guest.section(network)
    };
    let daemon = Daemon::start(&section("n", "macvtap"));
    daemon.client().add_port("n", &leased()).unwrap();
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    // The guest on lease has a macvtap on the NIC of which no configuration tells.
    for (network, attach, macvtaps) in [
        ("n", "switch", 1),
        ("n", "macvtap", 2),
        ("m", "switch", 1),
        ("n", "macvtap", 1),
        ("m", "macvtap", 1),
    ] {
        let report = reload(&daemon, &section(network, attach));
        assert_eq!(report.failed, Vec::<String>::new());
        guest.configure();
        guest.wait_reaches(OUTSIDE);
        let links = wire.more_links();
        assert_eq!(links.len(), macvtaps, "{network} {attach}: {links:#?}");
        let ports = daemon.network(network).ports;
        assert!(ports.iter().all(|port| port.fault.is_none()), "{ports:#?}");
    }
}

#[test]
fn two_networks_swap_their_nics_in_a_reload() {
    if !needs_root("two_networks_swap_their_nics_in_a_reload") {
        return;
    }
    let _turn = heavy();
    for (mode, attach) in [("bridge", "switch"), ("private", "macvtap")] {
        let wires = [Wire::new(), Wire::new()];
        let guests = [Guest::new(2), Guest::new(3)];
        let section = |network: &str, wire: &Wire| {
            let uplink = wire.section(network, &format!("attach = \"{attach}\""));
            let network = format!("[networks.{network}]\nmode = \"{mode}\"\n");
            network + &uplink
        };
        let config = |first: usize, second: usize| {
            let networks = [("a", first, &guests[0]), ("b", second, &guests[1])];
            let sections = networks
                .map(|(name, wire, guest)| section(name, &wires[wire]) + &guest.section(name));
            sections.concat()
        };
        let daemon = Daemon::start(&config(0, 1));
        for (first, second) in [(1, 0), (0, 1)] {
            let report = reload(&daemon, &config(first, second));
            assert_eq!(report.failed, Vec::<String>::new(), "{attach}");
            for guest in &guests {
                guest.configure();
                guest.wait_reaches(OUTSIDE);
            }
            for wire in &wires {
                assert_eq!(wire.more_links().len(), 1, "{attach}");
            }
            for guest in &guests {
                guest.namespace.run("ip addr flush dev eth0");
            }
        }
    }
}

#[test]
fn guests_on_lease_swap_their_passthrough_nics_in_a_reload() {
    if !needs_root("guests_on_lease_swap_their_passthrough_nics_in_a_reload") {
        return;
    }
    let _turn = heavy();
    let wires = [Wire::new(), Wire::new()];
    let section = |network: &str, wire: &Wire| {
        let uplink = wire.section(network, "attach = \"macvtap\"");
        format!("[networks.{network}]\nmode = \"passthrough\"\n{uplink}")
    };
    let config =
        |first: usize, second: usize| section("a", &wires[first]) + &section("b", &wires[second]);
    let daemon = Daemon::start(&config(0, 1));
    for network in ["a", "b"] {
        daemon.client().add_port(network, &leased()).unwrap();
    }
    let macvtap_of = |wire: usize| {
        let links = wires[wire].more_links();
        assert_eq!(links.len(), 1, "{links:#?}");
        let link = &links[0];
        assert!(link.contains("macvtap mode passthru"), "{link}");
        link.split([' ', ':', '@'])
            .find(|word| word.starts_with("nb"))
            .unwrap()
            .to_owned()
    };
    let of_networks = [macvtap_of(0), macvtap_of(1)];
    for (first, second) in [(1, 0), (0, 1)] {
        let report = reload(&daemon, &config(first, second));
        assert_eq!(report.failed, Vec::<String>::new());
        for network in ["a", "b"] {
            let ports = daemon.network(network).ports;
            assert_eq!(ports.len(), 1, "{ports:#?}");
            assert!(ports.iter().all(|port| port.fault.is_none()), "{ports:#?}");
        }
        assert_eq!([macvtap_of(first), macvtap_of(second)], of_networks);
    }
}

#[test]
fn a_nic_of_guests_on_lease_goes_to_a_network_that_changes_before_theirs() {
    if !needs_root("a_nic_of_guests_on_lease_goes_to_a_network_that_changes_before_theirs") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let guest = Guest::new(2);
    let daemon = Daemon::start(
        &(guest.section("a")
            + "[networks.b]\nmode = \"private\"\n"
            + &wire.section("b", "attach = \"macvtap\"")),
    );
    daemon.client().add_port("b", &leased()).unwrap();
    assert_eq!(wire.more_links().len(), 1);
    let report = reload(
        &daemon,
        &(guest.section("a") + &wire.section("a", "") + "[networks.b]\n"),
    );
    assert_eq!(report.failed, Vec::<String>::new());
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    let ports = daemon.network("b").ports;
    assert_eq!(ports.len(), 1, "{ports:#?}");
    assert!(ports.iter().all(|port| port.fault.is_none()), "{ports:#?}");
}

#[test]
fn ports_wait_for_their_nic_through_a_reload() {
    if !needs_root("ports_wait_for_their_nic_through_a_reload") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let guest = Guest::new(2);
    let section = |mtu: u16| {
        let uplink = wire.section("n", "attach = \"macvtap\"");
        format!("[networks.n]\nmtu = {mtu}\n{uplink}") + &guest.section("n")
    };
    let daemon = Daemon::start(&section(1400));
    daemon.client().add_port("n", &leased()).unwrap();
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    wire.pull_out();
    let all = |state: fn(PortState) -> bool| {
        wait_until("the ports", PATIENCE, || {
            let ports = daemon.network("n").ports;
            let all = ports.iter().all(|port| state(port.state));
            (ports.len() == 2 && all).then_some(())
        });
    };
    all(|state| state == PortState::Faulty);
    let report = reload(&daemon, &section(1300));
    assert_eq!(report.failed, Vec::<String>::new());
    all(|state| state == PortState::Faulty);
    assert!(daemon.socket("n", "vm").exists());
    wire.plug_in();
    all(|state| state != PortState::Faulty);
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    let links = wire.more_links();
    assert_eq!(links.len(), 2, "{links:#?}");
    assert!(
        links.iter().all(|link| link.contains("mtu 1300")),
        "{links:#?}"
    );
}
