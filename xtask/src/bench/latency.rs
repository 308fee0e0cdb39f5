//! How long frames take: under polling back-ends, and out of an idle one.
use super::PORTS;
use super::backend::{Bench, Peer, rotated};
use super::generator::{Generator, Times, parse_latency};
use super::machine_report as report;
use super::netbackend::{Daemon, Setup};
use super::results;
use super::statistics::summarize;
use super::table::markdown;
use crate::exec;
use crate::ui::Ui;
use anyhow::Result;
use std::process::Command;

/// Who goes back and forth with frames: a way between two guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Everybody polls; the time is that of a round trip.
    Busy(Peer),
    /// Our daemon after it went to sleep; one way.
    Idle,
    /// The kernel's bridge between two taps; one way.
    KernelBridge,
}

const WAYS: [Way; 7] = [
    Way::Busy(Peer::Netbackend),
    Way::Busy(Peer::Testpmd),
    Way::Busy(Peer::Macswap),
    Way::Busy(Peer::Ovs),
    Way::Busy(Peer::OvsFlows),
    Way::Idle,
    Way::KernelBridge,
];

impl Way {
    fn name(self) -> String {
        match self {
            Self::Busy(peer) => format!("busy, round trip: {}", peer.name()),
            Self::Idle => "from idle, one way: netbackend".to_owned(),
            Self::KernelBridge => "from idle, one way: Linux bridge, two taps".to_owned(),
        }
    }
}

