//! Ports at run time: names, conflicts, leases.
use crate::common::{Daemon, send, wait_for};
use control::{ApiError, Client, ClientError, PortKind, PortRequest, PortStatus};
use nix::sys::signal::Signal;
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

fn named(name: &str) -> PortRequest {
    PortRequest {
        name: Some(name.into()),
        ..PortRequest::default()
    }
}

fn socket(port: &PortStatus) -> PathBuf {
    match &port.kind {
        PortKind::VhostUser { socket, .. } => socket.clone(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ApiError {
    match result {
        Err(ClientError::Api(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn names(daemon: &Daemon, network: &str) -> Vec<String> {
    let ports = daemon.network(network).ports;
    ports.into_iter().map(|port| port.name).collect()
}

#[test]
fn ports_come_and_go_and_names_are_used_again() {
    let daemon = Daemon::start("");
    let add = |request: &PortRequest| daemon.client.add_port("default", request).unwrap();
    let any = PortRequest::default();
    let ports = [add(&any), add(&any), add(&named("p2")), add(&any)];
    let found: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
    assert_eq!(found, ["p0", "p1", "p2", "p3"]);
    for port in &ports {
        UnixStream::connect(socket(port)).unwrap();
    }
    daemon.client.remove_port("default", "p1").unwrap();
    assert!(!socket(&ports[1]).exists());
    assert_eq!(names(&daemon, "default"), ["p0", "p2", "p3"]);
    assert_eq!(add(&any).name, "p1");
    UnixStream::connect(socket(&ports[1])).unwrap();
    let error = refused(daemon.client.remove_port("default", "p9"));
    assert_eq!(error.code, "no-such-port");
}

#[test]
fn removed_port_cuts_its_front_end_off() {
    let daemon = Daemon::start("");
    let port = daemon.client.add_port("default", &named("x")).unwrap();
    let front_end = UnixStream::connect(socket(&port)).unwrap();
    wait_for("the front-end to be served", || {
        let ports = daemon.network("default").ports;
        (ports[0].state == control::PortState::Connected).then_some(())
    });
    daemon.client.remove_port("default", "x").unwrap();
    // It is closed already when the answer comes.
    front_end.set_nonblocking(true).unwrap();
    let mut byte = [0];
    let end = std::io::Read::read(&mut &front_end, &mut byte);
    assert!(matches!(end, Ok(0)), "{end:?}");
}

#[test]
fn new_port_waits_for_the_old_one_of_its_name_to_close() {
    let daemon = Daemon::start("");
    let old = daemon.client.add_port("default", &named("x")).unwrap();
    let worker = daemon.worker("default");
    send(worker, Signal::SIGSTOP);
    let client = daemon.client.clone();
    let remove = thread::spawn(move || client.remove_port("default", "x"));
    wait_for("the removal to begin", || {
        (!socket(&old).exists()).then_some(())
    });
    // It is not refused; and as it was given up, it is not made later.
    let impatient = daemon
        .client
        .clone()
        .with_timeout(Duration::from_millis(100));
    let error = impatient.add_port("default", &named("x")).unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    send(worker, Signal::SIGCONT);
    remove.join().unwrap().unwrap();
    let add = || daemon.client.add_port("default", &named("x")).ok();
    let new = wait_for("the new port", add);
    UnixStream::connect(socket(&new)).unwrap();
    assert_eq!(names(&daemon, "default"), ["x"]);
}

#[test]
fn wrong_requests_are_refused_with_a_code_and_a_remedy() {
    let daemon = Daemon::start("[networks.n]\n[networks.n.ports.a]\nmac = \"52:54:00:00:00:01\"\n");
    let mac = |mac: &str| PortRequest {
        mac: Some(mac.into()),
        ..PortRequest::default()
    };
    let queue_pairs = |queue_pairs| PortRequest {
        queue_pairs: Some(queue_pairs),
        ..PortRequest::default()
    };
    let cases = [
        ("x", named("b"), "no-such-network", "use one of: n"),
        ("n", named("a"), "port-exists", "choose another name"),
        ("n", named("../a"), "bad-request", "letters, digits"),
        ("n", named(""), "bad-request", "letters, digits"),
        (
            "n",
            mac("52:54:00:00:00:01"),
            "conflict",
            "choose another address",
        ),
        ("n", mac("01:00:00:00:00:01"), "bad-request", "unicast"),
        (
            "n",
            mac("nonsense"),
            "bad-request",
            "six hexadecimal octets",
        ),
        ("n", queue_pairs(0), "bad-request", "1 to 128"),
        ("n", queue_pairs(129), "bad-request", "1 to 128"),
    ];
    for (network, request, code, remedy) in cases {
        let error = refused(daemon.client.add_port(network, &request));
        assert_eq!(error.code, code, "{error}");
        let found = error.remedy.clone().unwrap_or_default();
        assert!(found.contains(remedy), "{error}");
    }
    assert_eq!(names(&daemon, "n"), ["a"]);
}

#[test]
fn passthrough_takes_one_guest() {
    let daemon = Daemon::start(
        "[networks.n]\nmode = \"passthrough\"\n[networks.n.ports.up]\nuplink = true\n",
    );
    daemon.client.add_port("n", &named("guest")).unwrap();
    let error = refused(daemon.client.add_port("n", &named("second")));
    assert_eq!(error.code, "conflict");
    assert!(error.message.contains("port guest"), "{error}");
    daemon.client.remove_port("n", "guest").unwrap();
    daemon.client.add_port("n", &named("second")).unwrap();
}

#[test]
fn many_ports_are_reported_in_full() {
    let daemon = Daemon::start("");
    for _ in 0..40 {
        daemon
            .client
            .add_port("default", &PortRequest::default())
            .unwrap();
    }
    let ports = daemon.network("default").ports;
    assert_eq!(ports.len(), 40);
    let missing = |port: &&PortStatus| !socket(port).exists();
    assert_eq!(ports.iter().find(missing), None);
}

#[test]
fn leased_port_goes_with_its_process_and_others_stay() {
    let daemon = Daemon::start("");
    daemon.client.add_port("default", &named("stays")).unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["ports::lease_holder", "--exact", "--ignored", "--nocapture"])
        .env("LEASE_SOCKET", daemon.client.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(owner.stdout.take().unwrap());
    let mut lines = output.lines().map(Result::unwrap);
    assert!(
        lines.any(|line| line.ends_with("leased")),
        "the owner has its port"
    );
    assert_eq!(names(&daemon, "default"), ["leased", "stays"]);
    let path = daemon.runtime_dir().join("default/leased.sock");
    assert!(path.exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_for("the port to go", || {
        (names(&daemon, "default") == ["stays"]).then_some(())
    });
    assert!(!path.exists());
    daemon.client.add_port("default", &named("leased")).unwrap();
}

#[test]
#[ignore = "the process that leased_port_goes_with_its_process_and_others_stay starts"]
fn lease_holder() {
    let socket = std::env::var_os("LEASE_SOCKET").expect("started by the other test");
    let request = PortRequest {
        lease: true,
        ..named("leased")
    };
    let port = Client::new(socket).add_port("default", &request).unwrap();
    println!("\n{}", port.name);
    std::io::stdout().flush().unwrap();
    // Until killed, or until the other test is gone.
    std::io::stdin().lines().for_each(drop);
}
