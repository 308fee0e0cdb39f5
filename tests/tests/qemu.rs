//! QEMU guests over `netbackend`, among themselves and with a namespace on tap ports.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, process::Command, time::Duration};

use tests::{Daemon, Namespace, Nic, QemuGuest, programs};

const BOOT: Duration = Duration::from_mins(3);
const CHECKS: Duration = Duration::from_mins(10);

const CONFIG: &str = r#"
[networks.lan]
mode = "bridge"
[networks.lan.ports.agent]
queue_pairs = 2
[networks.lan.ports.driver]
queue_pairs = 2

[networks.jumbo]
mode = "bridge"
mtu = 9000
[networks.jumbo.ports.agent]
queue_pairs = 2
[networks.jumbo.ports.driver]
queue_pairs = 2
"#;

fn nics(daemon: &Daemon, port: &str, mac: u8, queues: u16) -> Vec<Nic> {
    [("lan", 1500, mac), ("jumbo", 9000, mac + 1)]
        .map(|(network, mtu, mac)| Nic {
            socket: daemon.socket(network, port),
            mac,
            queues,
            mtu,
        })
        .to_vec()
}

fn show(who: &str, results: &[String]) {
    for line in results {
        println!("{who}: {line}");
    }
}

fn two_guests(cpus: u8, queues: u16) {
    let _turn = programs::take_turns();
    let daemon = Daemon::start(CONFIG).unwrap();
    let common = format!("file_mib=100 mtu1=9000 pairs0={queues} pairs1={queues}");
    let job = format!("job=agent addr0=10.1.0.1/24 addr1=10.2.0.1/24 {common}");
    let nics_of_agent = nics(&daemon, "agent", 0x10, queues);
    let mut agent = QemuGuest::start(daemon.dir(), "agent", cpus, &nics_of_agent, &job).unwrap();
    agent.wait_for("agent ready", BOOT).unwrap();
    let job = format!(
        "job=checks addr0=10.1.0.2/24 addr1=10.2.0.2/24 {common} streams={queues} want_pairs={queues} \
         peers=10.1.0.1/1500,10.2.0.1/9000 self=10.1.0.2,10.2.0.2"
    );
    let nics_of_driver = nics(&daemon, "driver", 0x20, queues);
    let mut driver = QemuGuest::start(daemon.dir(), "driver", cpus, &nics_of_driver, &job).unwrap();
    let verdict = driver.wait_for("checks passed", CHECKS).unwrap();
    show("driver", &driver.results());
    assert_eq!(verdict, "checks passed=13 failed=0");
    assert!(driver.wait(BOOT) && agent.wait(BOOT), "guests switch off");
    assert_eq!(daemon.stop().unwrap(), Some(0));
}

#[test]
fn two_qemu_guests_talk_at_mtu_1500_and_9000() {
    two_guests(1, 1);
}

#[test]
fn two_qemu_guests_with_two_vcpus_and_two_queue_pairs_each() {
    two_guests(2, 2);
}

#[test]
fn a_qemu_guest_and_a_namespace_on_tap_ports() {
    let _turn = programs::take_turns();
    let namespace = Namespace::new().unwrap();
    let tap = |network: &str, interface: &str| {
        format!(
            "[networks.{network}.ports.ns]\nkind = \"tap\"\ninterface = \"{interface}\"\nnetns = \"{}\"\n",
            namespace.name()
        )
    };
    let daemon = Daemon::start(&format!(
        "{CONFIG}{}{}",
        tap("lan", "lan0"),
        tap("jumbo", "jumbo0")
    ))
    .unwrap();
    namespace.address("lan0", "10.1.0.2/24").unwrap();
    namespace.address("jumbo0", "10.2.0.2/24").unwrap();
    let nics = nics(&daemon, "agent", 0x10, 1);
    let job = "job=agent addr0=10.1.0.1/24 addr1=10.2.0.1/24 file_mib=100 mtu1=9000";
    let mut agent = QemuGuest::start(daemon.dir(), "agent", 1, &nics, job).unwrap();
    agent.wait_for("agent ready", BOOT).unwrap();
    let checks = xtask::repo::lab_sources().join("guest/jobs/checks");
    let results = run_checks(&namespace, &checks);
    show("namespace", &results);
    assert_eq!(
        results.last().map(String::as_str),
        Some("checks passed=12 failed=0")
    );
    assert!(agent.wait(BOOT), "the guest switches off");
}

/// Runs the guests' own checks on the host, inside a namespace.
fn run_checks(namespace: &Namespace, checks: &Path) -> Vec<String> {
    let mut command: Command = namespace.command(&["sh"]);
    let output = command
        .arg(checks)
        .env("peers", "10.1.0.1/1500,10.2.0.1/9000")
        .env("self", "10.1.0.2,10.2.0.2")
        .env("file_mib", "100")
        .output()
        .unwrap();
    // The job's web server is a daemon of its own: it ends with the namespace's last processes, found by their namespace.
    let pids = Command::new("ip")
        .args(["netns", "pids", namespace.name()])
        .output()
        .unwrap();
    for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("RESULT "))
        .map(str::to_owned)
        .collect()
}
