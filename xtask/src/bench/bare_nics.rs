//! Our emulated NICs beside QEMU's without Linux in the way: a guest that does nothing but drive the NIC, on this machine's KVM,
//! turn by turn. The same image and the same peer, a tap in a namespace that counts.
mod exits;
mod guest;
mod workload;

use super::machine_report as report;
use super::process::Process;
use super::results;
use super::statistics::{show, summarize};
use super::table::markdown;
use crate::commands::build::{self, Profile, cargo};
use crate::exec;
use crate::repo;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use guest::{Guest, Programs, System};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use workload::{Sample, Unit, WORKLOADS, Workload};

/// Arguments of `bench bare-nics`.
#[derive(Debug, Clone, clap::Args)]
pub struct BareNicOptions {
    /// Rounds that count; one more comes first and is dropped
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 1)]
    seconds: u32,
    /// Only these, and nothing written. The NIC: e1000, rtl8139, pcnet, ne2k_pci; what it does: large frames, small ones, many of them,
    /// transmit, receive; -tcp: receive what TCP sends
    #[arg(long, value_delimiter = ',', value_parser = WORKLOADS.map(|it| it.name), default_values_t = WORKLOADS.map(|it| it.name.to_owned()))]
    workloads: Vec<String>,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

impl BareNicOptions {
    fn chosen(&self) -> impl Iterator<Item = (usize, &'static Workload)> {
        let wanted = |workload: &Workload| self.workloads.iter().any(|it| it == workload.name);
        WORKLOADS
            .iter()
            .enumerate()
            .filter(move |(_, workload)| wanted(workload))
    }
}

/// Rates of the peer's that one measurement's time is for.
const STEPS: u32 = 4;

/// Figures by workload and system.
type Figures = BTreeMap<(usize, System), Vec<Sample>>;

