//! What guests choose to receive by macvtaps of their own, by the control API.
use super::{NIC, PATIENCE, Wire, leased, text};
use control::{ClientError, PortFilter, PortRequest, PortStatus};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::fs;
use tests::{Daemon, heavy, needs_root, wait_until};

const OWN: &str = "52:54:00:07:00:02";
const OTHER: &str = "52:54:00:07:00:77";

fn group(last: u8) -> String {
    format!("01:00:5e:09:09:{last:02x}")
}

fn config(wire: &Wire, keys: &str) -> String {
    format!("[networks.n]\n{keys}\n") + &wire.section("n", "attach = \"macvtap\"")
}

fn port(name: &str, mac: &str) -> PortRequest {
    PortRequest {
        name: Some(name.to_owned()),
        mac: Some(mac.to_owned()),
        ..leased()
    }
}

fn filter(address: Option<&str>, groups: Option<&[u8]>, promiscuous: bool) -> PortFilter {
    let groups = groups.map(|groups| groups.iter().map(|last| group(*last)).collect());
    PortFilter {
        address: address.map(str::to_owned),
        groups,
        promiscuous,
    }
}

/// The link of a port's macvtap, and the groups that it has joined.
fn macvtap(wire: &Wire, name: &str) -> Option<(String, String)> {
    let alias = format!(":n/{name} ");
    let links = wire.more_links();
    let link = links
        .into_iter()
        .find(|link| format!("{link} ").contains(&alias))?;
    let interface = link
        .split([' ', ':', '@'])
        .find(|word| word.starts_with("nb"));
    let mut show = wire.host.command("ip");
    let show = show.args(["maddress", "show", "dev", interface?]);
    Some((link, text(&show.output().unwrap())))
}

/// Whether the macvtap is as the filter says.
fn has(wire: &Wire, name: &str, own: &str, filter: &PortFilter) -> bool {
    let Some((link, joined)) = macvtap(wire, name) else {
        return false;
    };
    let flags = link.split(['<', '>']).nth(1).unwrap();
    let has_flag = |flag: &str| flags.split(',').any(|found| found == flag);
    let address = filter.address.as_deref().unwrap_or(own);
    let groups = (0..8).map(group);
    let wanted = |group: &String| {
        filter
            .groups
            .as_ref()
            .is_some_and(|all| all.contains(group))
    };
    link.contains(&format!("link/ether {address} "))
        && has_flag("ALLMULTI") == filter.groups.is_none()
        && has_flag("PROMISC") == filter.promiscuous
        && groups
            .into_iter()
            .all(|group| joined.contains(&group) == wanted(&group))
}

#[track_caller]
fn assert_has(wire: &Wire, name: &str, own: &str, filter: &PortFilter) {
    assert!(
        has(wire, name, own, filter),
        "{filter:?}: {:#?}",
        macvtap(wire, name)
    );
}

#[track_caller]
fn wait_has(wire: &Wire, name: &str, own: &str, filter: &PortFilter) {
    wait_until(&format!("{filter:?} at {name}"), PATIENCE, || {
        has(wire, name, own, filter).then_some(())
    });
}

fn status(daemon: &Daemon, name: &str) -> PortStatus {
    let ports = daemon.network("n").ports;
    ports.into_iter().find(|port| port.name == name).unwrap()
}

fn shown(daemon: &Daemon, name: &str) -> Option<PortFilter> {
    status(daemon, name).filter
}

#[track_caller]
fn refused(daemon: &Daemon, name: &str, filter: &PortFilter) -> (String, String) {
    match daemon.client().set_filter("n", name, filter) {
        Err(ClientError::Api(error)) => (error.code.clone(), error.to_string()),
        done => panic!("{done:?}"),
    }
}

