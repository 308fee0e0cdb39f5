//! Runs a scenario where guests can have real KVM, and brings back its verdict.
//!
//! Without `svm`/`vmx` on the machine, QEMU emulates a host that has them (AMD SVM with nested
//! paging): correct, slow, good for ratios between two systems in the same boot. With them the same
//! script runs here, in fresh namespaces.
mod direct;
mod nested;
mod scenario;

pub(crate) use nested::CPU_MODEL;
pub use scenario::Scenario;

use crate::image::{guest, host};
use crate::machine;
use crate::repo;
use crate::setup::emulator::{self, Emulator};
use crate::setup::kernels::{self, Flavour};
use crate::ui::{Step, Ui};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Runs whose logs are kept.
const KEPT_RUNS: usize = 20;

/// How often the emulated machine may fail before that counts (see [`nested::EmulatorFault`]).
const ATTEMPTS: usize = 6;

/// How to run a scenario.
#[derive(Debug, Clone)]
pub struct Options {
    /// CPUs of the nested host.
    pub cpus: u32,
    /// The same after the emulator has failed.
    pub cpus_after_fault: u32,
    /// Memory of the nested host, MiB.
    pub memory_mib: u32,
    /// Programs under test, put into the host's `PATH`.
    pub programs: Vec<PathBuf>,
    /// Variables that the scenario's script finds set: words without spaces.
    pub settings: Vec<(String, String)>,
    /// How many times as long as usual everything may take.
    pub patience: u32,
    /// CPU model that QEMU emulates for the nested host.
    pub cpu_model: String,
    /// Use the nested host even where this machine could run guests itself.
    pub force_nested: bool,
    /// Show everything the host prints, not only steps and results.
    pub verbose: bool,
}

impl Options {
    /// The usual lab with these programs.
    pub fn new(programs: Vec<PathBuf>) -> Self {
        Self {
            cpus: 2,
            cpus_after_fault: 1,
            memory_mib: 3072,
            programs,
            settings: Vec::new(),
            patience: 1,
            cpu_model: CPU_MODEL.to_owned(),
            force_nested: false,
            verbose: false,
        }
    }
}

/// What a scenario said.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Exit code of the scenario's script.
    pub code: i32,
    /// Its `RESULT` lines, without that word.
    pub results: Vec<String>,
    /// Everything the host printed.
    pub console: PathBuf,
    /// Directory with the logs of each program.
    pub logs: PathBuf,
    /// How long it took.
    pub elapsed: Duration,
}

impl Verdict {
    /// Whether the scenario passed.
    pub fn passed(&self) -> bool {
        self.code == 0
    }
}

/// Where one run's files go.
#[derive(Debug, Clone)]
struct RunDirectory {
    console: PathBuf,
    logs: PathBuf,
    root: PathBuf,
}

impl RunDirectory {
    fn create(scenario: &str) -> Result<Self> {
        let runs = repo::lab_cache().join("runs");
        fs::create_dir_all(&runs)?;
        prune(&runs);
        let stamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let root = runs.join(format!("{scenario}-{stamp}-{}", std::process::id()));
        let logs = root.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(Self {
            console: root.join("console.log"),
            logs,
            root,
        })
    }
}

fn prune(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else {
        return;
    };
    let mut old: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(KEPT_RUNS);
    for (_, path) in old.iter().take(surplus) {
        let _ = fs::remove_dir_all(path);
    }
}

