//! Our emulated NICs beside QEMU's without Linux in the way: a guest that does nothing but drive the NIC, on this machine's KVM,
//! turn by turn. The same image and the same peer, a tap in a namespace that counts.
mod guest;

use super::machine_report as report;
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

/// Workloads of a run that is told no others.
const DEFAULT: [&str; 3] = ["el", "es", "em"];

/// Arguments of `bench bare-nics`.
#[derive(Debug, Clone, clap::Args)]
pub struct BareNicOptions {
    /// Rounds that count; one more comes first and is dropped
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Only these, and nothing written. `er`, frames to the guest, is not among them otherwise: under it QEMU's model has stood still
    /// after its first ring
    #[arg(long, value_delimiter = ',', value_parser = ["el", "es", "em", "er"], default_values_t = DEFAULT.map(str::to_owned))]
    workloads: Vec<String>,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

impl BareNicOptions {
    fn chosen(&self) -> impl Iterator<Item = (usize, &'static Workload)> {
        let wanted = |workload: &Workload| self.workloads.iter().any(|it| it == workload.command);
        WORKLOADS
            .iter()
            .enumerate()
            .filter(move |(_, workload)| wanted(workload))
    }
}

/// What the guest does, in the words of its command line, and in ours.
#[derive(Debug)]
struct Workload {
    model: &'static str,
    command: &'static str,
    words: &'static str,
    unit: Unit,
}

/// How its figure is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// TCP payload that came out, Mb/s: frames as one or cut.
    Payload,
    /// Frames that came out, in thousands per second.
    Frames,
    /// Frames that the guest took, in thousands per second.
    Taken,
}

const WORKLOADS: [Workload; 4] = [
    Workload {
        model: "e1000",
        command: "el",
        words: "e1000: TCP frames of 56 KiB that it cuts, a doorbell each, from the guest, Mb/s",
        unit: Unit::Payload,
    },
    Workload {
        model: "e1000",
        command: "es",
        words: "e1000: datagrams of 18 bytes, a doorbell each, from the guest, 1000/s",
        unit: Unit::Frames,
    },
    Workload {
        model: "e1000",
        command: "em",
        words: "e1000: the same, a doorbell for 16, 1000/s",
        unit: Unit::Frames,
    },
    Workload {
        model: "e1000",
        command: "er",
        words: "e1000: frames of 1514 bytes to the guest, 1000/s",
        unit: Unit::Taken,
    },
];

/// Headers of a TCP frame of the guest's.
const TCP_HEADERS: u64 = 54;

/// Figures by workload and system.
type Figures = BTreeMap<(usize, System), Vec<f64>>;

/// Measures, and writes the section of the results.
pub fn bare_nics(ui: Ui, options: &BareNicOptions) -> Result<()> {
    let programs = build(ui)?;
    let name = format!("xtask-bare-nics-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let figures = measure(ui, options, &programs, &directory);
    // Nothing in it is wanted any more.
    let _ = fs::remove_dir_all(&directory);
    let body = write_up(options, &rows(options, &figures?)?);
    let is_whole = DEFAULT
        .iter()
        .all(|it| options.workloads.iter().any(|wanted| wanted == it));
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
) -> Result<f64> {
    let mut guest = Guest::start(
        system,
        workload.model,
        workload.command,
        programs,
        directory,
    )?;
    let _flood = match workload.unit {
        Unit::Taken => Some(guest.flood(&directory.join("flood"))?),
        Unit::Payload | Unit::Frames => None,
    };
    let moved = guest.count_for(Duration::from_secs(seconds.into()))?;
    let count = match workload.unit {
        Unit::Payload => moved.bytes.saturating_sub(moved.frames * TCP_HEADERS) * 8 / 1000,
        Unit::Frames => moved.frames,
        Unit::Taken => moved.taken,
    };
    #[expect(clippy::cast_precision_loss, reason = "what moves within seconds fits")]
    let rate = count as f64 / moved.time.as_secs_f64() / 1000.0;
    Ok(rate)
}

fn rows(options: &BareNicOptions, figures: &Figures) -> Result<Vec<Vec<String>>> {
    options
        .chosen()
        .map(|(index, workload)| {
            let of = |system| {
                summarize(figures.get(&(index, system)).into_iter().flatten().copied())
                    .with_context(|| format!("no figures of {system}, {}", workload.words))
            };
            let (qemu, ours, sleeping) =
                (of(System::Qemu)?, of(System::Ours)?, of(System::Sleeping)?);
            let ratio = |of: super::statistics::Summary| format!("{:.2}", of.median / qemu.median);
            Ok(vec![
                workload.words.to_owned(),
                show(ours, 1),
                show(sleeping, 1),
                show(qemu, 1),
                ratio(ours),
                ratio(sleeping),
            ])
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
    ];
    let qemu = report::package_version("qemu-system-x86").unwrap_or_else(|| "unknown".into());
    format!(
        "## Emulated NICs without Linux, beside QEMU's\n\n\
         * When: {}. Command: `cargo xtask bench bare-nics`, {} rounds in turns, {} s each, first round dropped.\n\
         * Where: {}.\n\
         * What: the models alone, not Linux' TCP. The guest (`benches/bare`) has no operating system: it keeps the NIC's rings full as Linux' driver \
         does, polls descriptors instead of taking interrupts, and rings as often as it. The same image runs in vmm and in QEMU (`-machine pc,accel=kvm`), on \
         this machine's KVM; where that emulates the guest's instructions, each costs most of a microsecond. The peer is a tap in a namespace that counts, \
         behind netbackend or QEMU itself; frames to the guest are testpmd's, by a packet socket at the tap. Not polling: \
         `poll_idle_us` 0 for netbackend's worker and the NIC's thread. The driver's register accesses are the same for all. Versions: netbackend {}, \
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
