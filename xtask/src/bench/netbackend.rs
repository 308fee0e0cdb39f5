//! Our daemon, as something to measure.
use super::PORTS;
use super::process::Process;
use crate::exec;
use anyhow::Result;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the daemon is told.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// Lines of the network's section.
    pub(super) settings: String,
    /// Names of its ports.
    pub(super) ports: Vec<String>,
    /// Fixed addresses of the first of them.
    pub(super) addresses: Vec<String>,
}

impl Default for Setup {
    /// Two ports and no settings.
    fn default() -> Self {
        Self {
            settings: String::new(),
            ports: PORTS.map(str::to_owned).to_vec(),
            addresses: Vec::new(),
        }
    }
}

/// A running daemon with one bridge.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) process: Process,
    runtime: PathBuf,
}

impl Daemon {
    /// Starts `program` with one network; on one CPU only if `cpu` says so.
    pub(super) fn start(
        program: &Path,
        directory: &Path,
        setup: &Setup,
        cpu: Option<usize>,
    ) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let config = directory.join("netbackend.toml");
        let addresses = setup
            .addresses
            .iter()
            .map(|mac| format!("mac = \"{mac}\"\n"));
        let addresses = addresses.chain(iter::repeat(String::new()));
        let ports = setup.ports.iter().zip(addresses);
        let ports = ports.map(|(port, mac)| format!("[networks.bench.ports.{port}]\n{mac}"));
        let text = format!(
            "[networks.bench]\n{}\n{}",
            setup.settings,
            ports.collect::<String>()
        );
        fs::write(&config, text)?;
        let runtime = directory.join("run");
        let mut command = match cpu {
            Some(cpu) => {
                let mut taskset = Command::new("taskset");
                taskset.arg("--cpu-list").arg(cpu.to_string()).arg(program);
                taskset
            }
            None => Command::new(program),
        };
        command.arg("--config").arg(&config);
        command.arg("--runtime-dir").arg(&runtime);
        let mut daemon = Self {
            process: Process::start("netbackend", directory, &mut command)?,
            runtime,
        };
        let control = daemon.control();
        daemon.process.wait_until("answer", || {
            let mut status = Command::new(program);
            exec::run(status.args(["status", "--control-socket"]).arg(&control)).is_ok()
        })?;
        Ok(daemon)
    }

    /// The socket of the control API.
    pub(super) fn control(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// The socket of a port.
    pub(super) fn socket(&self, port: &str) -> PathBuf {
        self.runtime.join("bench").join(format!("{port}.sock"))
    }
}
