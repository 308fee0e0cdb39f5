//! Is it the generator that is measured? Ours beside DPDK's own, through the same back-end.
use super::backend::{Bench, Peer, rotated};
use super::generator::Generator;
use super::machine_report as report;
use super::process::Process;
use super::results;
use super::statistics::{Summary, summarize};
use super::table::markdown;
use crate::ui::Ui;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Who generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// `vu-gen throughput --both-ways`.
    Ours,
    /// `dpdk-testpmd` with two virtio-user ports, forward mode `flowgen`: each port receives, and sends frames made anew.
    Dpdk,
}

impl Who {
    const ALL: [Self; 2] = [Self::Ours, Self::Dpdk];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "vu-gen, both ways",
            Self::Dpdk => "testpmd flowgen on virtio-user, vectorized",
        }
    }
}

/// Arguments of `bench generators`.
#[derive(Debug, Clone, clap::Args)]
pub struct GeneratorOptions {
    /// Rounds; the first one warms up and is dropped
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
    rounds: u32,
    /// Seconds for each generator in each round
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

/// Measures both generators in turns and writes the section of the results.
pub fn generators(ui: Ui, options: &GeneratorOptions) -> Result<()> {
    let bench = Bench::new(ui, &[Peer::Testpmd])?;
    let mut samples: Vec<(Who, f64, Option<f64>)> = Vec::new();
    for round in 0..options.rounds {
        for who in rotated(&Who::ALL, round) {
            let title = format!("round {} of {}: {}", round + 1, options.rounds, who.name());
            let (mpps, busy) = ui.step(&title, |step| {
                let measure = || measure(&bench, who, options.seconds);
                let (mpps, busy) = bench.neighbours.measure(measure)?;
                step.progress(&format!("{mpps:.2} Mpps"));
                Ok((mpps, busy))
            })?;
            if round > 0 {
                samples.push((who, mpps, busy));
            }
        }
    }
    let body = write_up(&bench, options, &samples);
    results::tell(ui, "generators", &body, options.dry)
}

/// Millions of frames per second, both directions together, and our generator's busy share.
fn measure(bench: &Bench, who: Who, seconds: u32) -> Result<(f64, Option<f64>)> {
    let running = bench.start(Peer::Testpmd, false)?;
    match who {
        Who::Ours => {
            let generator = Generator {
                program: bench.programs.generator.clone(),
                cpu: Some(bench.generator_cpu),
            };
            let arguments = [
                "--size=64".to_owned(),
                "--both-ways".to_owned(),
                format!("--seconds={seconds}"),
            ];
            let sample = generator.throughput(&running.sockets, false, &arguments)?;
            Ok((sample.mpps, Some(sample.busy)))
        }
        Who::Dpdk => Ok((dpdk(bench, &running.sockets, seconds)?, None)),
    }
}

fn dpdk(bench: &Bench, sockets: &[PathBuf; 2], seconds: u32) -> Result<f64> {
    let directory = bench.directory.join("generator");
    std::fs::create_dir_all(&directory)?;
    let mut command = Command::new("dpdk-testpmd");
    command.arg(format!("--lcores=(0,1)@{}", bench.generator_cpu));
    command.args(["--in-memory", "--single-file-segments", "--no-pci"]);
    command.args(["--no-telemetry", "--iova-mode=va", "-m", "128"]);
    command.arg("--force-max-simd-bitwidth=512");
    for (index, socket) in sockets.iter().enumerate() {
        command.arg(format!(
            "--vdev=net_virtio_user{index},path={},queue_size=256,mrg_rxbuf=0,in_order=0,vectorized=1",
            socket.display()
        ));
    }
    command.args(["--", "--forward-mode=flowgen", "--nb-cores=1"]);
    // 64 bytes without FCS; testpmd counts like we do.
    command.args(["--txpkts=64", "--burst=32", "--stats-period=1"]);
    command.arg("--total-num-mbufs=20000");
    let mut process = Process::start("generator", &directory, &mut command)?;
    process.wait_until("statistics", || has_statistics(&directory))?;
    thread::sleep(Duration::from_secs(seconds.into()));
    let log = std::fs::read_to_string(directory.join("generator.log"))?;
    rate(&log).with_context(|| format!("testpmd's log:\n{}", process.log()))
}

fn has_statistics(directory: &Path) -> bool {
    let log = std::fs::read_to_string(directory.join("generator.log"));
    log.is_ok_and(|log| log.contains("Rx-pps:"))
}

/// What both ports received in each period, `Rx-pps: 123 Rx-bps: …`: the median of their sums, in millions.
fn rate(log: &str) -> Option<f64> {
    let of_port: Vec<f64> = log
        .lines()
        .filter_map(|line| {
            line.split_once("Rx-pps:")?
                .1
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .collect();
    // The first period holds the start.
    let sums = of_port.chunks_exact(2).skip(1);
    let sums = sums.map(|both| both.iter().sum::<f64>());
    summarize(sums).map(|summary| summary.median / 1e6)
}

fn write_up(
    bench: &Bench,
    options: &GeneratorOptions,
    samples: &[(Who, f64, Option<f64>)],
) -> String {
    let summary = |who: Who| {
        let of = samples.iter().filter(|(other, ..)| *other == who);
        summarize(of.map(|(_, mpps, _)| *mpps))
    };
    let row = |who: &Who| {
        let Summary { median, min, max } = summary(*who)?;
        let busy = samples.iter().filter(|(other, ..)| other == who);
        let busy = summarize(busy.filter_map(|(_, _, busy)| *busy));
        Some(vec![
            who.name().to_owned(),
            format!("{median:.2} ({min:.2}–{max:.2})"),
            busy.map_or_else(
                || "–".to_owned(),
                |busy| format!("{:.0} %", busy.median * 100.0),
            ),
        ])
    };
    let rows: Vec<Vec<String>> = Who::ALL.iter().filter_map(row).collect();
    let ratio = match (summary(Who::Ours), summary(Who::Dpdk)) {
        (Some(ours), Some(dpdk)) => format!("{:.2}", ours.median / dpdk.median),
        _ => "unknown".to_owned(),
    };
    let heading = ["64 B, both ways", "Mpps in all", "busy"].map(str::to_owned);
    [
        format!(
            "## The generator beside DPDK's\n\n\
             * When: {}. Command: `cargo xtask bench generators`, {} rounds in turns, {} s each, first round dropped; medians \
             (least–most).\n\
             * Where: {}. Back-end of both: testpmd io on one CPU; generator on another.\n\
             * What: each port sends and receives, bursts of 32, split rings of 256 entries.\n\
             {}\n\
             * Versions: {}.",
            report::date(),
            options.rounds,
            options.seconds,
            report::machine(),
            bench.neighbours.note(),
            bench.versions(&[Peer::Testpmd]),
        ),
        markdown(&heading, &rows),
        format!("Ratio, vu-gen to DPDK's generator: {ratio} (at least 1.0 is wanted)."),
    ]
    .join("\n\n")
}

#[cfg(test)]
#[path = "generators_test.rs"]
mod tests;
