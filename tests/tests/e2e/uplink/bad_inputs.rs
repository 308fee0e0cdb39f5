//! NICs that will not do: each is refused at the start, with what is wrong and what to do.
use super::{NIC, PATIENCE, Wire, needs_vlans};
use std::process::Command;
use tests::{Process, heavy, needs_root, programs};

/// What the daemon says when it does not start.
#[track_caller]
fn refusal(config: &str, wrap: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("netbackend.toml");
    std::fs::write(&file, config).unwrap();
    let program = programs::netbackend().to_str().unwrap();
    let mut words = wrap.iter().copied().chain([program]);
    let output = Command::new(words.next().unwrap())
        .args(words)
        .arg("--config")
        .arg(&file)
        .arg("--runtime-dir")
        .arg(directory.path().join("run"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{config}\n{said}");
    said
}

/// A /dev with nothing but what every program needs, for the command that follows.
const BARE_DEV: &str = "mount -t tmpfs dev /dev
    mknod -m 666 /dev/null c 1 3
    mknod -m 666 /dev/urandom c 1 9
    exec \"$@\"";

/// The daemon runs with that configuration.
#[track_caller]
fn starts(config: &str, wrap: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("netbackend.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(wrap[0]);
    command.args(&wrap[1..]).arg(programs::netbackend());
    command.arg("--config").arg(&file);
    command
        .arg("--runtime-dir")
        .arg(directory.path().join("run"));
    let mut daemon = Process::start("netbackend", directory.path(), &mut command);
    daemon.wait_for("is ready", PATIENCE);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.wait(PATIENCE).success());
}

#[track_caller]
fn expect(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn nics_that_will_not_do_are_refused_with_a_remedy() {
    if !needs_root("nics_that_will_not_do_are_refused_with_a_remedy") {
        return;
    }
    let _turn = heavy();
    // Script in the NIC's namespace, keys of the section or of the network, words of the refusal.
    let table: &[(&str, &str, &[&str])] = &[
        // It may come up, but would not do then.
        (
            "ip link add br0 up type bridge; ip link set nic0 down master br0",
            "",
            &["nic0 is a port of br0", "nomaster"],
        ),
        (
            "ip link set nic0 down",
            "[networks.n]\nmtu = 1501",
            &["mtu 1501 is larger than that of interface nic0, 1500"],
        ),
        (
            "ip link add br0 up type bridge; ip link set nic0 master br0",
            "",
            &["nic0 is a port of br0", "nomaster", "bridge = \"br0\""],
        ),
        (
            "ip link add link nic0 name mv0 type macvlan mode bridge",
            "",
            &["nic0 is in use: mv0 is on top", "attach = \"macvtap\""],
        ),
        (
            "ip link add link nic0 name mv0 type macvlan mode passthru",
            "attach = \"macvtap\"\n[networks.n.ports.g]",
            &["nic0 is in use", "another macvlan"],
        ),
        (
            "ip link add link nic0 name nic0.5 type vlan id 5",
            "vlan = 5",
            &["an interface of VLAN 5 is on top"],
        ),
        (
            "ip link del nic0; ip tuntap add nic0 mode tun; ip link set nic0 up",
            "",
            &["nic0 is no Ethernet NIC"],
        ),
        (
            "",
            "[networks.n]\nmtu = 1501",
            &[
                "mtu 1501 is larger than that of interface nic0, 1500",
                "ip link set nic0 mtu 1501",
            ],
        ),
        (
            "ip link add link nic0 name mv0 address 52:54:00:00:00:01 type macvlan mode bridge
             ip link set mv0 up",
            "attach = \"macvtap\"\n[networks.n.ports.g]\nmac = \"52:54:00:00:00:01\"",
            &[
                "address 52:54:00:00:00:01 is in use on interface nic0",
                "another mac",
            ],
        ),
        (
            "ip link add br0 up type bridge; ip link set nic0 master br0",
            "attach = \"macvtap\"\n[networks.n.ports.g]",
            &["nic0 is a port of br0"],
        ),
    ];
    for (script, keys, parts) in table {
        if script.contains("type vlan") && !needs_vlans(script) {
            continue;
        }
        let wire = Wire::new();
        if !script.is_empty() {
            wire.host.script(script);
        }
        let before = wire.links();
        let said = refusal(&wire.section("n", keys), &[]);
        expect(&said, parts);
        // A NIC that was up has counted; names and kinds are the same.
        let names = |links: &str| -> Vec<String> {
            links
                .lines()
                .map(|line| line.split(' ').nth(1).unwrap().to_owned())
                .collect()
        };
        assert_eq!(names(&wire.links()), names(&before), "{script} {keys}");
    }
}

#[test]
fn what_is_no_bridge_and_no_namespace_is_refused() {
    if !needs_root("what_is_no_bridge_and_no_namespace_is_refused") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let netns = wire.host.name();
    let tap = |bridge: &str| {
        format!("[networks.n.uplink]\ntap = \"t0\"\nbridge = \"{bridge}\"\nnetns = \"{netns}\"")
    };
    let said = refusal(&tap(NIC), &[]);
    expect(&said, &["nic0 is no bridge", "type bridge"]);
    let said = refusal(
        "[networks.n.uplink]\nnic = \"e\"\nnetns = \"nb-no-such\"",
        &[],
    );
    expect(&said, &["nb-no-such", "ip netns add nb-no-such"]);
}

#[test]
fn missing_capabilities_are_named() {
    if !needs_root("missing_capabilities_are_named") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let netns = wire.host.name();
    let inside = ["ip", "netns", "exec", netns];
    // In the namespace itself: no other capability is missing.
    let config = format!("[networks.n.uplink]\nnic = \"{NIC}\"");
    // Whoever follows one remedy does not undo the other.
    let all = "setcap cap_net_admin,cap_mknod,cap_dac_override+ep";
    let without = [&inside[..], &["setpriv", "--bounding-set=-net_admin"]].concat();
    let said = refusal(&config, &without);
    expect(&said, &["needs CAP_NET_ADMIN", all]);
    // As in a container, where nobody makes /dev/tapN.
    let bare = [
        &inside[..],
        &["unshare", "--mount", "sh", "-ec", BARE_DEV, "sh"],
    ]
    .concat();
    let without = [&bare[..], &["setpriv", "--bounding-set=-mknod"]].concat();
    let said = refusal(&config, &without);
    expect(&said, &["needs CAP_MKNOD", all]);
    assert_eq!(wire.more_links(), Vec::<String>::new());
    starts(&config, &bare);
}
