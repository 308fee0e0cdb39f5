//! Our emulated NICs beside QEMU's: guests in the lab, same kernel, same peer, turn by turn within one boot of the host.
use super::machine_report as report;
use super::results;
use super::statistics::{show, summarize};
use super::table::markdown;
use crate::commands::build::{self, Profile};
use crate::lab::{self, Options, Scenario};
use crate::repo;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;

/// Arguments of `bench nics`.
#[derive(Debug, Clone, clap::Args)]
pub struct NicOptions {
    /// Rounds that count; one more comes first and is dropped
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Only these
    #[arg(long, value_delimiter = ',', default_values_t = MODELS.map(str::to_owned))]
    models: Vec<String>,
    /// CPUs of the lab's host
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// CPU model that QEMU emulates for the lab's host
    #[arg(long, default_value = CPU_MODEL)]
    cpu_model: String,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

const MODELS: [&str; 4] = ["e1000", "rtl8139", "pcnet", "ne2k_pci"];
/// The scenario's word for it, and ours.
const WORKLOADS: [(&str, &str); 3] = [
    ("tx", "TCP from the guest, Mb/s"),
    ("rx", "TCP to the guest, Mb/s"),
    ("udp", "datagrams of 18 bytes from the guest, 1000/s"),
];
const OURS: &str = "netbackend";
const QEMU: &str = "qemu";
/// With fast short strings, as all runs so far had it. The lab's own model has none, and gives other ratios (benches/RESULTS.md).
const CPU_MODEL: &str = "max,la57=off";
/// MiB of the lab host: QEMU is in its RAM as a file, too.
const HOST_MEMORY: u32 = 4096;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    /// 1000 bits, or datagrams, per second
    rate: f64,
    /// of the guest's vCPU, for each MB that travelled
    exits: f64,
}

/// Samples by workload and system, in order.
type Samples = BTreeMap<(String, String), Vec<Sample>>;

/// Measures model after model, and writes the section of the results.
pub fn nics(ui: Ui, options: &NicOptions) -> Result<()> {
    let scenario = Scenario::load("nics")?;
    let mut lab = Options::new(build::programs(ui, Profile::Release)?);
    lab.memory_mib = HOST_MEMORY;
    // One is another lab, with other figures.
    (lab.cpus, lab.cpus_after_fault) = (options.cpus, options.cpus);
    lab.cpu_model.clone_from(&options.cpu_model);
    let (mut rows, mut failed, mut stalls) = (Vec::new(), Vec::new(), Vec::new());
    for model in &options.models {
        let rounds = options.rounds + 1;
        lab.settings = [
            ("model", model.clone()),
            ("rounds", rounds.to_string()),
            ("seconds", options.seconds.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec();
        // What was measured of the others is not lost with one that fails, nor with a lab host that dies.
        match lab::run(ui, &scenario, &lab) {
            Ok(verdict) if verdict.passed() => {
                rows.extend(table_rows(model, &samples(&verdict.results)?)?);
                stalls.extend(stood_still(model, &verdict.results));
            }
            Ok(verdict) => {
                failed.push(format!("{model} (see {})", repo::display(&verdict.console)));
            }
            Err(error) => failed.push(format!("{model} ({error:#})")),
        }
    }
    let body = write_up(options, &rows, &stalls);
    results::tell(ui, "nics", &body, options.dry || rows.is_empty())?;
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("not measured: {}", failed.join(", "))
    }
}

/// What the scenario said: `figure WORKLOAD SYSTEM RATE EXITS MB`.
fn samples(results: &[String]) -> Result<Samples> {
    let mut samples = Samples::new();
    for line in results {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["figure", workload, system, figures @ ..] = words.as_slice() else {
            continue;
        };
        let figures: Vec<f64> = figures
            .iter()
            .map(|word| word.parse().with_context(|| format!("a figure: {line}")))
            .collect::<Result<_>>()?;
        let [rate, exits, mb] = figures[..] else {
            bail!("not three figures: {line}");
        };
        let key = ((*workload).to_owned(), (*system).to_owned());
        samples.entry(key).or_default().push(Sample {
            rate,
            // A measurement in which nothing travelled is none.
            exits: exits / mb.max(0.001),
        });
    }
    Ok(samples)
}

/// Tests that came to no end: `note WORKLOAD SYSTEM stood still: …`. What travelled until then is their figure.
fn stood_still(model: &str, results: &[String]) -> Vec<String> {
    let of = |line: &String| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["note", workload, system, "stood", "still:", ..] => {
            Some(format!("{model} {workload} ({system})"))
        }
        _ => None,
    };
    results.iter().filter_map(of).collect()
}

fn table_rows(model: &str, samples: &Samples) -> Result<Vec<Vec<String>>> {
    WORKLOADS
        .iter()
        .map(|(workload, words)| {
            let of = |system: &str, figure: fn(&Sample) -> f64| {
                let key = ((*workload).to_owned(), system.to_owned());
                // The first round warms up.
                let values = samples.get(&key).into_iter().flatten().skip(1).map(figure);
                summarize(values).with_context(|| format!("{model}: no figures of {workload}"))
            };
            let rate = |sample: &Sample| sample.rate / 1000.0;
            let exits = |sample: &Sample| sample.exits;
            let (ours, theirs) = (of(OURS, rate)?, of(QEMU, rate)?);
            let (our_exits, their_exits) = (of(OURS, exits)?, of(QEMU, exits)?);
            Ok(vec![
                format!("{model}: {words}"),
                show(ours, 2),
                show(theirs, 2),
                format!("{:.2}", ours.median / theirs.median),
                show(our_exits, 0),
                show(their_exits, 0),
                format!("{:.2}", our_exits.median / their_exits.median),
            ])
        })
        .collect()
}

fn write_up(options: &NicOptions, rows: &[Vec<String>], stalls: &[String]) -> String {
    let heading = [
        "median (least–most)",
        "vmm and netbackend",
        "QEMU",
        "ratio",
        "exits per MB",
        "QEMU's",
        "ratio",
    ];
    let stalls = match stalls {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    let qemu = report::package_version("qemu-system-x86").unwrap_or_else(|| "unknown".into());
    format!(
        "## Emulated NICs, beside QEMU's\n\n\
         * When: {}. Command: `cargo xtask bench nics`, {} rounds in turns, {} s each, first round dropped.\n\
         * Where: {}; in it the lab's host, which QEMU emulates (CPUs: {}, `{}`): only ratios mean anything.\n\
         * What: two guests with Debian's stock kernel and drivers under KVM, one of vmm and one of QEMU (`-machine pc,accel=kvm`, a tap of \
         its own); the peer is iperf3 in a namespace of the lab's host, behind netbackend's tap port or QEMU's tap. Exits of the vCPU are KVM's \
         count. Versions: netbackend {}, QEMU {qemu}.\n\
         * Tests that came to no end, and count with what travelled until then: {stalls}.\n\n{}",
        report::date(),
        options.rounds,
        options.seconds,
        report::machine(),
        options.cpus,
        options.cpu_model,
        env!("CARGO_PKG_VERSION"),
        markdown(&heading.map(str::to_owned), rows)
    )
}

#[cfg(test)]
#[path = "nics_test.rs"]
mod tests;