#[test]
fn what_a_trusted_guest_receives_outlives_its_macvtap() {
    if !needs_root("what_a_trusted_guest_receives_outlives_its_macvtap") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let mut daemon = Daemon::start(&config(&wire, "trust_filters = true"));
    let added = daemon.client().add_port("n", &port("vm", OWN)).unwrap();
    let afresh = PortFilter::default();
    assert_eq!(added.filter, Some(afresh.clone()));
    assert_has(&wire, "vm", OWN, &afresh);
    let chosen = filter(Some(OTHER), Some(&[2, 3]), true);
    for wanted in [
        filter(None, Some(&[]), false),
        filter(None, Some(&[1, 2]), false),
        filter(Some(OTHER), Some(&[2, 3, 4]), true),
        filter(None, None, true),
        chosen.clone(),
    ] {
        daemon.client().set_filter("n", "vm", &wanted).unwrap();
        assert_has(&wire, "vm", OWN, &wanted);
        assert_eq!(shown(&daemon, "vm"), Some(wanted));
    }

    // Another worker.
    let worker = daemon.network("n").worker_pid.unwrap();
    kill(Pid::from_raw(worker.try_into().unwrap()), Signal::SIGKILL).unwrap();
    wait_until("another worker", PATIENCE, || {
        let now = daemon.network("n").worker_pid?;
        (now != worker).then_some(())
    });
    assert_has(&wire, "vm", OWN, &chosen);

    // Another NIC of the name; what is chosen while there is none is had later.
    wire.pull_out();
    wait_until("the daemon to miss it", PATIENCE, || {
        status(&daemon, "vm").fault
    });
    let chosen = filter(Some(OTHER), Some(&[5]), false);
    daemon.client().set_filter("n", "vm", &chosen).unwrap();
    wire.plug_in();
    wait_has(&wire, "vm", OWN, &chosen);

    // Another daemon.
    let state = daemon.directory().join("run/state.json");
    wait_until("the filter on the disk", PATIENCE, || {
        let state = fs::read_to_string(&state).unwrap_or_default();
        state.contains(&group(5)).then_some(())
    });
    daemon.kill_and_start_again();
    wait_has(&wire, "vm", OWN, &chosen);
    assert_eq!(shown(&daemon, "vm"), Some(chosen.clone()));

    // Another macvtap, for another MTU.
    let file = daemon.directory().join("netbackend.toml");
    let reload = |keys: &str| {
        fs::write(&file, config(&wire, keys)).unwrap();
        let report = daemon.client().reload().unwrap();
        assert_eq!(report.failed, Vec::<String>::new());
        assert_eq!(report.changed, ["n"]);
    };
    reload("trust_filters = true\nmtu = 1400");
    wait_has(&wire, "vm", OWN, &chosen);
    assert!(macvtap(&wire, "vm").unwrap().0.contains("mtu 1400 "));

    // No trust any more.
    reload("mtu = 1400");
    wait_has(&wire, "vm", OWN, &afresh);
    assert_eq!(shown(&daemon, "vm"), None);
    let (code, told) = refused(&daemon, "vm", &chosen);
    assert_eq!(code, "forbidden");
    assert!(told.contains("trust_filters = true"), "{told}");
    assert_has(&wire, "vm", OWN, &afresh);

    daemon.client().remove_port("n", "vm").unwrap();
    assert_eq!(wire.more_links(), Vec::<String>::new());
}

#[test]
fn an_address_that_another_guest_has_is_refused_and_nothing_else_changes() {
    if !needs_root("an_address_that_another_guest_has_is_refused_and_nothing_else_changes") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let daemon = Daemon::start(&config(&wire, "trust_filters = true"));
    let second = "52:54:00:07:00:03";
    daemon.client().add_port("n", &port("one", OWN)).unwrap();
    daemon.client().add_port("n", &port("two", second)).unwrap();
    let before = filter(None, Some(&[1]), false);
    daemon.client().set_filter("n", "two", &before).unwrap();
    let (code, told) = refused(&daemon, "two", &filter(Some(OWN), Some(&[2]), true));
    assert_eq!(code, "conflict");
    assert!(told.contains(OWN) && told.contains("in use"), "{told}");
    assert_has(&wire, "two", second, &before);
    assert_eq!(shown(&daemon, "two"), Some(before));
    assert_has(&wire, "one", OWN, &PortFilter::default());

    // They swap their addresses, which the macvtaps that are made again have from the start.
    let addressed = |address| filter(Some(address), None, false);
    for (name, address) in [("one", OTHER), ("two", OWN), ("one", second)] {
        let wanted = addressed(address);
        daemon.client().set_filter("n", name, &wanted).unwrap();
    }
    wire.pull_out();
    wait_until("the daemon to miss its NIC", PATIENCE, || {
        status(&daemon, "two").fault
    });
    wire.plug_in();
    wait_has(&wire, "one", OWN, &addressed(second));
    wait_has(&wire, "two", second, &addressed(OWN));
}

#[test]
fn in_mode_passthrough_the_nic_keeps_its_address() {
    if !needs_root("in_mode_passthrough_the_nic_keeps_its_address") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let keys = "mode = \"passthrough\"\ntrust_filters = true";
    let daemon = Daemon::start(&config(&wire, keys));
    daemon.client().add_port("n", &port("vm", OWN)).unwrap();
    let of_nic = text(&wire.host.run(&format!("cat /sys/class/net/{NIC}/address")));
    let wanted = filter(Some(OTHER), Some(&[1]), false);
    daemon.client().set_filter("n", "vm", &wanted).unwrap();
    let nothing_of_it = filter(Some(of_nic.trim()), Some(&[1]), false);
    assert_has(&wire, "vm", OWN, &nothing_of_it);
}
