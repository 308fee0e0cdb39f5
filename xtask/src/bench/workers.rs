//! Whether two workers carry twice as much as one.
//!
//! A worker and the generator that feeds it share a CPU, each leaving it to the other when there is nothing to do. So two CPUs hold
//! two of both, and whatever two workers of one network cost each other shows in what all carry.
use super::backend::{Bench, Peer, rotated};
use super::generator::{Generator, Sample};
use super::machine_report as report;
use super::netbackend::{Daemon, Setup};
use super::results;
use super::statistics::{show, summarize};
use super::table::markdown;
use crate::exec;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Least ratio of what two carry to what one does.
const AT_LEAST: f64 = 1.8;
/// Frames in bytes.
const SIZES: [u32; 2] = [64, 1518];
/// Ports of the network: the pairs are the first two, and the last two.
const PORTS: [&str; 4] = ["a0", "a1", "b0", "b1"];
/// The generators' addresses there, which the switch is told: what goes to a station that it has yet to hear of is flooded, and
/// another pair's frames are none that a generator expects. The second pair sends by its second port.
const ADDRESSES: [&str; 4] = [
    "52:54:00:00:00:00",
    "52:54:01:00:00:00",
    "52:54:03:00:00:00",
    "52:54:02:00:00:00",
];
/// How long a generator may take to attach.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `bench workers`.
#[derive(Debug, Clone, clap::Args)]
pub struct WorkersOptions {
    /// Rounds; the first one warms up and is dropped
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
    rounds: u32,
    /// Seconds for each case in each round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

/// Workers, by the CPUs that they run on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Case {
    /// One, on the first CPU or on the second
    One(usize),
    Two,
}

/// What all pairs of a case carried.
#[derive(Debug, Clone, Copy)]
struct Carried {
    case: Case,
    size: u32,
    mpps: f64,
    /// The slower pair's share of what the faster one has.
    balance: f64,
}

/// Measures all cases in turns and writes the section of the results.
pub fn workers(ui: Ui, options: &WorkersOptions) -> Result<()> {
    let bench = Bench::new(ui, &[Peer::Netbackend])?;
    let cases = [Case::One(0), Case::Two, Case::One(1)];
    let mut carried: Vec<Carried> = Vec::new();
    for round in 0..options.rounds {
        let title = format!("round {} of {}", round + 1, options.rounds);
        ui.step(&title, |step| {
            for size in SIZES {
                for case in rotated(&cases, round) {
                    let measure = || measure(&bench, case, size, options.seconds);
                    let pairs = bench.neighbours.measure(measure)?;
                    let mpps = pairs.iter().sum();
                    let balance = balance(&pairs);
                    step.progress(&format!("{size} B, {case:?}: {mpps:.2} Mpps"));
                    if round > 0 {
                        carried.push(Carried {
                            case,
                            size,
                            mpps,
                            balance,
                        });
                    }
                }
            }
            Ok(())
        })?;
    }
    let body = write_up(&bench, options, &carried);
    results::tell(ui, "workers", &body, options.dry)
}

/// 1: all pairs carry the same.
fn balance(mpps: &[f64]) -> f64 {
    let least = mpps.iter().copied().fold(f64::INFINITY, f64::min);
    let most = mpps.iter().copied().fold(0.0, f64::max);
    least / most
}

