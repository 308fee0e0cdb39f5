//! Reading the configuration again.
use crate::common::{Daemon, output, run, send, wait_for};
use control::{ApiError, ClientError, PortRequest, PortState};
use nix::sys::signal::Signal;
use std::{
    io::{ErrorKind, Read},
    os::unix::net::{UnixListener, UnixStream},
};

const BEFORE: &str = "[networks.same.ports.x]\n[networks.ports.ports.stays]\n[networks.ports.ports.goes]\n\
    [networks.settings]\nmtu = 1500\n[networks.settings.ports.x]\n[networks.goes.ports.x]\n";
const AFTER: &str = "[networks.same.ports.x]\n[networks.ports.ports.stays]\n[networks.ports.ports.comes]\n\
    [networks.settings]\nmtu = 9000\n[networks.settings.ports.x]\n[networks.comes.ports.x]\n";

/// A front-end of a port, served.
fn connect(daemon: &Daemon, network: &str, port: &str) -> UnixStream {
    let path = daemon
        .runtime_dir()
        .join(network)
        .join(format!("{port}.sock"));
    let stream = UnixStream::connect(path).unwrap();
    wait_connected(daemon, network, port);
    stream.set_nonblocking(true).unwrap();
    stream
}

fn wait_connected(daemon: &Daemon, network: &str, port: &str) {
    wait_for("the front-end to be served", || {
        let ports = daemon.network(network).ports;
        let port = ports.into_iter().find(|found| found.name == port)?;
        (port.state == PortState::Connected).then_some(())
    });
}

