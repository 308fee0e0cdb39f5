//! A daemon of one's own, for tests.
use control::{Client, NetworkState, NetworkStatus, Status};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_netbackend");

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(15);

/// The program, without what the environment might tell it.
pub(crate) fn netbackend() -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NETBACKEND_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Polls until `check` gives something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited too long for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running daemon with a runtime directory of its own; killed at the end.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) dir: TempDir,
    pub(crate) client: Client,
}

impl Daemon {
    /// Starts it with this configuration and waits until all its networks run.
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        let daemon = Self::spawn(tempfile::tempdir().unwrap(), config);
        daemon.wait_until_running();
        daemon
    }

    /// The same with changes to its command.
    #[track_caller]
    pub(crate) fn start_with(config: &str, change: impl FnOnce(&mut Command)) -> Self {
        let daemon = Self::spawn_with(tempfile::tempdir().unwrap(), config, change);
        daemon.wait_until_running();
        daemon
    }

    /// Starts it in `dir`.
    pub(crate) fn spawn(dir: TempDir, config: &str) -> Self {
        Self::spawn_with(dir, config, |_| ())
    }

    fn spawn_with(dir: TempDir, config: &str, change: impl FnOnce(&mut Command)) -> Self {
        let file = dir.path().join("nb.toml");
        fs::write(&file, config).unwrap();
        let mut command = netbackend();
        change(&mut command);
        let child = command
            .args(["--config".as_ref(), file.as_os_str()])
            .args(["--runtime-dir".as_ref(), runtime_dir(&dir).as_os_str()])
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let client = Client::new(runtime_dir(&dir).join("control.sock"));
        Self { child, dir, client }
    }

    /// Starts another one in the place of this one, which has ended.
    pub(crate) fn restart(mut self) -> Self {
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        File::create(self.dir.path().join("log")).unwrap();
        let config = fs::read_to_string(dir.path().join("nb.toml")).unwrap();
        Self::spawn(dir, &config)
    }

    /// Changes the configuration file.
    pub(crate) fn write_config(&self, config: &str) {
        fs::write(self.dir.path().join("nb.toml"), config).unwrap();
    }

    #[track_caller]
    pub(crate) fn wait_until_running(&self) -> Status {
        wait_for("all networks to run", || {
            let status = self.client.status().ok()?;
            let running = |n: &NetworkStatus| n.state == NetworkState::Running;
            status.networks.iter().all(running).then_some(status)
        })
    }

    pub(crate) fn runtime_dir(&self) -> PathBuf {
        runtime_dir(&self.dir)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    #[track_caller]
    pub(crate) fn network(&self, name: &str) -> NetworkStatus {
        self.client.network(name).unwrap()
    }

    #[track_caller]
    pub(crate) fn worker(&self, network: &str) -> u32 {
        self.network(network).worker_pid.unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the daemon to end", || self.child.try_wait().unwrap())
    }
}

/// Runs a command against the daemon.
pub(crate) fn output(daemon: &Daemon, args: &[&str]) -> Output {
    netbackend()
        .arg("--control-socket")
        .arg(daemon.client.socket())
        .args(args)
        .output()
        .unwrap()
}

/// What a command that succeeds prints.
#[track_caller]
pub(crate) fn run(daemon: &Daemon, args: &[&str]) -> String {
    let output = output(daemon, args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("log of the daemon:\n{}", self.log());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn runtime_dir(dir: &TempDir) -> PathBuf {
    dir.path().join("rt")
}

pub(crate) fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

/// Whether the process is there and not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains('Z'))
}

/// Files below `dir`, without directories.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}
