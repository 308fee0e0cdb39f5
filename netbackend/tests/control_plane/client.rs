//! Ports whose front-end listens: the daemon connects, again and again.
use crate::common::{Daemon, netbackend, run, send, wait_for};
use control::{PortKind, PortRequest, PortState};
use nix::sys::signal::Signal;
use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    time::{Duration, Instant},
};

/// vhost-user.rst: GET_FEATURES, version 1, no body.
const GET_FEATURES: [u32; 3] = [1, 1, 0];

fn state(daemon: &Daemon, port: &str) -> PortState {
    let ports = daemon.network("lan").ports;
    ports.iter().find(|p| p.name == port).unwrap().state
}

#[track_caller]
fn wait_state(daemon: &Daemon, wanted: PortState) {
    wait_for(&format!("{wanted}"), || {
        (state(daemon, "a") == wanted).then_some(())
    });
}

/// The next connection of the back-end, which serves it.
#[track_caller]
fn accept(listener: &UnixListener) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let (mut stream, _) = wait_for("a connection", || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let question: Vec<u8> = GET_FEATURES
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    stream.write_all(&question).unwrap();
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..4], GET_FEATURES[0].to_ne_bytes());
    stream
}

fn config(socket: &Path) -> String {
    format!(
        "[networks.lan.ports.a]\nconnect = {:?}\n",
        socket.to_str().unwrap()
    )
}

#[test]
fn daemon_connects_and_reconnects_to_whoever_listens() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("guest.sock");
    let mut daemon = Daemon::start(&config(&socket));
    // Nobody is there: no fault, and it is shown.
    wait_state(&daemon, PortState::Connecting);
    let kind = PortKind::VhostUser {
        socket: socket.clone(),
        client: true,
    };
    assert_eq!(daemon.network("lan").ports[0].kind, kind);
    let listener = UnixListener::bind(&socket).unwrap();
    let first = accept(&listener);
    wait_state(&daemon, PortState::Connected);
    // The same front-end, after it has hung up.
    drop(first);
    let second = accept(&listener);
    // Another worker.
    send(daemon.worker("lan"), Signal::SIGKILL);
    let third = accept(&listener);
    drop(second);
    // The front-end dies and comes back.
    drop((third, listener));
    wait_state(&daemon, PortState::Connecting);
    fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let fourth = accept(&listener);
    // Another daemon.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let daemon = daemon.restart();
    daemon.wait_until_running();
    let fifth = accept(&listener);
    drop(fourth);
    wait_state(&daemon, PortState::Connected);
    drop(fifth);
    assert!(socket.exists(), "the socket is not the daemon's");
}

#[test]
fn front_end_that_hangs_up_at_once_is_not_called_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("guest.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let daemon = Daemon::start(&config(&socket));
    let begun = Instant::now();
    let mut calls = 0;
    listener.set_nonblocking(true).unwrap();
    while begun.elapsed() < Duration::from_secs(3) {
        match listener.accept() {
            Ok(_) => calls += 1,
            Err(_) => std::thread::yield_now(),
        }
    }
    // 10, 20, 40, ... 500 ms: about ten.
    assert!((3..30).contains(&calls), "{calls} connections in 3 s");
    assert_eq!(daemon.network("lan").restarts, 0);
}

#[test]
fn ports_that_connect_come_and_go_at_run_time() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("guest.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let daemon = Daemon::start("[networks.lan]\n");
    let settings = serde_json::json!({ "connect": socket });
    let request = PortRequest {
        name: Some("a".into()),
        settings: settings.as_object().unwrap().clone(),
        ..PortRequest::default()
    };
    let added = daemon.client.add_port("lan", &request).unwrap();
    assert_eq!(added.state, PortState::Connecting);
    let mut stream = accept(&listener);
    let report = daemon.client.reload().unwrap();
    assert_eq!(report.untouched, ["lan"]);
    daemon.client.remove_port("lan", "a").unwrap();
    assert_eq!(
        stream.read(&mut [0; 1]).unwrap(),
        0,
        "the connection ends with its port"
    );
    assert!(socket.exists());
    let status = run(
        &daemon,
        &[
            "port",
            "add",
            "lan",
            "--name",
            "b",
            "--set",
            &format!("connect={}", socket.display()),
        ],
    );
    assert!(status.contains("guest.sock"), "{status}");
    let table = run(&daemon, &["status"]);
    assert!(table.contains("vhost-user to /"), "{table}");
}

#[test]
fn keys_of_listening_ports_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nb.toml");
    for (key, value) in [
        ("socket", "\"/run/x.sock\""),
        ("socket_mode", "\"0600\""),
        ("socket_owner", "0"),
        ("socket_group", "0"),
        ("connect", "\"relative\""),
    ] {
        let connect = if key == "connect" {
            ""
        } else {
            "connect = \"/run/guest.sock\"\n"
        };
        fs::write(
            &file,
            format!("[networks.lan.ports.a]\n{connect}{key} = {value}\n"),
        )
        .unwrap();
        let output = netbackend()
            .arg("check-config")
            .arg(&file)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{key}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            text.contains(&format!("networks.lan.ports.a.{key}")),
            "{text}"
        );
    }
}
