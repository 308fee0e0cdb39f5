//! `cargo xtask bench`: ring operations alone, then frames through a running daemon.
use super::build::cargo;
use crate::exec;
use crate::repo;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

/// Until the daemon has its sockets.
const START: Duration = Duration::from_secs(20);

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave out the ring operations (criterion)
    #[arg(long)]
    no_rings: bool,
    /// Leave out the daemon
    #[arg(long)]
    no_daemon: bool,
    /// Passed on to criterion (a filter, `--save-baseline NAME`, …)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    criterion: Vec<String>,
}

/// Measures; the figures are those of this machine now, and vary by a third from run to run.
pub fn run(ui: Ui, args: &Args) -> Result<ExitCode> {
    if !args.no_rings {
        ui.heading("ring operations (criterion)");
        let mut command = cargo();
        command.args(["bench", "--package", "virtqueue", "--"]);
        if !exec::run_visible(command.args(&args.criterion))? {
            bail!("the benchmarks of virtqueue failed: see above");
        }
    }
    if !args.no_daemon {
        through_the_daemon(ui)?;
    }
    ui.note("Between whole guests: `cargo xtask lab run two-guests --release`.");
    Ok(ExitCode::SUCCESS)
}

fn through_the_daemon(ui: Ui) -> Result<()> {
    ui.heading("frames through netbackend, from one vhost-user port to another");
    let mut build = cargo();
    build.args([
        "build",
        "--release",
        "--package",
        "netbackend",
        "--package",
        "benches",
    ]);
    if !exec::run_visible(build.args(["--bin", "netbackend", "--bin", "vu-gen"]))? {
        bail!("the build failed: see the compiler's messages above");
    }
    let release = repo::target_dir().join("release");
    let directory = repo::lab_cache().join("bench");
    fs::create_dir_all(&directory)?;
    let daemon = Daemon::start(&release.join("netbackend"), &directory)?;
    let mut generator = Command::new(release.join("vu-gen"));
    generator
        .arg("--from")
        .arg(directory.join("run/bench/from.sock"));
    generator
        .arg("--to")
        .arg(directory.join("run/bench/to.sock"));
    let ok = exec::run_visible(&mut generator)?;
    drop(daemon);
    if !ok {
        bail!(
            "vu-gen failed; the daemon's log: {}",
            repo::display(&directory.join("log"))
        );
    }
    Ok(())
}

/// Stopped in order when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(program: &Path, directory: &Path) -> Result<Self> {
        let config = directory.join("netbackend.toml");
        fs::write(
            &config,
            "[networks.bench.ports.from]\n[networks.bench.ports.to]\n",
        )?;
        let child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .arg("--runtime-dir")
            .arg(directory.join("run"))
            .stderr(File::create(directory.join("log"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let daemon = Self(child);
        let socket = directory.join("run/control.sock");
        let deadline = Instant::now() + START;
        let answers = || {
            let mut status = Command::new(program);
            exec::run(status.args(["status", "--control-socket"]).arg(&socket)).is_ok()
        };
        while !answers() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                bail!("netbackend does not answer; its log:\n{log}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM, so that its workers go with it.
        let pid = self.0.id().to_string();
        if exec::run(Command::new("kill").arg(&pid)).is_err() {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}
