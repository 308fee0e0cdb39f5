//! Networks at run time, and what is left of changes after a restart.
use crate::{
    common::{Daemon, files, run, wait_for},
    workers::{Namespace, ip},
};
use control::{ApiError, ClientError, NetworkRequest, PortRequest, PortState};
use nix::sys::signal::Signal;
use serde_json::json;
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream,
    },
};

fn request(name: &str, settings: serde_json::Value) -> NetworkRequest {
    NetworkRequest {
        name: name.into(),
        settings: serde_json::from_value(settings).unwrap(),
    }
}

fn port(name: &str) -> PortRequest {
    PortRequest {
        name: Some(name.into()),
        ..PortRequest::default()
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ApiError {
    match result {
        Err(ClientError::Api(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn names(daemon: &Daemon) -> Vec<String> {
    let status = daemon.client.status().unwrap();
    let names = status.networks.iter().flat_map(|network| {
        let ports = network.ports.iter();
        let ports = ports.map(|port| format!("{}/{}", network.name, port.name));
        [network.name.clone()].into_iter().chain(ports)
    });
    names.collect()
}

#[test]
fn network_is_added_used_and_removed_and_others_are_not_touched() {
    let daemon = Daemon::start("[networks.a.ports.x]");
    let worker = daemon.worker("a");
    let settings =
        json!({ "mode": "private", "mtu": 9000, "ports": { "p": { "queue_pairs": 2 } } });
    let added = daemon
        .client
        .add_network(&request("lab", settings))
        .unwrap();
    assert_eq!((added.mode, added.mtu), (control::Mode::Private, 9000));
    assert_eq!(added.state, control::NetworkState::Running);
    let socket = daemon.runtime_dir().join("lab/p.sock");
    let _front_end = UnixStream::connect(&socket).unwrap();
    wait_for("the front-end to be served", || {
        let port = daemon.network("lab").ports.remove(0);
        (port.state == PortState::Connected).then_some(())
    });
    daemon.client.add_port("lab", &port("q")).unwrap();
    assert_eq!(names(&daemon), ["a", "a/x", "lab", "lab/p", "lab/q"]);
    daemon.client.remove_network("lab").unwrap();
    assert_eq!(names(&daemon), ["a", "a/x"]);
    assert!(!daemon.runtime_dir().join("lab").exists());
    assert_eq!(daemon.worker("a"), worker);
    // Its name is free again.
    daemon
        .client
        .add_network(&request("lab", json!({})))
        .unwrap();
}

#[test]
fn wrong_networks_are_refused_with_key_and_remedy() {
    let daemon = Daemon::start("[networks.a.ports.x]");
    let taken = daemon.runtime_dir().join("a/x.sock");
    let cases = [
        ("a", json!({}), "network-exists", "choose another name"),
        ("../b", json!({}), "bad-request", "letters, digits"),
        (
            "b",
            json!({ "mtuu": 9000 }),
            "bad-request",
            "did you mean `mtu`?",
        ),
        ("b", json!({ "mtu": 1 }), "bad-request", "68 to 65535"),
        ("b", json!({ "mtu": null }), "bad-request", "null"),
        (
            "b",
            json!({ "mode": "nat", "gateway": "10.0.3.1" }),
            "bad-request",
            "an address of the subnet",
        ),
        (
            "b",
            json!({ "mode": "passthrough" }),
            "bad-request",
            "uplink = true",
        ),
        (
            "b",
            json!({ "ports": { "p": { "socket": taken } } }),
            "bad-request",
            "choose another socket",
        ),
        (
            "b",
            json!({ "ports": { "p": { "kind": "tap", "interface": "nbt", "netns": "nb-none" } } }),
            "unavailable",
            "ip netns add nb-none",
        ),
    ];
    for (name, settings, code, word) in cases {
        let error = refused(daemon.client.add_network(&request(name, settings)));
        assert_eq!(error.code, code, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(names(&daemon), ["a", "a/x"]);
    assert!(!daemon.runtime_dir().join("b").exists());
    let error = refused(daemon.client.remove_network("b"));
    assert_eq!(error.code, "no-such-network");
}

#[test]
fn changes_survive_a_restart_and_a_crash() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut daemon = Daemon::start("[networks.a.ports.x]\n[networks.a.ports.y]\n[networks.b]");
        let client = daemon.client.clone();
        client
            .add_network(&request("lab", json!({ "mtu": 9000 })))
            .unwrap();
        client.add_port("lab", &port("p")).unwrap();
        let added = PortRequest {
            mac: Some("52:54:00:00:00:0a".into()),
            ..PortRequest::default()
        };
        client.add_port("a", &added).unwrap();
        client.remove_port("a", "x").unwrap();
        client.remove_network("b").unwrap();
        daemon.signal(signal);
        daemon.wait();
        let daemon = daemon.restart();
        daemon.wait_until_running();
        assert_eq!(
            names(&daemon),
            ["a", "a/p0", "a/y", "lab", "lab/p"],
            "{signal}"
        );
        assert_eq!(daemon.network("lab").mtu, 9000);
        let mac = daemon.network("a").ports.remove(0).mac;
        assert_eq!(mac.as_deref(), Some("52:54:00:00:00:0a"));
        // All that is undone leaves nothing behind.
        daemon.client.remove_network("lab").unwrap();
        daemon.client.remove_port("a", "p0").unwrap();
        daemon.client.reload().unwrap();
        assert!(!daemon.runtime_dir().join("state.json").exists());
    }
}

#[test]
fn state_that_is_not_understood_or_does_not_fit_does_not_keep_it_from_starting() {
    let mut daemon = Daemon::start("[networks.a]");
    let request = PortRequest {
        mac: Some("52:54:00:00:00:0a".into()),
        ..port("p")
    };
    daemon.client.add_port("a", &request).unwrap();
    daemon.client.add_port("a", &port("q")).unwrap();
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    daemon.write_config("[networks.a.ports.x]\nmac = \"52:54:00:00:00:0a\"");
    let mut daemon = daemon.restart();
    daemon.wait_until_running();
    assert_eq!(names(&daemon), ["a", "a/q", "a/x"]);
    let log = daemon.log();
    assert!(
        log.contains("port a/p, added at run time, is given up"),
        "{log}"
    );
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    fs::write(daemon.runtime_dir().join("state.json"), "{").unwrap();
    let daemon = daemon.restart();
    daemon.wait_until_running();
    assert_eq!(names(&daemon), ["a", "a/x"]);
    assert!(daemon.runtime_dir().join("state.json.bad").exists());
}

#[test]
fn any_key_of_the_configuration_can_be_set_by_command() {
    let daemon = Daemon::start("");
    let run = |args: &[&str]| run(&daemon, args);
    let shown = run(&[
        "network",
        "add",
        "lab",
        "--mode",
        "bridge",
        "--mtu",
        "1400",
        "--set",
        "ageing=60s",
    ]);
    assert!(
        shown.contains("network lab: bridge, mtu 1400, running"),
        "{shown}"
    );
    let added = run(&[
        "port",
        "add",
        "lab",
        "--name",
        "p",
        "--set",
        "socket_mode=\"0666\"",
    ]);
    let socket = daemon.runtime_dir().join("lab/p.sock");
    assert_eq!(added, format!("p {}\n", socket.display()));
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o666
    );
    let list = run(&["network", "list"]);
    let rows: Vec<_> = list
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(rows, ["NETWORK", "default", "lab"]);
    let ports = run(&["port", "list", "lab"]);
    assert!(ports.contains("lab/p.sock"), "{ports}");
    let shown = run(&["port", "show", "lab", "p"]);
    for word in [
        "port lab/p: listening",
        "RX0",
        "TX0",
        "1024-1518",
        "calls suppressed",
        "dropped",
    ] {
        assert!(shown.contains(word), "no {word} in {shown}");
    }
    let json: control::PortDetail =
        serde_json::from_str(&run(&["port", "show", "lab", "p", "--json"])).unwrap();
    assert_eq!((json.port.name.as_str(), json.queues.len()), ("p", 2));
    run(&["network", "remove", "lab"]);
    assert!(!socket.exists());
}

#[test]
fn sockets_have_the_mode_and_owner_that_are_configured() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED sockets_have_the_mode_and_owner_that_are_configured: chown needs root");
        return;
    }
    let daemon = Daemon::start(
        "control_socket_mode = \"0600\"\ncontrol_socket_owner = 12345\n\
         [networks.a]\nsocket_group = \"daemon\"\nsocket_mode = \"0620\"\n\
         [networks.a.ports.x]\n[networks.a.ports.y]\nsocket_owner = \"nobody\"\nsocket_mode = \"0666\"\n",
    );
    daemon.client.add_port("a", &port("z")).unwrap();
    let group = nix::unistd::Group::from_name("daemon").unwrap().unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (group, nobody) = (group.gid.as_raw(), nobody.uid.as_raw());
    let found = |name: &str| {
        let found = fs::metadata(daemon.runtime_dir().join(name)).unwrap();
        (found.mode() & 0o777, found.uid(), found.gid())
    };
    assert_eq!(found("control.sock"), (0o600, 12345, 0));
    assert_eq!(found("a/x.sock"), (0o620, 0, group));
    assert_eq!(found("a/y.sock"), (0o666, nobody, group));
    assert_eq!(found("a/z.sock"), (0o620, 0, group));
}

#[test]
fn health_tells_monitoring_by_its_exit_code() {
    let daemon = Daemon::start("[networks.a]\n[networks.b]");
    let health = daemon.client.health().unwrap();
    assert!(health.healthy, "{health:?}");
    assert_eq!((health.networks, health.networks_running), (2, 2));
    assert!(run(&daemon, &["health"]).starts_with("healthy: 2 of 2 networks"));
    let worker = daemon.worker("a");
    crate::common::send(worker, Signal::SIGSTOP);
    let output = crate::common::output(&daemon, &["health"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("problem: the worker of network a does not answer"),
        "{text}"
    );
    crate::common::send(worker, Signal::SIGKILL);
    wait_for("it to be healthy again", || {
        let health = daemon.client.health().unwrap();
        (health.healthy && health.worker_restarts == 1 && health.notes.len() == 1).then_some(())
    });
    // What was said is kept for people.
    let status = run(&daemon, &["status"]);
    assert!(
        status.contains("last fault: it was ended by signal 9"),
        "{status}"
    );
    assert_eq!(files(&daemon.runtime_dir()).len(), 2);
}

#[test]
fn taps_come_at_run_time_survive_restarts_and_follow_the_mtu() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED taps_come_at_run_time_survive_restarts_and_follow_the_mtu: needs root");
        return;
    }
    let namespace = Namespace::new("run-time");
    let netns = &namespace.0;
    let shown = || ip(&["-n", netns, "link", "show", "nbt"]).1;
    let mut daemon = Daemon::start("[networks.a]\nmtu = 1400\n[networks.b]");
    let tap = |network: &str| {
        let set = format!("netns={netns}");
        let args = ["port", "add", network, "--name", "t", "--set", "kind=tap"];
        let more = [
            "--set",
            "interface=nbt",
            "--set",
            &set,
            "--set",
            "uplink=true",
        ];
        crate::common::output(&daemon, &[&args[..], &more[..]].concat())
    };
    let added = tap("a");
    assert!(added.status.success(), "{added:?}");
    assert!(shown().contains("mtu 1400"), "{}", shown());
    // Another network cannot have it: it would join the interface as one more queue.
    let refused = tap("b");
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("nbt belongs to port a/t"), "{error}");
    let second = PortRequest {
        settings: serde_json::from_value(json!({ "uplink": true })).unwrap(),
        ..port("u")
    };
    let error = self::refused(daemon.client.add_port("a", &second));
    assert!(error.message.contains("has its uplink: port t"), "{error}");
    daemon.write_config("[networks.a]\nmtu = 1300\n[networks.b]");
    let report = daemon.client.reload().unwrap();
    assert_eq!(report.changed, ["a"], "{report:?}");
    daemon.wait_until_running();
    assert!(shown().contains("mtu 1300"), "{}", shown());
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let daemon = daemon.restart();
    daemon.wait_until_running();
    let port = daemon.network("a").ports.remove(0);
    assert!(port.uplink && port.state == PortState::Running, "{port:?}");
    assert!(shown().contains("mtu 1300"), "{}", shown());
    daemon.client.remove_network("a").unwrap();
    assert_eq!(shown(), "");
}

#[test]
fn lease_outlives_the_daemon_but_not_its_process() {
    let holder = |daemon: &Daemon, name: &str| {
        let path = daemon.client.socket().to_owned();
        let body = format!("{{\"name\": \"{name}\", \"lease\": true}}");
        std::process::Command::new("curl")
            .args(["--silent", "--unix-socket"])
            .arg(path)
            .args([
                "--data",
                &body,
                "http://localhost/v1/networks/default/ports",
            ])
            // It stays, for it waits for the end of another request that never comes.
            .args(["--next", "--unix-socket"])
            .arg(daemon.dir.path().join("silent.sock"))
            .arg("http://localhost/")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut daemon = Daemon::start("");
    let _silent =
        std::os::unix::net::UnixListener::bind(daemon.dir.path().join("silent.sock")).unwrap();
    let mut stays = holder(&daemon, "stays");
    let mut ends = holder(&daemon, "ends");
    let all = ["default", "default/ends", "default/stays"];
    wait_for("the ports", || (names(&daemon) == all).then_some(()));
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    ends.kill().unwrap();
    ends.wait().unwrap();
    let mut daemon = daemon.restart();
    daemon.wait_until_running();
    assert_eq!(names(&daemon), ["default", "default/stays"]);
    UnixStream::connect(daemon.runtime_dir().join("default/stays.sock")).unwrap();
    // It is a lease as before.
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let daemon = daemon.restart();
    daemon.wait_until_running();
    assert_eq!(names(&daemon), ["default", "default/stays"]);
    stays.kill().unwrap();
    stays.wait().unwrap();
    wait_for("the end of the lease", || {
        (names(&daemon) == ["default"]).then_some(())
    });
}

#[test]
fn port_that_its_worker_does_not_let_go_stays_away_after_a_restart() {
    let mut daemon = Daemon::start("[networks.a.ports.x]\n[networks.a.ports.y]");
    crate::common::send(daemon.worker("a"), Signal::SIGSTOP);
    let error = refused(daemon.client.remove_port("a", "x"));
    assert_eq!(error.code, "unavailable");
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let daemon = daemon.restart();
    daemon.wait_until_running();
    assert_eq!(names(&daemon), ["a", "a/y"]);
}

#[test]
fn policies_of_ports_come_at_run_time_and_depend_on_the_mode() {
    let mut daemon = Daemon::start("[networks.a]\n[networks.p]\nmode = \"private\"");
    let request = PortRequest {
        mac: Some("52:54:00:00:00:0a".into()),
        settings: serde_json::from_value(json!({ "isolated": true, "anti_spoofing": true }))
            .unwrap(),
        ..port("x")
    };
    daemon.client.add_port("a", &request).unwrap();
    let error = refused(daemon.client.add_port("p", &request));
    assert!(error.message.contains("isolated"), "{error}");
    let policy = |daemon: &Daemon| daemon.network("a").ports.remove(0).policy;
    let before = policy(&daemon);
    assert!(before.isolated && before.anti_spoofing);
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let daemon = daemon.restart();
    daemon.wait_until_running();
    assert_eq!(policy(&daemon), before);
    let report = daemon.client.reload().unwrap();
    assert_eq!(report.untouched, ["a", "p"]);
}
