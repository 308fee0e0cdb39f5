//! What is left of a port's rate beside others that misbehave.
//!
//! The generators of those who misbehave would take the CPU of the one that is measured, so not whole processes are measured but
//! the datapath's tests of the same name: in frames per second of the worker's own time, and in a release build.
use super::machine_report as report;
use super::results;
use super::statistics::{show, summarize};
use super::table::markdown;
use crate::commands::build::cargo;
use crate::exec;
use crate::ui::Ui;
use anyhow::{Result, ensure};

/// Least share of its rate that a port is to keep.
const AT_LEAST: f64 = 90.0;
/// Where the tests are that say what was kept.
const TESTS: &str = "network::datapath::worker::tests::";

/// Arguments of `bench fairness`.
#[derive(Debug, Clone, clap::Args)]
pub struct FairnessOptions {
    /// How often each case is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

/// What a port kept in one case.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    beside: String,
    percent: f64,
}

/// Measures all cases and writes the section of the results.
pub fn fairness(ui: Ui, options: &FairnessOptions) -> Result<()> {
    let mut kept = Vec::new();
    for round in 0..options.rounds {
        let title = format!("round {} of {}", round + 1, options.rounds);
        ui.step(&title, |step| {
            let found = measure()?;
            for Kept { beside, percent } in &found {
                step.progress(&format!("beside {beside}: {percent:.0} %"));
            }
            kept.extend(found);
            Ok(())
        })?;
    }
    let body = write_up(options, &kept);
    results::tell(ui, "fairness", &body, options.dry)
}

fn measure() -> Result<Vec<Kept>> {
    let mut command = cargo();
    command.args(["test", "--release", "--package", "netbackend", "--lib"]);
    command.args(["--", "--nocapture", "--test-threads=1"]);
    let printed = exec::stdout(command.arg(TESTS))?;
    let kept: Vec<Kept> = printed.lines().filter_map(parse).collect();
    ensure!(
        !kept.is_empty(),
        "no test of the datapath says what a port kept"
    );
    Ok(kept)
}

/// A line of a test: `beside a storm: 97.1 % of 4000000 frames/s`, perhaps behind the test's name.
fn parse(line: &str) -> Option<Kept> {
    let (_, said) = line.split_once("beside ")?;
    let (beside, figures) = said.split_once(": ")?;
    let (percent, _) = figures.split_once(" % of ")?;
    Some(Kept {
        beside: beside.to_owned(),
        percent: percent.parse().ok()?,
    })
}

fn write_up(options: &FairnessOptions, kept: &[Kept]) -> String {
    let mut cases: Vec<&str> = Vec::new();
    for Kept { beside, .. } in kept {
        if !cases.contains(&beside.as_str()) {
            cases.push(beside);
        }
    }
    let row = |case: &str| {
        let of = kept.iter().filter(|one| one.beside == case);
        let share = summarize(of.map(|one| one.percent))?;
        let verdict = if share.median >= AT_LEAST {
            "yes"
        } else {
            "no"
        };
        Some(vec![
            case.to_owned(),
            show(share, 1),
            format!("{AT_LEAST:.0}"),
            verdict.to_owned(),
        ])
    };
    let heading = ["beside", "rate kept, %", "at least", "reached"].map(str::to_owned);
    let rows: Vec<Vec<String>> = cases.into_iter().filter_map(row).collect();
    [
        format!(
            "## Fairness\n\n\
             * When: {}. Command: `cargo xtask bench fairness`, {} rounds; medians (least–most).\n\
             * Where: {}.\n\
             * What: eight ports on one worker, split rings. One sends frames of 64 bytes to another as fast as they are taken; how \
             many arrive per second of the worker's own time, compared to the same without those who misbehave (both the best of \
             five or more in turns, as whatever else the machine does only slows).",
            report::date(),
            options.rounds,
            report::machine(),
        ),
        markdown(&heading, &rows),
    ]
    .join("\n\n")
}

#[cfg(test)]
#[path = "fairness_test.rs"]
mod tests;
