//! NICs that are not there, or not up, when the daemon starts.
use super::{Guest, NIC, OUTSIDE, PATIENCE, Wire, leased, text};
use control::{PortRequest, PortState, ReloadReport};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{fs, thread};
use tests::{Daemon, heavy, needs_root, wait_until};

/// Why each port of the network waits, and that all do.
#[track_caller]
fn faults(daemon: &Daemon, network: &str, count: usize) -> Vec<String> {
    wait_until("ports that wait", PATIENCE, || {
        let ports = daemon.network(network).ports;
        let faults = ports.into_iter().filter_map(|port| port.fault);
        let faults: Vec<String> = faults.collect();
        (faults.len() == count).then_some(faults)
    })
}

#[track_caller]
fn wait_healthy(daemon: &Daemon) {
    wait_until("no fault", PATIENCE, || {
        let health = daemon.client().health().unwrap();
        health.healthy.then_some(())
    });
}

#[test]
fn a_network_whose_nic_is_missing_at_the_start_waits_and_others_run() {
    if !needs_root("a_network_whose_nic_is_missing_at_the_start_waits_and_others_run") {
        return;
    }
    let _turn = heavy();
    for (key, attach) in [("nic", ""), ("nic", "attach = \"macvtap\""), ("packet", "")] {
        let (missing, there) = (Wire::new(), Wire::new());
        missing.pull_out();
        let (guest, other) = (Guest::new(2), Guest::new(3));
        let section = missing
            .section("n", attach)
            .replace("nic = ", &format!("{key} = "));
        let config = section + &guest.section("n") + &there.section("o", "") + &other.section("o");
        let daemon = Daemon::start(&config);
        other.configure();
        other.wait_reaches(OUTSIDE);
        for fault in faults(&daemon, "n", 1) {
            assert!(fault.contains("there is no interface nic0"), "{fault}");
            assert!(fault.contains("works as soon as it is there"), "{fault}");
        }
        let health = daemon.client().health().unwrap();
        assert!(!health.healthy, "{health:?}");
        let file = daemon.directory().join("netbackend.toml");
        let place = format!("{}: networks.n.uplink.{key}: ", file.display());
        let log = daemon.log();
        let told = log.lines().find(|line| line.contains(&place));
        let told = told.unwrap_or_else(|| panic!("{place}: {log}"));
        for part in [
            "WARN",
            "no interface nic0",
            "`ip link`",
            "takes it as soon as",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        // A reload neither fails for that nor touches what waits.
        let report = daemon.client().reload().unwrap();
        assert_eq!(report.failed, Vec::<String>::new());
        assert_eq!(report.untouched, ["n", "o"]);
        missing.plug_in_with_mtu(1400);
        wait_healthy(&daemon);
        assert_eq!(daemon.network("n").mtu, 1400);
        guest.configure();
        guest.wait_reaches(OUTSIDE);
        let pid = daemon.network("n").worker_pid;
        let report = daemon.client().reload().unwrap();
        assert_eq!(report.untouched, ["n", "o"]);
        assert_eq!(daemon.network("n").worker_pid, pid);
        assert_eq!(daemon.network("n").restarts, 0, "{}", daemon.log());
    }
}

#[test]
fn a_nic_that_is_down_at_the_start_is_taken_once_it_is_up() {
    if !needs_root("a_nic_that_is_down_at_the_start_is_taken_once_it_is_up") {
        return;
    }
    let _turn = heavy();
    for attach in ["switch", "macvtap"] {
        let wire = Wire::new();
        wire.host.run(&format!("ip link set {NIC} down"));
        let guest = Guest::new(2);
        let section = wire.section("n", &format!("attach = \"{attach}\""));
        let daemon = Daemon::start(&(section + &guest.section("n")));
        for fault in faults(&daemon, "n", 1) {
            assert!(fault.contains("ip link set nic0 up"), "{fault}");
        }
        // It is set up before it is up, and not at once.
        wire.host.run(&format!("ip link set {NIC} mtu 1400"));
        wait_until("the daemon sees the MTU", PATIENCE, || {
            let told = "the MTU of interface nic0 is 1400 now";
            daemon.log().contains(told).then_some(())
        });
        wire.host.run(&format!("ip link set {NIC} up"));
        wait_healthy(&daemon);
        assert_eq!(daemon.network("n").mtu, 1400);
        guest.configure();
        guest.wait_reaches(OUTSIDE);
    }
}

#[test]
fn guests_on_lease_get_the_mtu_of_a_nic_that_was_down_at_the_start() {
    if !needs_root("guests_on_lease_get_the_mtu_of_a_nic_that_was_down_at_the_start") {
        return;
    }
    let _turn = heavy();
    for mtu in [1400, 9000] {
        let wire = Wire::new();
        let mut daemon = Daemon::start(&wire.section("n", "attach = \"macvtap\""));
        daemon.client().add_port("n", &leased()).unwrap();
        wire.host.run(&format!("ip link set {NIC} down"));
        daemon.kill_and_start_again();
        for fault in faults(&daemon, "n", 1) {
            assert!(fault.contains("ip link set nic0 up"), "{fault}");
        }
        wire.host.run(&format!("ip link set {NIC} mtu {mtu}"));
        wait_until("the daemon sees the MTU", PATIENCE, || {
            let told = format!("the MTU of interface nic0 is {mtu} now");
            daemon.log().contains(&told).then_some(())
        });
        wire.host.run(&format!("ip link set {NIC} up"));
        wait_healthy(&daemon);
        assert_eq!(daemon.network("n").mtu, mtu);
        let links = wire.more_links();
        assert!(links[0].contains(&format!("mtu {mtu} ")), "{links:#?}");
    }
}

#[test]
fn a_network_that_a_reload_puts_on_a_nic_that_is_down_gets_its_mtu() {
    if !needs_root("a_network_that_a_reload_puts_on_a_nic_that_is_down_gets_its_mtu") {
        return;
    }
    let _turn = heavy();
    let attach = "attach = \"macvtap\"";
    let (before, after) = (Wire::new(), Wire::new());
    for old in [before.section("n", attach), "[networks.n]\n".to_owned()] {
        after.host.run(&format!("ip link set {NIC} down mtu 1500"));
        let daemon = Daemon::start(&old);
        daemon.client().add_port("n", &leased()).unwrap();
        let new = after.section("n", attach);
        fs::write(daemon.directory().join("netbackend.toml"), new).unwrap();
        let report = daemon.client().reload().unwrap();
        assert_eq!(report.changed, ["n"]);
        faults(&daemon, "n", 1);
        after.host.run(&format!("ip link set {NIC} mtu 1400"));
        wait_until("the daemon sees the MTU", PATIENCE, || {
            let told = "the MTU of interface nic0 is 1400 now";
            daemon.log().contains(told).then_some(())
        });
        after.host.run(&format!("ip link set {NIC} up"));
        wait_healthy(&daemon);
        assert_eq!(daemon.network("n").mtu, 1400);
        let links = after.more_links();
        assert!(links[0].contains("mtu 1400 "), "{links:#?}");
    }
}

/// Networks that hold up the reload that ends them, each for some seconds, until what is done meanwhile is done.
const ENDING: [&str; 4] = ["end0", "end1", "end2", "end3"];

fn ending() -> String {
    ENDING.map(|name| format!("[networks.{name}]\n")).concat()
}

/// Reloads a configuration without [`ENDING`], and does this after it has been read and before any network changes.
fn reload_meanwhile(daemon: &Daemon, config: &str, meanwhile: impl FnOnce()) -> ReloadReport {
    let workers = ENDING.map(|name| {
        let worker = daemon.network(name).worker_pid.unwrap();
        Pid::from_raw(worker.try_into().unwrap())
    });
    let count = || daemon.client().status().unwrap().networks.len();
    let before = count();
    for worker in workers {
        kill(worker, Signal::SIGSTOP).unwrap();
    }
    fs::write(daemon.directory().join("netbackend.toml"), config).unwrap();
    thread::scope(|scope| {
        let reload = scope.spawn(|| daemon.client().reload().unwrap());
        wait_until("the reload to end a network", PATIENCE, || {
            (count() < before).then_some(())
        });
        meanwhile();
        let last = ENDING[ENDING.len() - 1];
        let networks = daemon.client().status().unwrap().networks;
        let is_held_up = networks.iter().any(|network| network.name == last);
        for worker in workers {
            // The first ones were killed.
            let _ = kill(worker, Signal::SIGCONT);
        }
        assert!(is_held_up, "the reload went on: {}", daemon.log());
        reload.join().unwrap()
    })
}

#[track_caller]
fn assert_tap_has_mtu(guest: &Guest, mtu: u16) {
    let link = text(&guest.namespace.run("ip -o link show eth0"));
    assert!(link.contains(&format!("mtu {mtu} ")), "{link}");
}

#[test]
fn a_nic_that_comes_in_the_middle_of_a_reload_decides_the_mtu() {
    if !needs_root("a_nic_that_comes_in_the_middle_of_a_reload_decides_the_mtu") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    wire.pull_out();
    let (guest, new) = (Guest::new(2), Guest::new(3));
    let section = wire.section("n", "") + &guest.section("n");
    let daemon = Daemon::start(&(section.clone() + &ending()));
    faults(&daemon, "n", 1);
    let config = section + &new.section("n") + "[networks.n]\nmode = \"private\"\n";
    let report = reload_meanwhile(&daemon, &config, || {
        wire.plug_in_with_mtu(1400);
        wait_until("the NIC's MTU", PATIENCE, || {
            (daemon.network("n").mtu == 1400).then_some(())
        });
    });
    assert_eq!(report.failed, Vec::<String>::new());
    assert_eq!(report.changed, ["n"]);
    wait_healthy(&daemon);
    assert_eq!(daemon.network("n").mtu, 1400);
    for guest in [guest, new] {
        assert_tap_has_mtu(&guest, 1400);
        guest.configure();
        guest.wait_reaches(OUTSIDE);
    }
}

#[test]
fn the_mtu_of_a_network_that_a_reload_adds_is_that_of_its_nic_by_then() {
    if !needs_root("the_mtu_of_a_network_that_a_reload_adds_is_that_of_its_nic_by_then") {
        return;
    }
    let _turn = heavy();
    for attach in ["switch", "macvtap"] {
        let wire = Wire::new();
        let guest = Guest::new(2);
        let daemon = Daemon::start(&ending());
        let section = wire.section("n", &format!("attach = \"{attach}\""));
        let report = reload_meanwhile(&daemon, &(section + &guest.section("n")), || {
            wire.host.run(&format!("ip link set {NIC} mtu 1400"));
        });
        assert_eq!(report.failed, Vec::<String>::new());
        assert_eq!(report.added, ["n"]);
        wait_healthy(&daemon);
        assert_eq!(daemon.network("n").mtu, 1400);
        assert_tap_has_mtu(&guest, 1400);
        guest.configure();
        guest.wait_reaches(OUTSIDE);
    }
}

#[test]
fn a_tap_that_is_lost_to_the_mtu_of_a_late_nic_comes_back_with_a_reload() {
    if !needs_root("a_tap_that_is_lost_to_the_mtu_of_a_late_nic_comes_back_with_a_reload") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    wire.pull_out();
    let guest = Guest::new(2);
    let daemon = Daemon::start(&(wire.section("n", "") + &guest.section("n")));
    guest.namespace.script(
        "ip link set eth0 down name other0
         ip link add eth0 type veth peer name other1",
    );
    wire.plug_in_with_mtu(1400);
    wait_until("the NIC's MTU", PATIENCE, || {
        let network = daemon.network("n");
        (network.mtu == 1400 && network.ports.len() == 1).then_some(())
    });
    guest.namespace.run("ip link del eth0");
    let report = daemon.client().reload().unwrap();
    assert_eq!(report.failed, Vec::<String>::new());
    assert_eq!(report.added, ["n/g2"]);
    wait_healthy(&daemon);
    guest.configure();
    guest.wait_reaches(OUTSIDE);
}

#[test]
fn a_bridge_that_is_missing_at_the_start_is_taken_once_it_is_there() {
    if !needs_root("a_bridge_that_is_missing_at_the_start_is_taken_once_it_is_there") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let guest = Guest::new(2);
    let netns = wire.host.name();
    let section =
        format!("[networks.n.uplink]\ntap = \"t0\"\nbridge = \"br0\"\nnetns = \"{netns}\"\n");
    let daemon = Daemon::start(&(section + &guest.section("n")));
    for fault in faults(&daemon, "n", 1) {
        assert!(fault.contains("there is no interface br0"), "{fault}");
    }
    assert!(daemon.log().contains("networks.n.uplink.bridge: "));
    wire.host.script(&format!(
        "ip link add br0 type bridge
         ip link set {NIC} master br0
         ip link set br0 up"
    ));
    wait_healthy(&daemon);
    guest.configure();
    guest.wait_reaches(OUTSIDE);
}

#[test]
fn a_guest_on_lease_is_kept_through_a_start_without_its_nic() {
    if !needs_root("a_guest_on_lease_is_kept_through_a_start_without_its_nic") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let mut daemon = Daemon::start(&wire.section("n", "attach = \"macvtap\""));
    // Several: the first ones are there before the network's process is, the others are not.
    let guests: Vec<String> = (0..8).map(|guest| format!("vm{guest}")).collect();
    let lease = |guest: &str| PortRequest {
        name: Some(guest.to_owned()),
        lease: true,
        ..PortRequest::default()
    };
    for guest in &guests {
        daemon.client().add_port("n", &lease(guest)).unwrap();
    }
    wire.pull_out();
    daemon.kill_and_start_again();
    for fault in faults(&daemon, "n", guests.len()) {
        assert!(fault.contains("there is no interface nic0"), "{fault}");
        assert!(fault.contains("works as soon as it is there"), "{fault}");
    }
    for guest in &guests {
        assert!(daemon.socket("n", guest).exists(), "{guest}");
    }
    // Who asks now is told.
    let refused = daemon.client().add_port("n", &lease("late")).unwrap_err();
    assert!(
        refused.to_string().contains("there is no interface nic0"),
        "{refused}"
    );
    wire.plug_in();
    wait_healthy(&daemon);
    let ports = daemon.network("n").ports;
    assert_eq!(ports.len(), guests.len(), "{ports:#?}");
    for port in &ports {
        assert_eq!(port.state, PortState::Listening, "{ports:#?}");
    }
    assert_eq!(wire.more_links().len(), guests.len());
}
