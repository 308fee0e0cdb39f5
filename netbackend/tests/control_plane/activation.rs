//! Sockets of a service manager, and what it is told. The tests play the service manager.
use crate::common::{Daemon, PROGRAM, send, wait_for};
use control::{Client, PortKind, PortRequest, PortState};
use nix::sys::signal::Signal;
use std::{
    fs::{self, File},
    io::Read,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Moves the two sockets from standard input and output to where a service manager has them.
const SCRIPT: &str = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; \
    export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$0\" \"$@\"";

struct Manager {
    dir: TempDir,
    control: UnixListener,
    port: UnixListener,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listen = |name| UnixListener::bind(dir.path().join(name)).unwrap();
        let (control, port) = (listen("control"), listen("web"));
        fs::write(
            dir.path().join("nb.toml"),
            "[networks.lan.ports.web]\n[networks.lan.ports.db]\n",
        )
        .unwrap();
        Self { dir, control, port }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self, names: &str, environment: &[(&str, &str)]) -> Child {
        let fd =
            |listener: &UnixListener| Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
        Command::new("sh")
            .args(["-c", SCRIPT, PROGRAM, "--config"])
            .arg(self.path("nb.toml"))
            .arg("--runtime-dir")
            .arg(self.path("rt"))
            .env("LISTEN_FDNAMES", names)
            .envs(environment.iter().copied())
            .stdin(fd(&self.control))
            .stdout(fd(&self.port))
            .stderr(File::create(self.path("log")).unwrap())
            .spawn()
            .unwrap()
    }

    fn client(&self) -> Client {
        Client::new(self.path("control"))
    }

    #[track_caller]
    fn wait_connected(&self) -> u32 {
        wait_for("the front-end to be served", || {
            let status = self.client().status().ok()?;
            let mut ports = status.networks.first()?.ports.iter();
            let web = ports.find(|port| port.name == "web")?;
            (web.state == PortState::Connected).then_some(status.pid)
        })
    }
}

fn end(mut child: Child, signal: Signal) {
    send(child.id(), signal);
    child.wait().unwrap();
}

#[test]
fn front_ends_resume_after_the_daemon_was_killed_without_ever_being_refused() {
    let manager = Manager::new();
    let web = manager.path("web");
    let mut child = manager.start("control:lan/web", &[]);
    let mut front_end = UnixStream::connect(&web).unwrap();
    for _ in 0..5 {
        let pid = manager.wait_connected();
        assert_eq!(pid, child.id());
        end(child, Signal::SIGKILL);
        // It notices, and connects again while there is nobody.
        front_end
            .set_read_timeout(Some(Duration::from_secs(15)))
            .unwrap();
        assert!(matches!(front_end.read(&mut [0]), Ok(0)));
        front_end = UnixStream::connect(&web).unwrap();
        // Requests wait as well.
        let client = manager.client();
        let asked = thread::spawn(move || client.status());
        child = manager.start("control:lan/web", &[]);
        assert_eq!(asked.join().unwrap().unwrap().pid, child.id());
    }
    manager.wait_connected();
    // Sockets that are not handed over are made as ever; those that are, are told as they are.
    let network = manager.client().network("lan").unwrap();
    let sockets: Vec<_> = network.ports.into_iter().map(|port| port.kind).collect();
    let socket = |socket| PortKind::VhostUser {
        socket,
        client: false,
    };
    assert_eq!(
        sockets,
        [socket(manager.path("rt/lan/db.sock")), socket(web.clone())]
    );
    let environment = fs::read_to_string(manager.path("log")).unwrap();
    assert!(
        !environment.contains("WARN the service manager"),
        "{environment}"
    );
    end(child, Signal::SIGTERM);
    // They belong to the service manager.
    assert!(web.exists() && manager.path("control").exists());
    UnixStream::connect(&web).unwrap();
}

#[test]
fn sockets_without_names_are_found_by_their_paths() {
    let manager = Manager::new();
    let config = format!(
        "control_socket = {:?}\n[networks.lan.ports.web]\nsocket = {:?}\n",
        manager.path("control"),
        manager.path("web")
    );
    fs::write(manager.path("nb.toml"), config).unwrap();
    let child = manager.start("netbackend.socket:netbackend.socket", &[]);
    let _front_end = UnixStream::connect(manager.path("web")).unwrap();
    manager.wait_connected();
    end(child, Signal::SIGTERM);
}

#[test]
fn port_is_removed_and_added_again_on_its_inherited_socket() {
    let manager = Manager::new();
    let child = manager.start("control:lan/web", &[]);
    let client = manager.client();
    wait_for("the daemon", || client.status().ok());
    client.remove_port("lan", "web").unwrap();
    let _waits = UnixStream::connect(manager.path("web")).unwrap();
    let request = PortRequest {
        name: Some("web".into()),
        ..PortRequest::default()
    };
    client.add_port("lan", &request).unwrap();
    manager.wait_connected();
    end(child, Signal::SIGTERM);
}

#[test]
fn what_is_no_listening_socket_is_told() {
    let manager = Manager::new();
    let (connected, _other) = UnixStream::pair().unwrap();
    let mut command = Command::new("sh");
    let output = command
        .args(["-c", SCRIPT, PROGRAM, "--runtime-dir"])
        .arg(manager.path("rt"))
        .env("LISTEN_FDNAMES", "control:lan/web")
        .stdin(OwnedFd::from(connected))
        .stdout(OwnedFd::from(manager.port.try_clone().unwrap()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("\"control\"") && error.contains("Accept=no"),
        "{error}"
    );
}

#[test]
fn service_manager_is_told_of_start_reload_and_stop_and_fed() {
    let manager = Manager::new();
    let notify = UnixDatagram::bind(manager.path("notify")).unwrap();
    notify
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let receive = || {
        let mut message = [0; 4096];
        let len = notify.recv(&mut message).unwrap();
        String::from_utf8(message[..len].to_vec()).unwrap()
    };
    let next = || loop {
        let message = receive();
        if message != "WATCHDOG=1" {
            return message;
        }
    };
    let path = manager.path("notify");
    let environment = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "200000"),
    ];
    let child = manager.start("control:lan/web", &environment);
    assert!(next().starts_with("READY=1"));
    // Ready means that workers run.
    let status = manager.client().status().unwrap();
    let worker = status.networks[0].worker_pid.unwrap();
    let inherited = fs::read_to_string(format!("/proc/{worker}/environ")).unwrap();
    for name in ["LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_"] {
        assert!(!inherited.contains(name), "{name} in {inherited:?}");
    }
    assert_eq!(receive(), "WATCHDOG=1");
    send(child.id(), Signal::SIGHUP);
    let reloading = next();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(next().starts_with("READY=1"));
    send(child.id(), Signal::SIGTERM);
    assert_eq!(next(), "STOPPING=1");
    end(child, Signal::SIGCONT);
}

#[test]
fn sockets_that_are_meant_for_others_are_not_taken() {
    let daemon = Daemon::start_with("[networks.a]", |command| {
        command.env("LISTEN_PID", "1").env("LISTEN_FDS", "7");
    });
    assert!(daemon.client.status().is_ok());
    assert!(Path::new(daemon.client.socket()).starts_with(daemon.runtime_dir()));
}