/// Arguments of `bench latency`.
#[derive(Debug, Clone, clap::Args)]
pub struct LatencyOptions {
    /// Rounds; the first one warms up and is dropped
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
    rounds: u32,
    /// Seconds of going back and forth in each round
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Frames sent to an idle back-end in each round
    #[arg(long, default_value_t = 1000)]
    count: u32,
    /// Seconds between two of these
    #[arg(long, default_value_t = 0.001)]
    gap: f64,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

/// Measures all ways in turns and writes the section of the results.
pub fn latency(ui: Ui, options: &LatencyOptions) -> Result<()> {
    let bench = Bench::new(ui, &Peer::FORWARDERS)?;
    let mut samples: Vec<(Way, Times)> = Vec::new();
    for round in 0..options.rounds {
        for way in rotated(&WAYS, round) {
            let title = format!("round {} of {}: {}", round + 1, options.rounds, way.name());
            let times = ui.step(&title, |step| {
                let measure = || measure(&bench, way, options);
                let times = bench.neighbours.measure(measure)?;
                step.progress(&format!("p50 {:.2} µs, p99 {:.2} µs", times.p50, times.p99));
                Ok(times)
            })?;
            if round > 0 {
                samples.push((way, times));
            }
        }
    }
    let body = write_up(&bench, options, &samples);
    results::tell(ui, "latency", &body, options.dry)
}

fn measure(bench: &Bench, way: Way, options: &LatencyOptions) -> Result<Times> {
    let program = bench.programs.generator.clone();
    let idle = [
        "--idle".to_owned(),
        format!("--gap={}", options.gap),
        format!("--count={}", options.count),
    ];
    match way {
        Way::Busy(peer) => {
            let running = bench.start(peer, false)?;
            let generator = Generator {
                program,
                cpu: Some(bench.generator_cpu),
            };
            let time = [format!("--seconds={}", options.seconds)];
            generator.latency(&running.sockets, running.listen, &time)
        }
        Way::Idle => {
            let directory = bench.directory.join("netbackend");
            let program_of_ours = &bench.programs.netbackend;
            let daemon = Daemon::start(program_of_ours, &directory, &Setup::default(), None)?;
            let sockets = PORTS.map(|port| daemon.socket(port));
            // Wherever the scheduler likes them to be, as guests are.
            let generator = Generator { program, cpu: None };
            generator.latency(&sockets, false, &idle)
        }
        Way::KernelBridge => {
            // Bridge and taps vanish with the namespace.
            let script = "ip link add bench type bridge && \
                for tap in from to; do \
                    ip tuntap add $tap mode tap && ip link set $tap master bench up; \
                done && ip link set bench up && exec \"$@\"";
            let mut command = Command::new("unshare");
            command.args(["--net", "sh", "-e", "-c", script, "sh"]);
            command
                .arg(program)
                .args(["latency", "--format=tsv", "--tap", "from", "to"]);
            parse_latency(exec::stdout(command.args(idle))?.trim())
        }
    }
}

fn write_up(bench: &Bench, options: &LatencyOptions, samples: &[(Way, Times)]) -> String {
    let median = |way: Way, value: fn(&Times) -> f64| {
        let of = samples.iter().filter(|(other, _)| *other == way);
        summarize(of.map(|(_, times)| value(times)))
    };
    let row = |way: &Way| {
        let cell = |value| {
            median(*way, value).map_or_else(
                || "–".to_owned(),
                |one| format!("{:.2} ({:.2}–{:.2})", one.median, one.min, one.max),
            )
        };
        vec![
            way.name(),
            cell(|times| times.p50),
            cell(|times| times.p99),
            cell(|times| times.p999),
        ]
    };
    let heading = ["64 B", "p50, µs", "p99, µs", "p99.9, µs"].map(str::to_owned);
    let rows: Vec<Vec<String>> = WAYS.iter().map(row).collect();
    let targets = targets(|way, value| median(way, value).map(|summary| summary.median));
    [
        format!(
            "## Latency\n\n\
             * When: {}. Command: `cargo xtask bench latency`, {} rounds in turns, first round dropped; medians (least–most) of the \
             rounds' percentiles.\n\
             * Where: {}.\n\
             * Busy: one frame of 64 bytes goes from guest to guest and back, {} s in each round; back-end on one CPU, generator, \
             which polls both ports, on another. The times are those of round trips.\n\
             * From idle: {} frames, one every {} ms, one way. The back-end sleeps in between (`poll_idle_us` is 50), and the receiver, a \
             thread of its own, sleeps on its call eventfd, or in poll(2) on its tap. Nothing is pinned. What the \
             kernel's bridge is spared: its sender runs the whole of the bridge in its own write(2), so one thread is woken for a frame, \
             the receiver; with a switch in a process of its own it is two.\n\
             {}\n\
             * Versions: {}.",
            report::date(),
            options.rounds,
            report::machine(),
            options.seconds,
            options.count,
            options.gap * 1e3,
            bench.neighbours.note(),
            bench.versions(&Peer::FORWARDERS),
        ),
        markdown(&heading, &rows),
        "Targets:".to_owned(),
        targets,
    ]
    .join("\n\n")
}

type Value = fn(&Times) -> f64;

fn targets(median: impl Fn(Way, Value) -> Option<f64>) -> String {
    let ours = Way::Busy(Peer::Netbackend);
    let p50: Value = |times| times.p50;
    let p99: Value = |times| times.p99;
    let targets = [
        (
            "busy: p50 to testpmd io's",
            (ours, p50),
            (Way::Busy(Peer::Testpmd), p50),
            1.0,
        ),
        ("busy: p99 to p50", (ours, p99), (ours, p50), 2.0),
        (
            "from idle: p50 to the bridge's",
            (Way::Idle, p50),
            (Way::KernelBridge, p50),
            1.0,
        ),
    ];
    let row = |(name, one, other, most): &(&str, (Way, _), (Way, _), f64)| {
        let ratio = median(one.0, one.1)? / median(other.0, other.1)?;
        Some(vec![
            (*name).to_owned(),
            format!("{most:.1}"),
            format!("{ratio:.2}"),
            if ratio <= *most { "yes" } else { "no" }.to_owned(),
        ])
    };
    let rows: Vec<Vec<String>> = targets.iter().filter_map(row).collect();
    let heading = ["ratio", "at most", "measured", "reached"].map(str::to_owned);
    markdown(&heading, &rows)
}
