//! The daemon's life: start, stop, sockets, workers.
use crate::common::{Daemon, files, is_alive, netbackend, send, wait_for};
use control::{Client, Mode, PortKind, PortState, Status};
use nix::sys::signal::Signal;
use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
};

const TWO: &str = "[networks.a.ports.x]\n[networks.b]\nmode = \"private\"\nmtu = 9000\n";

#[test]
fn status_tells_networks_and_ports() {
    let daemon = Daemon::start(TWO);
    let status = daemon.client.status().unwrap();
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.pid, daemon.pid());
    let [a, b] = &status.networks[..] else {
        panic!("{status:?}");
    };
    assert_eq!((a.name.as_str(), a.mode, a.mtu), ("a", Mode::Bridge, 1500));
    assert_eq!((b.name.as_str(), b.mode, b.mtu), ("b", Mode::Private, 9000));
    assert_ne!(a.worker_pid, b.worker_pid);
    let [port] = &a.ports[..] else {
        panic!("{a:?}");
    };
    let socket = daemon.runtime_dir().join("a/x.sock");
    assert_eq!(
        port.kind,
        PortKind::VhostUser {
            socket: socket.clone(),
            client: false,
        }
    );
    assert_eq!(port.state, PortState::Listening);
    assert!(b.ports.is_empty());
    // Others may not connect, whatever the umask.
    let mode = fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // A warning of the configuration is logged.
    assert!(
        daemon.log().contains("nb.toml:3: networks.b.mode"),
        "{}",
        daemon.log()
    );
}

#[test]
fn status_command_prints_a_table_and_json() {
    let daemon = Daemon::start(TWO);
    let run = |args: &[&str]| {
        let output = netbackend()
            .args([
                "--control-socket".as_ref(),
                daemon.client.socket().as_os_str(),
            ])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let table = run(&["status"]);
    assert!(
        table.contains("network a: bridge, mtu 1500, running"),
        "{table}"
    );
    assert!(table.contains("a/x.sock"), "{table}");
    let json: Status = serde_json::from_str(&run(&["status", "--json"])).unwrap();
    assert_eq!(json.pid, daemon.pid());
    assert_eq!(json.networks.len(), 2);
    let added = run(&["port", "add", "b", "--mac", "52:54:00:00:00:07"]);
    let socket = daemon.runtime_dir().join("b/p0.sock");
    assert_eq!(added, format!("p0 {}\n", socket.display()));
    assert!(run(&["status"]).contains("52:54:00:00:00:07"));
    run(&["port", "remove", "b", "p0"]);
    assert!(!socket.exists());
}

#[test]
fn without_configuration_there_is_one_default_network() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = netbackend()
        .args(["--runtime-dir".as_ref(), dir.path().as_os_str()])
        .spawn()
        .unwrap();
    let client = Client::new(dir.path().join("control.sock"));
    let status = wait_for("the daemon", || client.status().ok());
    send(child.id(), Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
    let [network] = &status.networks[..] else {
        panic!("{status:?}");
    };
    assert_eq!(
        (network.name.as_str(), network.mode),
        ("default", Mode::Nat)
    );
}

#[test]
fn signals_stop_it_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Daemon::start(TWO);
        let workers = [daemon.worker("a"), daemon.worker("b")];
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "{signal}");
        assert_eq!(
            files(&daemon.runtime_dir()),
            [daemon.runtime_dir().join("lock")]
        );
        assert!(!daemon.runtime_dir().join("a").exists());
        for worker in workers {
            assert!(!is_alive(worker), "{signal}: worker {worker} lives");
        }
        assert!(daemon.log().contains("stopped"), "{}", daemon.log());
    }
}

#[test]
fn hanging_worker_does_not_keep_it_from_stopping() {
    let mut daemon = Daemon::start(TWO);
    let worker = daemon.worker("a");
    send(worker, Signal::SIGSTOP);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!is_alive(worker));
    assert_eq!(
        files(&daemon.runtime_dir()),
        [daemon.runtime_dir().join("lock")]
    );
}

#[test]
fn second_signal_stops_it_at_once() {
    let mut daemon = Daemon::start(TWO);
    let worker = daemon.worker("a");
    send(worker, Signal::SIGSTOP);
    daemon.signal(Signal::SIGTERM);
    wait_for("the stop to begin", || {
        daemon.log().contains("stopping").then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(1));
    // Not even a stopped worker outlives it.
    wait_for("the worker to end", || (!is_alive(worker)).then_some(()));
}

#[test]
fn killed_daemon_takes_its_workers_along_and_its_successor_takes_over() {
    let mut daemon = Daemon::start(TWO);
    let workers = [daemon.worker("a"), daemon.worker("b")];
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    for worker in workers {
        wait_for("the worker to end", || (!is_alive(worker)).then_some(()));
    }
    let stale = daemon.runtime_dir().join("a/x.sock");
    assert!(fs::metadata(&stale).unwrap().file_type().is_socket());
    assert!(UnixStream::connect(&stale).is_err());
    let dir = std::mem::replace(&mut daemon.dir, tempfile::tempdir().unwrap());
    fs::write(daemon.dir.path().join("log"), "").unwrap();
    let next = Daemon::spawn(dir, TWO);
    next.wait_until_running();
    UnixStream::connect(&stale).unwrap();
    assert!(next.log().contains("left behind"), "{}", next.log());
}

#[test]
fn second_daemon_is_told_of_the_first() {
    let daemon = Daemon::start(TWO);
    let output = netbackend()
        .args(["--runtime-dir".as_ref(), daemon.runtime_dir().as_os_str()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    let owner = format!("another netbackend (pid {})", daemon.pid());
    assert!(error.contains(&owner), "{error}");
    assert_eq!(daemon.client.status().unwrap().pid, daemon.pid());
}

#[test]
fn port_socket_of_a_living_process_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("busy.sock");
    let _busy = UnixListener::bind(&socket).unwrap();
    let config = format!(
        "[networks.n.ports.p]\nsocket = {:?}",
        socket.to_str().unwrap()
    );
    let mut daemon = Daemon::spawn(dir, &config);
    assert_eq!(daemon.wait().code(), Some(1));
    let log = daemon.log();
    assert!(log.contains("open port p of network n"), "{log}");
    assert!(
        log.contains(&format!("process {}", std::process::id())),
        "{log}"
    );
}

/// A hundred guests take about a thousand descriptors; the usual soft limit is 1024.
#[test]
fn limit_of_open_files_is_raised_for_daemon_and_workers() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -S -n 64; exec \"$0\" \"$@\"",
            crate::common::PROGRAM,
        ])
        .args(["--runtime-dir".as_ref(), dir.path().as_os_str()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let client = Client::new(dir.path().join("control.sock"));
    let worker = wait_for("the daemon", || client.network("default").ok()?.worker_pid);
    let limits = [child.id(), worker].map(|pid| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let words = line.unwrap().split_whitespace().map(str::to_owned);
        words.skip(3).take(2).collect::<Vec<_>>()
    });
    for port in 0..100 {
        let request = control::PortRequest::default();
        let added = client.add_port("default", &request);
        assert!(added.is_ok(), "port {port}: {added:?}");
    }
    send(child.id(), Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
    for limit in limits {
        assert_eq!(limit[0], limit[1], "soft and hard");
        assert_ne!(limit[0], "64");
    }
}
