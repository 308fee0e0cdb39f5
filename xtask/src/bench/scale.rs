//! Whether a frame costs the same among many: many ports, many addresses.
use super::PORTS;
use super::backend::{Bench, Peer, rotated};
use super::generator::{Generator, Sample};
use super::idle::attach_silent;
use super::machine_report as report;
use super::netbackend::Setup;
use super::results;
use super::statistics::{show, summarize};
use super::table::markdown;
use crate::ui::Ui;
use anyhow::Result;

/// Room for all addresses of a port, the same in all cases.
const SETTINGS: &str = "fdb_capacity_per_port = 8192";

/// What surrounds the two ports that are measured.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Case {
    name: &'static str,
    /// Ports that are attached and silent.
    silent: u32,
    /// Addresses behind each of the two ports.
    stations: u32,
    /// Least ratio to the first case.
    at_least: f64,
}

const CASES: [Case; 3] = [
    Case {
        name: "2 ports, 2 addresses",
        silent: 0,
        stations: 1,
        at_least: 1.0,
    },
    Case {
        name: "2 active of 1000 attached ports",
        silent: 998,
        stations: 1,
        at_least: 0.95,
    },
    Case {
        name: "10 000 addresses on 2 ports",
        silent: 0,
        stations: 5000,
        at_least: 0.9,
    },
];

/// Arguments of `bench scale`.
#[derive(Debug, Clone, clap::Args)]
pub struct ScaleOptions {
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

/// Measures all cases in turns and writes the section of the results.
pub fn scale(ui: Ui, options: &ScaleOptions) -> Result<()> {
    let bench = Bench::new(ui, &[Peer::Netbackend])?;
    let mut samples: Vec<(Case, Sample)> = Vec::new();
    for round in 0..options.rounds {
        for case in rotated(&CASES, round) {
            let title = format!("round {} of {}: {}", round + 1, options.rounds, case.name);
            let sample = ui.step(&title, |step| {
                let measure = || measure(&bench, case, options.seconds);
                let sample = bench.neighbours.measure(measure)?;
                step.progress(&format!("{:.2} Mpps", sample.mpps));
                Ok(sample)
            })?;
            if round > 0 {
                samples.push((case, sample));
            }
        }
    }
    let body = write_up(&bench, options, &samples);
    results::tell(ui, "scale", &body, options.dry)
}

fn measure(bench: &Bench, case: Case, seconds: f64) -> Result<Sample> {
    let silent: Vec<String> = (0..case.silent).map(|port| format!("s{port}")).collect();
    let setup = Setup {
        settings: SETTINGS.to_owned(),
        // The active ones come last: behind all that a scan would pass.
        ports: silent
            .iter()
            .cloned()
            .chain(PORTS.map(str::to_owned))
            .collect(),
        ..Setup::default()
    };
    let daemon = bench.daemon(&setup)?;
    let _guests = (case.silent > 0)
        .then(|| {
            attach_silent(
                &bench.programs.generator,
                &bench.directory,
                &daemon,
                &silent,
            )
        })
        .transpose()?;
    let generator = Generator {
        program: bench.programs.generator.clone(),
        cpu: Some(bench.generator_cpu),
    };
    let arguments = [
        "--size=64".to_owned(),
        format!("--stations={}", case.stations),
        // Among frames of two flows the generator writes addresses and ports into each, however many stations there are: the same
        // work in all cases.
        "--flows=2".to_owned(),
        format!("--seconds={seconds}"),
    ];
    generator.throughput(&PORTS.map(|port| daemon.socket(port)), false, &arguments)
}

fn write_up(bench: &Bench, options: &ScaleOptions, samples: &[(Case, Sample)]) -> String {
    let summary = |case: &Case, value: fn(&Sample) -> f64| {
        let of = samples.iter().filter(|(other, _)| other == case);
        summarize(of.map(|(_, sample)| value(sample)))
    };
    let [first, ..] = CASES;
    let unit = summary(&first, |sample| sample.mpps).map_or(f64::NAN, |one| one.median);
    let row = |case: &Case| {
        let mpps = summary(case, |sample| sample.mpps)?;
        let busy = summary(case, |sample| sample.busy)?.median * 100.0;
        let ratio = mpps.median / unit;
        let verdict = if ratio >= case.at_least { "yes" } else { "no" };
        Some(vec![
            case.name.to_owned(),
            show(mpps, 2),
            format!("{busy:.0} %"),
            format!("{ratio:.2}"),
            format!("{:.2}", case.at_least),
            verdict.to_owned(),
        ])
    };
    let heading = [
        "64 B, one way",
        "Mpps",
        "generator busy",
        "ratio",
        "at least",
        "reached",
    ];
    let rows: Vec<Vec<String>> = CASES.iter().filter_map(row).collect();
    [
        format!(
            "## Among many\n\n\
             * When: {}. Command: `cargo xtask bench scale`, {} rounds in turns, {} s each, first round dropped; medians \
             (least–most).\n\
             * Where: {}. Daemon with all its threads on one CPU, generator on another.\n\
             * What: frames of 64 bytes, bursts of 32, split rings. In all cases the generator writes addresses and ports into each frame; they take turns frame by frame. \
             `{SETTINGS}` in all cases.\n\
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