/// Mpps of each pair.
fn measure(bench: &Bench, case: Case, size: u32, seconds: f64) -> Result<Vec<f64>> {
    let both = [bench.cpu, bench.generator_cpu];
    let cpus = match case {
        Case::One(index) => vec![both[index]],
        Case::Two => both.to_vec(),
    };
    let setup = Setup {
        settings: format!("workers = {}\ncpus = {cpus:?}", cpus.len()),
        ports: PORTS.map(str::to_owned).to_vec(),
        addresses: ADDRESSES.map(str::to_owned).to_vec(),
    };
    let directory = bench.directory.join("netbackend");
    let daemon = Daemon::start(&bench.programs.netbackend, &directory, &setup, None)?;
    thread::scope(|scope| {
        let mut generators = Vec::new();
        for (number, cpu) in cpus.iter().enumerate() {
            // A queue is given to the worker that has fewest: the first pair's to the first worker, then its other port's to the
            // second. So the second pair sends by its second port.
            let [a0, a1, b0, b1] = PORTS;
            let (from, to) = if number == 0 { (a0, a1) } else { (b1, b0) };
            let sockets = [from, to].map(|port| daemon.socket(port));
            let generator = Generator {
                program: bench.programs.generator.clone(),
                cpu: Some(*cpu),
            };
            let arguments = [
                format!("--size={size}"),
                "--yield".to_owned(),
                "--warm-up=1".to_owned(),
                format!("--first-pair={number}"),
                format!("--seconds={seconds}"),
            ];
            generators.push(scope.spawn(move || generator.throughput(&sockets, false, &arguments)));
            wait_until_served(bench, &daemon, from, number)?;
        }
        generators
            .into_iter()
            .map(|generator| match generator.join() {
                Ok(sample) => sample.map(|Sample { mpps, .. }| mpps),
                Err(_) => bail!("a generator's thread ended"),
            })
            .collect()
    })
}

/// Until the port's queue carries frames; it must be worker `wanted` that serves it.
fn wait_until_served(bench: &Bench, daemon: &Daemon, port: &str, wanted: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        let mut show = Command::new(&bench.programs.netbackend);
        show.args(["port", "show", "bench", port, "--json", "--control-socket"]);
        let text = exec::stdout(show.arg(daemon.control()))?;
        let shown: Value = serde_json::from_str(&text).context("what netbackend prints")?;
        if shown["state"] == "running" && shown["counters"]["tx_frames"].as_u64() > Some(0) {
            let mut queues = shown["queues"].as_array().into_iter().flatten();
            let worker = queues
                .find_map(|queue| queue["worker"].as_u64())
                .context("no worker serves the queue")?;
            if usize::try_from(worker)? != wanted {
                bail!("worker {worker} serves {port}, not worker {wanted}");
            }
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("no frames from {port}: {text}");
        }
        thread::yield_now();
    }
}

fn write_up(bench: &Bench, options: &WorkersOptions, carried: &[Carried]) -> String {
    let balance = |size: u32| {
        let two = |one: &&Carried| one.size == size && one.case == Case::Two;
        summarize(carried.iter().filter(two).map(|one| one.balance))
    };
    let summary = |size: u32, wanted: fn(Case) -> bool| {
        let of = carried
            .iter()
            .filter(|one| one.size == size && wanted(one.case));
        summarize(of.map(|one| one.mpps))
    };
    let row = |size: u32| {
        let one = summary(size, |case| case != Case::Two)?;
        let two = summary(size, |case| case == Case::Two)?;
        let ratio = two.median / one.median;
        let verdict = if ratio >= AT_LEAST { "yes" } else { "no" };
        Some(vec![
            size.to_string(),
            show(one, 2),
            show(two, 2),
            show(balance(size)?, 2),
            format!("{ratio:.2}"),
            format!("{AT_LEAST:.2}"),
            verdict.to_owned(),
        ])
    };
    let heading = [
        "bytes",
        "one worker, one pair, Mpps",
        "two workers, two pairs, Mpps",
        "balance",
        "ratio",
        "at least",
        "reached",
    ];
    let rows: Vec<Vec<String>> = SIZES.into_iter().filter_map(row).collect();
    [
        format!(
            "## Two workers\n\n\
             * When: {}. Command: `cargo xtask bench workers`, {} rounds in turns, {} s each, first round dropped; medians \
             (least–most).\n\
             * Where: {}.\n\
             * What: one network, each worker on a CPU of its own, which it shares with the generator of its pair: both leave it to \
             each other when they have nothing to do. One worker is measured on either CPU. Balance is what the \
             slower pair of two carries for each frame of the faster one.\n\
             {}",
            report::date(),
            options.rounds,
            options.seconds,
            report::machine(),
            bench.neighbours.note(),
        ),
        markdown(&heading.map(str::to_owned), &rows),
    ]
    .join("\n\n")
}