#[track_caller]
fn assert_connected(mut stream: &UnixStream) {
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[track_caller]
fn refused(daemon: &Daemon) -> ApiError {
    match daemon.client.reload() {
        Err(ClientError::Api(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_differs_is_changed() {
    let daemon = Daemon::start(BEFORE);
    let workers = ["same", "ports", "settings"].map(|network| daemon.worker(network));
    let same = connect(&daemon, "same", "x");
    let stays = connect(&daemon, "ports", "stays");
    let leaves = connect(&daemon, "ports", "goes");
    let _settings = connect(&daemon, "settings", "x");
    daemon.write_config(AFTER);
    let report = daemon.client.reload().unwrap();
    assert_eq!(report.added, ["ports/comes", "comes"]);
    assert_eq!(report.removed, ["goes", "ports/goes"]);
    assert_eq!(report.changed, ["settings"]);
    assert_eq!(report.untouched, ["same"]);
    assert_eq!(report.failed, [""; 0]);
    daemon.wait_until_running();
    assert_connected(&same);
    assert_connected(&stays);
    assert!(matches!((&leaves).read(&mut [0]), Ok(0)));
    assert_eq!(daemon.worker("same"), workers[0]);
    assert_eq!(daemon.worker("ports"), workers[1]);
    assert_ne!(daemon.worker("settings"), workers[2]);
    let settings = daemon.network("settings");
    assert_eq!((settings.mtu, settings.restarts), (9000, 0));
    // The listening socket is the same: a front-end that reconnects is served at once.
    connect(&daemon, "settings", "x");
    connect(&daemon, "comes", "x");
    assert!(!daemon.runtime_dir().join("goes").exists());
    // Once more: nothing differs any more.
    let report = daemon.client.reload().unwrap();
    assert_eq!(report.untouched, ["comes", "ports", "same", "settings"]);
    assert_eq!(
        report.changed.len() + report.added.len() + report.removed.len(),
        0
    );
}

#[test]
fn bad_configuration_changes_nothing_and_says_why() {
    let daemon = Daemon::start(BEFORE);
    let workers = ["same", "ports", "settings", "goes"].map(|network| daemon.worker(network));
    let busy = daemon.dir.path().join("busy.sock");
    let _busy = UnixListener::bind(&busy).unwrap();
    let busy = format!("{AFTER}[networks.comes.ports.busy]\nsocket = {busy:?}\n");
    let elsewhere = format!("control_socket = \"/run/elsewhere.sock\"\n{AFTER}");
    let cases = [
        (
            "[networks.same]\nmtuu = 1\n",
            "nb.toml:2: networks.same.mtuu: unknown key",
        ),
        ("[networks.same\n", "nb.toml:1"),
        (busy.as_str(), "in use by process"),
        (elsewhere.as_str(), "control_socket has changed"),
    ];
    for (config, word) in cases {
        daemon.write_config(config);
        // A command line beats the file, and the tests give no control socket.
        let error = refused(&daemon);
        assert_eq!(error.code, "bad-config", "{error}");
        assert!(error.to_string().contains(word), "{word:?} not in: {error}");
    }
    let found = ["same", "ports", "settings", "goes"].map(|network| daemon.worker(network));
    assert_eq!(found, workers);
    assert!(!daemon.runtime_dir().join("comes").exists());
    assert_eq!(daemon.network("ports").ports.len(), 2);
    // By command: exit code 2, as for a daemon that does not start.
    let output = output(&daemon, &["reload"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    // And the daemon goes on.
    daemon.write_config(AFTER);
    let told = run(&daemon, &["reload"]);
    assert!(told.contains("untouched: same"), "{told}");
}

#[test]
fn sighup_reloads() {
    let daemon = Daemon::start("[networks.a]");
    let worker = daemon.worker("a");
    daemon.write_config("[networks.a]\n[networks.b]");
    daemon.signal(Signal::SIGHUP);
    wait_for("the new network", || daemon.client.network("b").ok());
    assert_eq!(daemon.worker("a"), worker);
    daemon.write_config("[networks.b]\nmode = 7");
    daemon.signal(Signal::SIGHUP);
    wait_for("the refusal", || {
        let log = daemon.log();
        (log.contains("not reloaded") && log.contains("networks.b.mode")).then_some(())
    });
    assert_eq!(daemon.worker("a"), worker);
}

#[test]
fn file_wins_over_run_time_for_what_it_names_and_leases_are_left_alone() {
    let daemon = Daemon::start("[networks.a.ports.x]\n[networks.a.ports.y]");
    let add = |name: &str, lease| {
        let request = PortRequest {
            name: Some(name.into()),
            lease,
            ..PortRequest::default()
        };
        daemon.client.add_port("a", &request).unwrap();
    };
    add("extra", false);
    add("named", false);
    add("leased", true);
    daemon.client.remove_port("a", "x").unwrap();
    let worker = daemon.worker("a");
    let leased = connect(&daemon, "a", "leased");
    let extra = connect(&daemon, "a", "extra");
    daemon.write_config(
        "[networks.a.ports.x]\n[networks.a.ports.y]\n[networks.a.ports.named]\nqueue_pairs = 1\n",
    );
    let report = daemon.client.reload().unwrap();
    assert_eq!(report.added, ["a/x"]);
    assert_eq!(report.changed, ["a/named"]);
    assert!(
        report.warnings[0].starts_with("port a/named was added at run time"),
        "{report:?}"
    );
    assert_connected(&leased);
    assert_connected(&extra);
    assert_eq!(daemon.worker("a"), worker);
    let names: Vec<_> = daemon
        .network("a")
        .ports
        .into_iter()
        .map(|port| port.name)
        .collect();
    assert_eq!(names, ["extra", "leased", "named", "x", "y"]);
    // A port that a guest has on lease cannot be taken by the file.
    daemon.write_config("[networks.a.ports.leased]");
    let error = refused(&daemon);
    assert!(
        error
            .message
            .contains("a/leased is leased to a running guest"),
        "{error}"
    );
    assert_eq!(daemon.network("a").ports.len(), 5);
}

#[test]
fn socket_can_move_from_one_port_to_another() {
    let daemon = Daemon::start("[networks.a.ports.old]\nsocket = \"/tmp/nb-control-move.sock\"");
    daemon.write_config("[networks.b.ports.new]\nsocket = \"/tmp/nb-control-move.sock\"");
    let report = daemon.client.reload().unwrap();
    assert_eq!(
        (report.added, report.removed),
        (vec!["b".into()], vec!["a".into()])
    );
    let _stream = UnixStream::connect("/tmp/nb-control-move.sock").unwrap();
    wait_connected(&daemon, "b", "new");
}

#[test]
fn hanging_worker_is_replaced_by_a_change_of_its_settings() {
    let daemon = Daemon::start("[networks.a.ports.x]");
    let worker = daemon.worker("a");
    send(worker, Signal::SIGSTOP);
    daemon.write_config("[networks.a]\nmtu = 9000\n[networks.a.ports.x]");
    let report = daemon.client.reload().unwrap();
    assert_eq!(
        (report.changed, report.failed),
        (vec!["a".into()], Vec::new())
    );
    daemon.wait_until_running();
    assert_ne!(daemon.worker("a"), worker);
    connect(&daemon, "a", "x");
}
