//! Worker processes: what their death costs, and whom.
use crate::common::{Daemon, send, wait_for};
use control::{NetworkState, PortKind, PortState};
use nix::sys::signal::Signal;
use std::{fs, os::unix::net::UnixStream, process::Command};

const TWO: &str = "[networks.a.ports.x]\n[networks.b]\nmode = \"private\"\nmtu = 9000\n";

#[test]
fn killed_worker_is_replaced_on_the_same_socket_and_others_never_notice() {
    let daemon = Daemon::start(TWO);
    let (a, b) = (daemon.worker("a"), daemon.worker("b"));
    let added = daemon
        .client
        .add_port("a", &control::PortRequest::default())
        .unwrap();
    // A front-end of the old worker loses its connection.
    let socket = daemon.runtime_dir().join("a/x.sock");
    let inode = |path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&socket);
    let front_end = UnixStream::connect(&socket).unwrap();
    wait_for("the front-end to be served", || {
        let port = daemon
            .network("a")
            .ports
            .into_iter()
            .find(|port| port.name == "x");
        (port?.state == PortState::Connected).then_some(())
    });
    send(a, Signal::SIGKILL);
    let restarted = wait_for("a new worker", || {
        let network = daemon.network("a");
        (network.state == NetworkState::Running && network.worker_pid != Some(a)).then_some(network)
    });
    assert_eq!(restarted.restarts, 1);
    assert_eq!(restarted.ports.len(), 2);
    assert_eq!(daemon.worker("b"), b);
    assert_eq!(daemon.network("b").restarts, 0);
    let mut byte = [0];
    let end = std::io::Read::read(&mut &front_end, &mut byte);
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert_eq!(inode(&socket), before);
    let PortKind::VhostUser {
        socket: dynamic, ..
    } = added.kind
    else {
        panic!("{added:?}");
    };
    for (name, socket) in [("x", &socket), ("p0", &dynamic)] {
        let _front_end = UnixStream::connect(socket).unwrap();
        wait_for("the new worker to serve it", || {
            let port = daemon
                .network("a")
                .ports
                .into_iter()
                .find(|port| port.name == name);
            (port?.state == PortState::Connected).then_some(())
        });
    }
}

#[test]
fn worker_that_keeps_dying_is_started_again_and_again() {
    let daemon = Daemon::start("");
    for restarts in 1..=3 {
        let worker = daemon.worker("default");
        send(worker, Signal::SIGKILL);
        wait_for("a new worker", || {
            let network = daemon.network("default");
            (network.restarts == restarts && network.state == NetworkState::Running).then_some(())
        });
        assert_ne!(daemon.worker("default"), worker);
    }
}

#[test]
fn hanging_worker_costs_its_counters_but_not_the_status() {
    let daemon = Daemon::start(TWO);
    let (a, b) = (daemon.worker("a"), daemon.worker("b"));
    send(a, Signal::SIGSTOP);
    let status = daemon.client.status().unwrap();
    assert_eq!(status.networks[0].worker_pid, Some(a));
    assert_eq!(status.networks[0].ports[0].name, "x");
    assert_eq!(status.networks[1].worker_pid, Some(b));
    // The other network works on.
    daemon
        .client
        .add_port("b", &control::PortRequest::default())
        .unwrap();
    send(a, Signal::SIGCONT);
    daemon
        .client
        .add_port("a", &control::PortRequest::default())
        .unwrap();
}

#[test]
fn worker_names_its_network_and_has_no_privileges() {
    let daemon = Daemon::start(TWO);
    let worker = daemon.worker("b");
    let read = |file: &str| fs::read_to_string(format!("/proc/{worker}/{file}")).unwrap();
    assert_eq!(read("comm").trim(), "nb-b");
    assert!(
        read("cmdline").ends_with("\0worker\0b\0"),
        "{:?}",
        read("cmdline")
    );
    let status = read("status");
    for line in [
        "NoNewPrivs:\t1",
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
    ] {
        assert!(status.contains(line), "{status}");
    }
    // It has nothing of the supervisor's and of other networks' (here: no listening socket at all).
    let listening = fs::read_to_string("/proc/net/unix").unwrap();
    let inode = |path: &str| {
        let line = listening.lines().find(|line| line.ends_with(path)).unwrap();
        line.split_whitespace().nth(6).unwrap().to_owned()
    };
    let dir = daemon.runtime_dir();
    let fds = fs::read_dir(format!("/proc/{worker}/fd")).unwrap();
    let targets: Vec<_> = fds
        .map(|fd| fs::read_link(fd.unwrap().path()).unwrap())
        .collect();
    for socket in ["control.sock", "a/x.sock"] {
        let target = format!("socket:[{}]", inode(dir.join(socket).to_str().unwrap()));
        assert!(
            targets.iter().all(|t| t.to_str() != Some(&target)),
            "{socket} in {targets:?}"
        );
    }
}

#[test]
fn tap_port_is_made_survives_its_worker_and_goes_with_the_daemon() {
    let namespace = Namespace::new("daemon");
    let netns = &namespace.0;
    let config = format!(
        "[networks.n]\nmtu = 1400\n[networks.n.ports.t]\nkind = \"tap\"\ninterface = \"nbtap\"\nnetns = {netns:?}\nmac = \"52:54:00:00:00:09\"\n"
    );
    let mut daemon = Daemon::start(&config);
    let shown = ip(&["-n", netns, "link", "show", "nbtap"]).1;
    assert!(
        shown.contains("mtu 1400") && shown.contains("52:54:00:00:00:09"),
        "{shown}"
    );
    let worker = daemon.worker("n");
    send(worker, Signal::SIGKILL);
    wait_for("a new worker with the tap", || {
        let network = daemon.network("n");
        let port = network.ports.first()?;
        let new = network.worker_pid.is_some_and(|pid| pid != worker);
        (new && port.state == PortState::Running).then_some(())
    });
    assert!(ip(&["-n", netns, "link", "show", "nbtap"]).0);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!ip(&["-n", netns, "link", "show", "nbtap"]).0);
}

/// A named network namespace, removed at the end.
pub(crate) struct Namespace(pub(crate) String);

impl Namespace {
    pub(crate) fn new(purpose: &str) -> Self {
        let name = format!("nb-{purpose}-{}", std::process::id());
        assert!(ip(&["netns", "add", &name]).0);
        Self(name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.0]);
    }
}

/// Runs ip(8): whether it succeeded, and its output.
pub(crate) fn ip(args: &[&str]) -> (bool, String) {
    let output = Command::new("ip").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text)
}
