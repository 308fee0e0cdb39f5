//! What is made for an uplink, when it goes, and what happens when the NIC does.
use super::{Guest, NIC, OUTSIDE, PATIENCE, Wire, text};
use control::{Client, PortRequest, PortState};
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tests::{Daemon, Process, heavy, needs_root, programs, say, wait_until};
use vhost::VhostBackend;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Promiscuous and all-multicast counts of the NIC.
fn modes(wire: &Wire) -> (u32, u32) {
    let links = wire.links();
    let line = links
        .lines()
        .find(|line| line.contains(NIC) && !line.contains("macvtap"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    let count = |key| {
        let at = words.iter().position(|word| *word == key).unwrap();
        words[at + 1].parse().unwrap()
    };
    (count("promiscuity"), count("allmulti"))
}

#[test]
fn a_nic_uplink_is_made_with_its_network_and_removed_with_it() {
    if !needs_root("a_nic_uplink_is_made_with_its_network_and_removed_with_it") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    wire.host.run(&format!("ip link set {NIC} mtu 9000"));
    wire.outside.run("ip link set eth0 mtu 9000");
    let before = modes(&wire);
    let guest = Guest::new(2);
    let daemon = Daemon::start(&(wire.section("n", "queue_pairs = 2") + &guest.section("n")));
    let more = wire.more_links();
    assert_eq!(more.len(), 1, "{more:#?}");
    let alias = format!("netbackend:{}/run:n/uplink", daemon.directory().display());
    for part in ["macvtap mode passthru", "mtu 9000", &alias] {
        assert!(more[0].contains(part), "{part}: {more:#?}");
    }
    assert_eq!(modes(&wire), (before.0 + 1, before.1 + 1));
    // The guests' MTU is the NIC's.
    assert_eq!(daemon.network("n").mtu, 9000);
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    let jumbo = format!("ping -c 1 -W 10 -M do -s 8972 {OUTSIDE}");
    guest.namespace.run(&jumbo);
    assert!(daemon.stop().success());
    assert_eq!(wire.more_links(), Vec::<String>::new());
    assert_eq!(modes(&wire), before);
}

#[test]
fn a_macvtap_goes_though_an_interface_elsewhere_has_its_index() {
    if !needs_root("a_macvtap_goes_though_an_interface_elsewhere_has_its_index") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let daemon = Daemon::start(&wire.section("n", ""));
    let more = wire.more_links();
    let index = more[0].split(':').next().unwrap();
    // To a list of interfaces this one is like one on top of the macvtap: its link has the macvtap's index.
    wire.host.run(&format!(
        "ip link add v0 type veth peer name v1 index {index} netns {}",
        wire.outside.name()
    ));
    assert!(daemon.stop().success());
    let left = wire.more_links();
    assert_eq!(left.len(), 1, "{left:#?}");
    assert!(left[0].contains("veth"), "{left:#?}");
}

#[test]
fn the_next_start_removes_what_a_killed_daemon_left_and_nothing_else() {
    if !needs_root("the_next_start_removes_what_a_killed_daemon_left_and_nothing_else") {
        return;
    }
    let _turn = heavy();
    let (first, second) = (Wire::new(), Wire::new());
    let config = first.section("a", "") + &second.section("b", "attach = \"macvtap\"");
    let guest = Guest::new(2);
    let mut daemon = Daemon::start(&(config + &guest.section("b")));
    // Somebody else's, which look alike.
    for (name, alias) in [
        ("nb0123456789ab", "mine"),
        ("other", "netbackend:/elsewhere:a/uplink"),
    ] {
        second.host.script(&format!(
            "ip link add link {NIC} name {name} type macvlan mode bridge
             ip link set {name} alias {alias}"
        ));
    }
    let left: Vec<_> = [first.links(), second.links()].into_iter().collect();
    daemon.kill_and_start_again();
    // Made anew: other indices, the same names.
    let names = |links: &str| -> Vec<String> {
        let names = links
            .lines()
            .map(|line| line.split(' ').nth(1).unwrap().to_owned());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let now = [first.links(), second.links()];
    for (left, now) in left.iter().zip(&now) {
        assert_eq!(names(left), names(now));
        assert_ne!(left, now);
    }
    let log = daemon.log();
    assert!(
        log.contains("left behind by a daemon that was killed"),
        "{log}"
    );
    assert!(daemon.stop().success());
    assert_eq!(first.more_links(), Vec::<String>::new());
    let kept = second.more_links();
    assert_eq!(kept.len(), 2, "{kept:#?}");
}

#[test]
fn a_daemon_in_another_container_is_not_taken_for_dead() {
    /// A directory of the same path, which is another one.
    const CONTAINER: &str = "mount -t tmpfs container \"$1\"
        printf %s \"$3\" > \"$1/nb.toml\"
        exec timeout 60 \"$2\" --config \"$1/nb.toml\" --runtime-dir \"$1/run\"";
    if !needs_root("a_daemon_in_another_container_is_not_taken_for_dead") {
        return;
    }
    let _turn = heavy();
    let (first, second) = (Wire::new(), Wire::new());
    let daemon = Daemon::start(&first.section("n", ""));
    let before = first.links();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", CONTAINER, "sh"])
        .arg(daemon.directory())
        .arg(programs::netbackend())
        .arg(second.section("n", ""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("are left alone"), "{said}");
    assert!(
        said.contains("choose another directory with --runtime-dir"),
        "{said}"
    );
    assert_eq!(first.links(), before);
    assert_eq!(second.more_links(), Vec::<String>::new());
}

#[test]
fn a_nic_that_is_pulled_out_under_load_works_again_when_it_is_back() {
    if !needs_root("a_nic_that_is_pulled_out_under_load_works_again_when_it_is_back") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let guest = Guest::new(2);
    let daemon = Daemon::start(&(wire.section("n", "") + &guest.section("n")));
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    let mut flood = guest.namespace.command("ping");
    flood.args(["-q", "-f", "-s", "1000", OUTSIDE]);
    let mut flood = Process::start("flood", daemon.directory(), &mut flood);
    let before = descriptors(daemon.pid());
    for _ in 0..3 {
        wire.pull_out();
        let fault = wait_until("the fault of the uplink", PATIENCE, || {
            let ports = daemon.network("n").ports;
            let uplink = ports.into_iter().find(|port| port.uplink)?;
            (uplink.state == PortState::Faulty).then_some(uplink.fault?)
        });
        assert!(
            fault.contains(&format!("interface {NIC} is gone")),
            "{fault}"
        );
        assert_eq!(wire.more_links(), Vec::<String>::new());
        wire.plug_in();
        daemon.wait_running("n", "uplink");
        guest.wait_reaches(OUTSIDE);
    }
    assert!(flood.ended().is_none(), "the load ended");
    assert_eq!(descriptors(daemon.pid()), before);
    assert_eq!(daemon.network("n").restarts, 0, "{}", daemon.log());
}

#[test]
fn a_nic_that_comes_back_unfit_is_taken_once_it_fits() {
    if !needs_root("a_nic_that_comes_back_unfit_is_taken_once_it_fits") {
        return;
    }
    let wire = Wire::new();
    let guest = Guest::new(2);
    let daemon = Daemon::start(&(wire.section("n", "") + &guest.section("n")));
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    wire.pull_out();
    wire.plug_in_with_mtu(1400);
    let uplink = || {
        let ports = daemon.network("n").ports;
        ports.into_iter().find(|port| port.uplink)
    };
    wait_until("the fault that the MTU is", PATIENCE, || {
        let fault = uplink()?.fault?;
        fault.contains("mtu 1500 is larger").then_some(())
    });
    wire.host.run(&format!("ip link set {NIC} mtu 1500"));
    daemon.wait_running("n", "uplink");
    assert_eq!(uplink().and_then(|uplink| uplink.fault), None);
    guest.wait_reaches(OUTSIDE);
    assert_eq!(daemon.network("n").restarts, 0, "{}", daemon.log());
}

#[test]
fn the_mtu_of_a_nic_is_followed() {
    if !needs_root("the_mtu_of_a_nic_is_followed") {
        return;
    }
    let _turn = heavy();
    for attach in ["switch", "macvtap"] {
        let wire = Wire::new();
        let guest = Guest::new(2);
        let section = wire.section("n", &format!("attach = \"{attach}\""));
        let daemon = Daemon::start(&(section + &guest.section("n")));
        guest.configure();
        guest.wait_reaches(OUTSIDE);
        let set = |mtu: u16| {
            wire.host.run(&format!("ip link set {NIC} mtu {mtu}"));
            wire.outside.run(&format!("ip link set eth0 mtu {mtu}"));
        };
        let wait_for = |mtu_of_nic: Option<u32>, macvtap: &str| {
            wait_until("the MTU of the NIC in the status", PATIENCE, || {
                let network = daemon.network("n");
                (network.nic_mtu == mtu_of_nic && network.mtu == 1500).then_some(())
            });
            let health = daemon.client().health().unwrap();
            assert_eq!(health.healthy, mtu_of_nic.is_none(), "{health:?}");
            let links = wire.more_links();
            assert!(links[0].contains(macvtap), "{macvtap}: {links:#?}");
        };
        set(1400);
        wait_for(Some(1400), "mtu 1400");
        let log = daemon.log();
        let told = "the MTU of interface nic0 is 1400 now";
        assert!(log.contains(told), "{log}");
        set(1450);
        wait_for(Some(1450), "mtu 1450");
        set(9000);
        wait_for(None, "mtu 1500");
        let large = format!("ping -c 1 -W 10 -M do -s 1472 {OUTSIDE}");
        guest.namespace.run(&large);
        assert_eq!(daemon.network("n").restarts, 0, "{}", daemon.log());
    }
}

#[test]
fn an_mtu_of_a_nic_that_dips_for_a_moment_leaves_nothing_behind() {
    if !needs_root("an_mtu_of_a_nic_that_dips_for_a_moment_leaves_nothing_behind") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let guest = Guest::new(2);
    let daemon = Daemon::start(&(wire.section("n", "") + &guest.section("n")));
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    for _ in 0..5 {
        // Both before the daemon looks.
        wire.host.script(&format!(
            "printf 'link set {NIC} mtu 1400\\nlink set {NIC} mtu 1500\\n' | ip -batch -"
        ));
        wait_until("the MTU of the macvtap", PATIENCE, || {
            let links = wire.more_links();
            links[0].contains("mtu 1500").then_some(())
        });
    }
    let large = format!("ping -c 1 -W 10 -M do -s 1472 {OUTSIDE}");
    guest.namespace.run(&large);
    assert_eq!(daemon.network("n").restarts, 0, "{}", daemon.log());
}

#[test]
fn a_namespace_that_is_deleted_is_let_go_of() {
    if !needs_root("a_namespace_that_is_deleted_is_let_go_of") {
        return;
    }
    let _turn = heavy();
    for attach in ["switch", "macvtap"] {
        let wire = Wire::new();
        let guest = Guest::new(2);
        let section = wire.section("n", &format!("attach = \"{attach}\""));
        let daemon = Daemon::start(&(section + &guest.section("n")));
        guest.configure();
        guest.wait_reaches(OUTSIDE);
        let name = |word: &str| {
            let status = Command::new("ip")
                .args(["netns", word, wire.host.name()])
                .status();
            assert!(status.unwrap().success(), "ip netns {word}");
        };
        name("del");
        // The wire ends with the NIC, and the NIC with its namespace.
        wait_until("the end of the namespace", PATIENCE, || {
            let links = text(&wire.outside.run("ip -o link show"));
            (!links.contains("eth0")).then_some(())
        });
        name("add");
        wire.plug_in();
        guest.wait_reaches(OUTSIDE);
        assert_eq!(daemon.network("n").restarts, 0, "{}", daemon.log());
    }
}

#[test]
fn guests_see_the_carrier_of_the_nic() {
    if !needs_root("guests_see_the_carrier_of_the_nic") {
        return;
    }
    let _turn = heavy();
    for (mode, attach) in [("private", "switch"), ("bridge", "macvtap")] {
        let wire = Wire::new();
        let guest = Guest::new(2);
        let config = format!("[networks.n]\nmode = \"{mode}\"\n");
        let config = config + &wire.section("n", &format!("attach = \"{attach}\""));
        let daemon = Daemon::start(&(config + &guest.section("n") + "[networks.n.ports.vm]\n"));
        let vm = Cable::of(&daemon.socket("n", "vm"));
        guest.configure();
        let carrier = |wanted: &str| {
            wait_until(&format!("carrier {wanted}"), PATIENCE, || {
                let output = guest.namespace.run("ip -o link show eth0");
                let has = text(&output).contains("NO-CARRIER");
                (has == (wanted == "off")).then_some(())
            });
            vm.wait_for(wanted == "on");
        };
        carrier("on");
        wire.outside.run("ip link set eth0 down");
        carrier("off");
        // Also a guest that comes now.
        let request = PortRequest {
            name: Some("late".to_owned()),
            ..PortRequest::default()
        };
        daemon.client().add_port("n", &request).unwrap();
        Cable::of(&daemon.socket("n", "late")).wait_for(false);
        wire.outside.run("ip link set eth0 up");
        carrier("on");
        guest.wait_reaches(OUTSIDE);
    }
}

/// A front-end of which only the link matters.
struct Cable(RefCell<Frontend>);

impl Cable {
    fn of(socket: &Path) -> Self {
        let mut frontend = Frontend::connect(socket, 2).unwrap();
        frontend.get_features().unwrap();
        let offered = frontend.get_protocol_features().unwrap();
        assert!(offered.contains(VhostUserProtocolFeatures::BACKEND_REQ));
        frontend.set_protocol_features(offered).unwrap();
        Self(RefCell::new(frontend))
    }

    #[track_caller]
    fn wait_for(&self, up: bool) {
        wait_until("link state", PATIENCE, || {
            let mut frontend = self.0.borrow_mut();
            let config = frontend.get_config(0, 8, VhostUserConfigFlags::empty(), &[0; 8]);
            (config.unwrap().1[6] == u8::from(up)).then_some(())
        });
    }
}

#[test]
fn a_thousand_guests_come_and_go_and_leave_nothing() {
    const CYCLES: u32 = 1000;
    if !needs_root("a_thousand_guests_come_and_go_and_leave_nothing") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let daemon = Daemon::start(&wire.section("n", "attach = \"macvtap\""));
    let client = Client::new(control::default_socket(&daemon.directory().join("run")));
    let request = |number: u32| PortRequest {
        name: Some(format!("p{}", number % 3)),
        ..PortRequest::default()
    };
    let cycle = |number| {
        let port = client.add_port("n", &request(number)).unwrap();
        client.remove_port("n", &port.name).unwrap();
    };
    // The first API connections and the monitor of the NIC have been made, and closed again.
    (0..5).for_each(cycle);
    let worker = daemon.network("n").worker_pid.unwrap();
    let count = || (descriptors(daemon.pid()), descriptors(worker));
    let (before, began) = (count(), Instant::now());
    (0..CYCLES).for_each(cycle);
    say(&format!(
        "{CYCLES} guests with macvtaps came and went in {:?}",
        began.elapsed()
    ));
    assert_eq!(wire.more_links(), Vec::<String>::new());
    assert_eq!(modes(&wire), (0, 0));
    wait_until("as few descriptors as before", PATIENCE, || {
        let now = count();
        (now.0 <= before.0 && now.1 <= before.1).then_some(())
    });
    let nodes = fs::read_dir("/dev").unwrap().flatten();
    let nodes = nodes.filter(|node| node.file_name().to_string_lossy().starts_with("nb"));
    assert_eq!(nodes.count(), 0);
}
