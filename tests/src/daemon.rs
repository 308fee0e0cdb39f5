//! A `netbackend` of a test's own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use control::{Client, Status};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{programs, until};

/// A running daemon in a runtime directory of its own.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    dir: TempDir,
}

impl Daemon {
    /// Starts it with `config` and waits until every network runs.
    pub fn start(config: &str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("nb-e2e-").tempdir()?;
        let path = dir.path().join("netbackend.toml");
        fs::write(&path, config)?;
        let log = File::create(dir.path().join("log"))?;
        let child = Command::new(programs::find("netbackend")?)
            .arg("--config")
            .arg(&path)
            .arg("--runtime-dir")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting netbackend")?;
        let daemon = Self { child, dir };
        let ready = until(Duration::from_mins(1), || {
            daemon
                .status()
                .is_ok_and(|status| status.networks.iter().all(|n| n.worker_pid.is_some()))
        });
        if !ready {
            bail!("netbackend does not answer; its log:\n{}", daemon.log());
        }
        Ok(daemon)
    }

    /// What it says of itself.
    pub fn status(&self) -> anyhow::Result<Status> {
        Ok(Client::new(control::default_socket(self.dir.path())).status()?)
    }

    /// Socket of a vhost-user port from the configuration.
    pub fn socket(&self, network: &str, port: &str) -> PathBuf {
        self.dir.path().join(network).join(format!("{port}.sock"))
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A directory for the test's own files, removed with the daemon.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops it in order; the exit code.
    pub fn stop(mut self) -> anyhow::Result<Option<i32>> {
        self.signal(Signal::SIGTERM)?;
        Ok(self.child.wait()?.code())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(
            Pid::from_raw(i32::try_from(self.child.id())?),
            signal,
        )?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal(Signal::SIGTERM);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of netbackend\n{}", self.log());
        }
    }
}
