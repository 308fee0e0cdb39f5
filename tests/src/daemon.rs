//! netbackend as it is installed, with sockets of its own.
use crate::{Process, programs, wait_until};
use control::{Client, NetworkStatus, PortState};
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    // Dropped in this order: the process before its directory.
    process: Process,
    client: Client,
    directory: TempDir,
}

impl Daemon {
    /// Starts a daemon with this configuration and waits until it answers.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("netbackend.toml");
        fs::write(&file, config).expect("a temporary file");
        let runtime = directory.path().join("run");
        let mut command = Command::new(programs::netbackend());
        command.arg("--config").arg(&file);
        command.arg("--runtime-dir").arg(&runtime);
        let mut process = Process::start("netbackend", directory.path(), &mut command);
        let client = Client::new(control::default_socket(&runtime));
        wait_until("the daemon's answer", PATIENCE, || {
            let ended = process.ended();
            assert!(ended.is_none(), "the daemon ended: {ended:?}");
            client.status().ok()
        });
        Self {
            process,
            client,
            directory,
        }
    }

    /// Directory for files of the test, gone with the daemon.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The socket of a vhost-user port.
    pub fn socket(&self, network: &str, port: &str) -> PathBuf {
        let name = format!("{port}.sock");
        self.directory.path().join("run").join(network).join(name)
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
