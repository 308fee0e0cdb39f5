//! `cargo xtask fuzz`: hostile inputs made up by libFuzzer, with AddressSanitizer.
use crate::exec;
use crate::repo;
use crate::setup::cargo_fuzz;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

/// Target, and bytes of an input at most.
const TARGETS: &[(&str, u32)] = &[
    ("config", 4096),
    ("device_queue", 1024),
    ("dhcp4", 2048),
    ("dhcp6", 2048),
    ("dns", 2048),
    ("e1000", 2048),
    ("nat_gateway", 4096),
    ("ne2k", 2048),
    ("offload", 1024),
    ("pcnet", 2048),
    ("rtl8139", 2048),
    ("switch", 1024),
    ("tftp", 1024),
    ("vhost_session", 2048),
];
/// An input that takes longer is a finding. The daemon's own time-outs are 5 s.
const INPUT_SECONDS: u32 = 60;
/// More memory is a finding. AddressSanitizer holds on to some 500 MiB of what was freed.
const MEMORY_MIB: u32 = 3072;
/// Beyond the time that was asked for: starting, and reading the inputs that are kept.
const GRACE: Duration = Duration::from_mins(3);
/// What CI starts from: a change is not to fail for an input that only chance brings up. Finding those is `cargo xtask fuzz`.
const CI_SEED: u32 = 1;
/// Lines of a target's log to show.
const TAIL: usize = 40;

/// Arguments of `fuzz`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(help = format!("One of {}; all without", names()))]
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Make up the same inputs as another run with this seed; 0: others each time
    #[arg(long, default_value_t = 0)]
    seed: u32,
}

/// Builds the targets and runs them, as many at once as there are CPUs for.
pub fn run(ui: Ui, args: &Args) -> Result<ExitCode> {
    let targets = chosen(args.target.as_deref())?;
    let program = cargo_fuzz::install(ui)?;
    Ok(if fuzz(ui, &program, &targets, args.seconds, args.seed)? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The part of it that CI runs; false: there is a finding.
///
/// A machine where cargo-fuzz cannot be had runs the inputs that are kept only: they are tests of package `fuzz-harness`.
pub fn run_all(ui: Ui, seconds: u64) -> Result<bool> {
    let program = match cargo_fuzz::install(ui) {
        Ok(program) => program,
        Err(error) => {
            ui.note(&format!("NOT FUZZED: {error:#}"));
            ui.note("The tests of package `fuzz-harness` have replayed the inputs in fuzz/corpus, and nothing else.");
            return Ok(true);
        }
    };
    fuzz(ui, &program, TARGETS, seconds, CI_SEED)
}

fn chosen(name: Option<&str>) -> Result<Vec<(&'static str, u32)>> {
    let Some(name) = name else {
        return Ok(TARGETS.to_vec());
    };
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    let target = target
        .with_context(|| format!("there is no fuzz target `{name}`; there are {}", names()))?;
    Ok(vec![*target])
}

fn names() -> String {
    let names: Vec<_> = TARGETS.iter().map(|(target, _)| *target).collect();
    names.join(", ")
}

fn fuzz(
    ui: Ui,
    cargo_fuzz: &Path,
    targets: &[(&'static str, u32)],
    seconds: u64,
    seed: u32,
) -> Result<bool> {
    let programs = build(ui, cargo_fuzz)?;
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    ui.heading(&format!(
        "fuzz {} targets, {seconds} s each, {at_once} at once",
        targets.len()
    ));
    let mut sound = true;
    for some in targets.chunks(at_once) {
        let running = some
            .iter()
            .map(|(name, longest)| Running::start(&programs, name, *longest, seconds, seed))
            .collect::<Result<Vec<_>>>()?;
        for target in running {
            sound &= target.finish(ui)?;
        }
    }
    Ok(sound)
}

/// Builds all targets, instrumented; returns the directory that they are in.
fn build(ui: Ui, cargo_fuzz: &Path) -> Result<PathBuf> {
    let directory = repo::target_dir().join("fuzz");
    let mut command = Command::new(cargo_fuzz);
    command
        .args(["fuzz", "build", "--target-dir"])
        .arg(&directory);
    command.current_dir(repo::root());
    // Sanitizers are an unstable option of an otherwise stable compiler.
    command.env("RUSTC_BOOTSTRAP", "1");
    // Not to be built for the tests' profile or directory.
    command.env_remove("CARGO_TARGET_DIR");
    ui.heading("cargo fuzz build");
    if !exec::run_visible(&mut command)? {
        bail!("the build of the fuzz targets failed: see the compiler's messages above");
    }
    Ok(directory.join(host()?).join("release"))
}

/// The machine's own target triple.
fn host() -> Result<String> {
    let version = exec::stdout(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// A target at work.
struct Running {
    name: &'static str,
    child: Child,
    log: PathBuf,
    artifacts: PathBuf,
    deadline: Instant,
}

impl Running {
    fn start(
        programs: &Path,
        name: &'static str,
        longest: u32,
        seconds: u64,
        seed: u32,
    ) -> Result<Self> {
        let place = repo::target_dir().join("fuzz-runs").join(name);
        let (found, artifacts) = (place.join("corpus"), place.join("artifacts"));
        for directory in [&found, &artifacts] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let log = place.join("log");
        let output = File::create(&log)?;
        let child = Command::new(programs.join(name))
            // New inputs go to the first directory; those that are kept stay as they are.
            .arg(&found)
            .arg(repo::root().join("fuzz/corpus").join(name))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-seed={seed}"))
            .arg(format!("-max_len={longest}"))
            .arg("-len_control=0")
            .arg(format!("-timeout={INPUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
            .arg("-print_final_stats=1")
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start the fuzz target {name}"))?;
        Ok(Self {
            name,
            child,
            log,
            artifacts,
            deadline: Instant::now() + Duration::from_secs(seconds) + GRACE,
        })
    }

    /// Waits for its end; false: it has found something.
    fn finish(mut self, ui: Ui) -> Result<bool> {
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break Some(status);
            }
            if Instant::now() > self.deadline {
                break None;
            }
            thread::sleep(Duration::from_millis(200));
        };
        let log = fs::read(&self.log)?;
        let log = String::from_utf8_lossy(&log);
        if status.is_some_and(|status| status.success()) {
            let last = log.lines().rev().find(|line| line.starts_with("Done "));
            ui.note(&format!("{}: {}", self.name, last.unwrap_or("done")));
            return Ok(true);
        }
        eprintln!("{}", exec::last_lines(&log, TAIL));
        let what = status.map_or_else(|| "does not end".to_owned(), |status| status.to_string());
        ui.note(&format!("{}: FINDING ({what})", self.name));
        ui.note(&format!("  the whole log: {}", repo::display(&self.log)));
        ui.note(&format!(
            "  the input is in {}; copy it to fuzz/corpus/{} as a regression test and run `cargo test --package fuzz-harness`",
            repo::display(&self.artifacts),
            self.name
        ));
        Ok(false)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Has ended already unless something went wrong.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_inputs_and_a_program() {
        let manifest = fs::read_to_string(repo::root().join("fuzz/Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let corpus = repo::root().join("fuzz/corpus").join(name);
            assert!(fs::read_dir(corpus).unwrap().next().is_some(), "{name}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }

    #[test]
    fn a_target_that_does_not_exist_is_refused_with_those_that_do() {
        let error = chosen(Some("rings")).unwrap_err().to_string();
        assert!(
            error.contains("rings") && error.contains("device_queue"),
            "{error}"
        );
        assert_eq!(chosen(Some("switch")).unwrap().len(), 1);
    }
}