/// Measures, and writes the section of the results.
pub fn bare_nics(ui: Ui, options: &BareNicOptions) -> Result<()> {
    let programs = build(ui)?;
    let name = format!("xtask-bare-nics-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let figures = measure(ui, options, &programs, &directory);
    // Nothing in it is wanted any more.
    let _ = fs::remove_dir_all(&directory);
    let body = write_up(options, &rows(options, &figures?)?);
    let is_whole = options.chosen().count() == WORKLOADS.len();
    results::tell(ui, "bare-nics", &body, options.dry || !is_whole)
}

fn build(ui: Ui) -> Result<Programs> {
    let built = build::programs(ui, Profile::Release)?;
    let named = |name: &str| {
        let path = built.iter().find(|path| path.ends_with(name));
        path.cloned()
            .with_context(|| format!("no {name} was built"))
    };
    Ok(Programs {
        netbackend: named("netbackend")?,
        vmm: named("vmm")?,
        sockets: super::build(ui)?.sockets,
        guest: build_guest(ui)?,
    })
}

/// The guest is a workspace of its own: nothing else is linked as it is.
fn build_guest(ui: Ui) -> Result<PathBuf> {
    let target = repo::target_dir().join("bare");
    let mut command = cargo();
    command.args([
        "build",
        "--release",
        "--manifest-path",
        "benches/bare/Cargo.toml",
    ]);
    command.arg("--target-dir").arg(&target);
    ui.heading(&exec::describe(&command));
    if !exec::run_visible(&mut command)? {
        bail!("the build failed: see the compiler's messages above");
    }
    Ok(target.join("release/bare-guest"))
}

fn measure(
    ui: Ui,
    options: &BareNicOptions,
    programs: &Programs,
    directory: &Path,
) -> Result<Figures> {
    let mut figures = Figures::new();
    for round in 0..=options.rounds {
        let title = format!("round {round} of {}", options.rounds);
        ui.step(&title, |_| {
            for (index, workload) in options.chosen() {
                for system in System::ALL {
                    let figure = run(system, workload, options.seconds, programs, directory)
                        .with_context(|| format!("{system}, {}", workload.words))?;
                    ui.note(&format!("{system}, {}: {:.1}", workload.words, figure.rate));
                    if round > 0 {
                        figures.entry((index, system)).or_default().push(figure);
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(figures)
}

fn run(
    system: System,
    workload: &Workload,
    seconds: u32,
    programs: &Programs,
    directory: &Path,
) -> Result<Sample> {
    let mut guest = Guest::start(
        system,
        workload.model,
        workload.command,
        programs,
        directory,
    )?;
    let time = Duration::from_secs(seconds.into());
    let sample = if let Unit::Taken(load) = workload.unit {
        let sender = guest.sender(&programs.sockets, load.what, &directory.join("sender"))?;
        best(&mut guest, sender, workload.unit, load.rates, time / STEPS)?
    } else {
        workload.unit.sample(guest.count_for(time)?)
    };
    if sample.rate <= 0.0 {
        bail!("nothing moved; the monitor said:\n{}", guest.log());
    }
    Ok(sample)
}

/// What the guest takes at the best of `rates`, each for `time`. Beyond that a model may do nothing but drop, even for good.
fn best(
    guest: &mut Guest,
    mut sender: Process,
    unit: Unit,
    rates: &[u32],
    time: Duration,
) -> Result<Sample> {
    let mut best: Option<Sample> = None;
    for rate in rates {
        sender.tell(&rate.to_string())?;
        let sample = unit.sample(guest.count_for(time)?);
        if best.is_none_or(|best| best.rate < sample.rate) {
            best = Some(sample);
        }
    }
    best.context("no rate")
}

fn rows(options: &BareNicOptions, figures: &Figures) -> Result<Vec<Vec<String>>> {
    options
        .chosen()
        .map(|(index, workload)| {
            let samples = |system| figures.get(&(index, system)).into_iter().flatten();
            let rate = |system| {
                summarize(samples(system).map(|sample| sample.rate))
                    .with_context(|| format!("no figures of {system}, {}", workload.words))
            };
            let exits = |system| summarize(samples(system).filter_map(|sample| sample.exits));
            let qemu = rate(System::Qemu)?.median;
            let (mut rates, mut ratios, mut exit_counts) = (Vec::new(), Vec::new(), Vec::new());
            for system in System::ALL {
                let rate = rate(system)?;
                rates.push(show(rate, 1));
                if system != System::Qemu {
                    ratios.push(format!("{:.2}", rate.median / qemu));
                }
                let count =
                    exits(system).map_or("–".to_owned(), |it| format!("{:.0}", it.median));
                exit_counts.push(count);
            }
            let words = vec![workload.words.to_owned()];
            Ok([words, rates, ratios, vec![exit_counts.join(" / ")]].concat())
        })
        .collect()
}

fn write_up(options: &BareNicOptions, rows: &[Vec<String>]) -> String {
    let heading = [
        "median (least–most)",
        "vmm and netbackend",
        "the same, not polling",
        "QEMU",
        "ratio",
        "ratio, not polling",
        "exits per MB: ours / not polling / QEMU",
    ];
    let qemu = report::package_version("qemu-system-x86").unwrap_or_else(|| "unknown".into());
    format!(
        "## Emulated NICs without Linux, beside QEMU's\n\n\
         * When: {}. Command: `cargo xtask bench bare-nics`, {} rounds in turns, {} s each, first round dropped.\n\
         * Where: {}.\n\
         * What: the models alone, not Linux' TCP. The guest (`benches/bare`) has no operating system: it keeps the NIC's rings full as Linux' driver \
         does, polls descriptors instead of taking interrupts, and rings as often as it. The same image runs in vmm and in QEMU (`-machine pc,accel=kvm`), on \
         this machine's KVM; where that emulates the guest's instructions, each costs most of a microsecond. The peer is a tap in a namespace that counts, \
         behind netbackend or QEMU itself; frames to the guest are datagrams of its kernel's, or TCP frames of 64 KiB from a packet socket there, at six or seven rates, each a factor of about 1.5 above the one before, of which the best counts: more than a NIC can take would measure how it drops. Not polling: \
         `poll_idle_us` 0 for netbackend's worker and the NIC's thread. Each register is accessed as by the driver's functions that the guest's source names; \
         exits are returns of `KVM_RUN` to the program, counted by `perf stat`, per 10⁶ bytes of frames. Versions: netbackend {}, \
         QEMU {qemu}.\n\n{}",
        report::date(),
        options.rounds,
        options.seconds,
        report::machine(),
        env!("CARGO_PKG_VERSION"),
        markdown(&heading.map(str::to_owned), rows)
    )
}

#[cfg(test)]
#[path = "bare_nics_test.rs"]
mod tests;