/// Runs `scenario`; an `Err` means that there is no verdict (the host crashed, took too long, …).
pub fn run(ui: Ui, scenario: &Scenario, options: &Options) -> Result<Verdict> {
    let direct = machine::has_virtualization() && !options.force_nested;
    let files = prepare(ui, options, direct, scenario.kernel, &scenario.programs)?;
    let mut options = options.clone();
    let mut attempt = 1;
    loop {
        let verdict = run_once(ui, scenario, &options, &files, direct);
        match &verdict {
            Err(error) if attempt < ATTEMPTS && error.is::<nested::EmulatorFault>() => {
                ui.note(&format!("{error:#}"));
                // No fault was seen so far while no two CPUs were emulated at once.
                options.cpus = options.cpus_after_fault;
                ui.note(&format!(
                    "QEMU's emulation of SVM fails now and then (attempt {attempt} of {ATTEMPTS}). Once more, CPUs: {}.",
                    options.cpus
                ));
                attempt += 1;
            }
            _ => return verdict,
        }
    }
}

fn run_once(
    ui: Ui,
    scenario: &Scenario,
    options: &Options,
    files: &Files,
    direct: bool,
) -> Result<Verdict> {
    let directory = RunDirectory::create(&scenario.name)?;
    let started = Instant::now();
    let place = if direct {
        "on this machine"
    } else {
        "in a nested host"
    };
    let title = format!("scenario {} {place}: {}", scenario.name, scenario.title);
    let mut results = Vec::new();
    let work = |step: &Step| {
        let mut sink = |line: &str| show(step, line, options.verbose, &mut results);
        if direct {
            direct::run(scenario, options, files, &directory, &mut sink)
        } else {
            nested::run(scenario, options, files, &directory, &mut sink)
        }
        .with_context(|| format!("its console: {}", repo::display(&directory.console)))
    };
    let code = ui.judged(&title, work, |code| *code == 0)?;
    Ok(Verdict {
        code,
        results,
        console: directory.console,
        logs: directory.logs,
        elapsed: started.elapsed(),
    })
}

/// An interactive shell in the lab host.
pub fn shell(ui: Ui, options: &Options) -> Result<()> {
    let files = prepare(ui, options, false, Flavour::Cloud, &[])?;
    nested::shell(options, &files)
}

/// The images that a run needs.
#[derive(Debug, Clone)]
struct Files {
    host_kernel: PathBuf,
    /// Absent where the scenario runs on the machine itself.
    host_initrd: Option<PathBuf>,
    guest_kernel: PathBuf,
    guest_initrd: PathBuf,
    /// What emulates the host; absent where the scenario runs on the machine itself.
    emulator: Option<Emulator>,
}

fn prepare(
    ui: Ui,
    options: &Options,
    direct: bool,
    guests: Flavour,
    tools: &[String],
) -> Result<Files> {
    // Whoever else runs a scenario may want the same files.
    let turn = repo::lock_file("prepare")?;
    turn.lock().context("no file lock")?;
    let kernel = kernels::kernel(ui, Flavour::Cloud)?;
    let guest_kernel = match guests {
        Flavour::Cloud => kernel.clone(),
        Flavour::Generic | Flavour::Generic32 => kernels::kernel(ui, guests)?,
    };
    let guest_initrd = guest::build(&guest_kernel, guests)?;
    let host_initrd = if direct {
        None
    } else {
        Some(host::build(&host::Contents {
            host_kernel: kernel.clone(),
            guest_kernel: guest_kernel.image.clone(),
            guest_initrd: guest_initrd.clone(),
            programs: options.programs.iter().map(|p| host::stripped(p)).collect(),
            tools: tools.to_vec(),
        })?)
    };
    Ok(Files {
        host_kernel: kernel.image.clone(),
        host_initrd,
        guest_kernel: guest_kernel.image,
        guest_initrd,
        emulator: if direct {
            None
        } else {
            Some(emulator::emulator(ui)?)
        },
    })
}

fn show(step: &Step, line: &str, verbose: bool, results: &mut Vec<String>) {
    if let Some(text) = line.strip_prefix("LAB-STEP ") {
        step.progress(text);
    } else if let Some(text) = line.strip_prefix("RESULT") {
        let text = text.strip_prefix(' ').unwrap_or(text);
        results.push(text.to_owned());
        step.line(text);
    } else if verbose {
        step.line(line);
    }
}
