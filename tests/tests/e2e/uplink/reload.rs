//! Other uplinks for networks that run.
use super::{Guest, OUTSIDE, PATIENCE, Wire, leased};
use control::{PortRequest, PortState, ReloadReport};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{fs, thread};
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
fn a_guest_that_comes_while_its_nic_passes_to_another_network_waits_for_the_next() {
    if !needs_root("a_guest_that_comes_while_its_nic_passes_to_another_network_waits_for_the_next")
    {
        return;
    }
    let _turn = heavy();
    let wires = [Wire::new(), Wire::new()];
    let config = |a: usize, b: usize| {
        let attach = "attach = \"macvtap\"";
        let uplinks = wires[a].section("a", attach) + &wires[b].section("b", attach);
        format!("[networks.a]\nmode = \"passthrough\"\n{uplinks}")
    };
    let daemon = Daemon::start(&config(0, 1));
    for network in ["a", "b"] {
        daemon.client().add_port(network, &leased()).unwrap();
    }
    // The reload waits for its end, before it comes to the other network.
    let worker = daemon.network("a").worker_pid.unwrap();
    let worker = Pid::from_raw(worker.try_into().unwrap());
    kill(worker, Signal::SIGSTOP).unwrap();
    let late = PortRequest {
        name: Some("late".to_owned()),
        ..leased()
    };
    let report = thread::scope(|scope| {
        let reload = scope.spawn(|| reload(&daemon, &config(1, 0)));
        wait_until("the NIC to be freed", PATIENCE, || {
            let problems = daemon.client().health().unwrap().problems;
            let told = |problem: &String| problem.contains("goes to another network in a reload");
            problems.iter().any(told).then_some(())
        });
        let add = scope.spawn(|| daemon.client().add_port("b", &late).unwrap());
        // It is asked for before the reload goes on, as a rule.
        daemon.network("b");
        let _ = kill(worker, Signal::SIGCONT);
        add.join().unwrap();
        reload.join().unwrap()
    });
    assert_eq!(report.failed, Vec::<String>::new());
    wait_until("no fault", PATIENCE, || {
        let health = daemon.client().health().unwrap();
        health.healthy.then_some(())
    });
    assert_eq!(wires[0].more_links().len(), 2);
    assert_eq!(wires[1].more_links().len(), 1);
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
