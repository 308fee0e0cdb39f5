//! netbackend as it is installed, with sockets of its own.
use crate::{Namespace, Process, programs, wait_until};
use control::{Client, NetworkState, NetworkStatus, PortState};
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
const CONFIG: &str = "netbackend.toml";
const RUNTIME: &str = "run";

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    // Dropped in this order: the process before its directory.
    process: Process,
    client: Client,
    starts: u32,
    /// Network namespace that it runs in.
    namespace: Option<String>,
    directory: TempDir,
}

impl Daemon {
    /// Starts a daemon with this configuration and waits until it answers.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Self::launched(config, None)
    }

    /// The same in a network namespace: its host's world is what is there.
    #[track_caller]
    pub fn start_in(namespace: &Namespace, config: &str) -> Self {
        Self::launched(config, Some(namespace.name().to_owned()))
    }

    #[track_caller]
    fn launched(config: &str, namespace: Option<String>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join(CONFIG), config).expect("a temporary file");
        let runtime = directory.path().join(RUNTIME);
        let mut daemon = Self {
            process: launch(directory.path(), namespace.as_deref(), 1),
            client: Client::new(control::default_socket(&runtime)),
            starts: 1,
            namespace,
            directory,
        };
        daemon.wait_ready();
        daemon
    }

    /// SIGKILL, and another one in its place as soon as it is gone.
    #[track_caller]
    pub fn kill_and_start_again(&mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(PATIENCE);
        self.starts += 1;
        let namespace = self.namespace.as_deref();
        self.process = launch(self.directory.path(), namespace, self.starts);
        self.wait_ready();
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        wait_until("the daemon's answer", PATIENCE, || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "the daemon ended: {ended:?}");
            // It answers before its workers run.
            let networks = self.client.status().ok()?.networks;
            networks
                .iter()
                .all(|network| network.state == NetworkState::Running)
                .then_some(())
        });
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Directory for files of the test, gone with the daemon.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its control API.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The socket of a vhost-user port.
    pub fn socket(&self, network: &str, port: &str) -> PathBuf {
        let name = format!("{port}.sock");
        self.directory.path().join(RUNTIME).join(network).join(name)
    }

    /// What the daemon says of a network.
    #[track_caller]
    pub fn network(&self, name: &str) -> NetworkStatus {
        self.client.network(name).expect("the daemon answers")
    }

    /// Waits until a port carries frames.
    #[track_caller]
    pub fn wait_running(&self, network: &str, port: &str) {
        wait_until(&format!("port {port} of {network}"), PATIENCE, || {
            let ports = self.network(network).ports;
            let found = ports.iter().find(|status| status.name == port)?;
            (found.state == PortState::Running).then_some(())
        });
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// SIGTERM, and its exit status.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(PATIENCE)
    }
}

fn launch(directory: &Path, namespace: Option<&str>, number: u32) -> Process {
    let mut command = match namespace {
        None => Command::new(programs::netbackend()),
        Some(name) => {
            let mut command = Command::new("ip");
            command
                .args(["netns", "exec", name])
                .arg(programs::netbackend());
            command
        }
    };
    command.arg("--config").arg(directory.join(CONFIG));
    command.arg("--runtime-dir").arg(directory.join(RUNTIME));
    Process::start(&format!("netbackend-{number}"), directory, &mut command)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // In order, so that it takes its workers and taps with it.
        if self.process.ended().is_none() {
            self.process.signal(Signal::SIGTERM);
            let deadline = std::time::Instant::now() + PATIENCE;
            while self.process.ended().is_none() && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
