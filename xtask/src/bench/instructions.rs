//! Instructions per frame, counted by callgrind: the same every time, whatever else the machine does. A guard against getting slower
//! unnoticed; what it cannot see is the memory.
use super::machine_report as report;
use super::results;
use super::table::markdown;
use crate::commands::build::{Profile, cargo};
use crate::exec;
use crate::repo;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Chains and frames in a burst of the counted program.
const BURST: f64 = 32.0;
/// Bursts in the shorter of two runs; the difference to the longer one is free of start and end.
const SHORT: u32 = 50;
const LONG: u32 = 150;
/// Share by which a count may be off its baseline: threads meet a little differently in each run.
const TOLERANCE: f64 = 0.1;

/// What only the thread that forwards frames is in.
const DATAPATH: &str = "datapath::worker::Worker::run";

/// Functions of the counted program, one for each ring primitive, and what they are called in tables.
const RINGS: [(&str, &str); 4] = [
    ("driver_add", "driver: add, publish"),
    ("device_pop", "device: pop"),
    ("device_complete", "device: complete, publish"),
    ("driver_poll", "driver: poll used"),
];

/// Frames through a whole network.
const FORWARD: [(&str, &[&str]); 8] = [
    ("forward 64", &["forward", "64"]),
    ("forward 64, packed", &["forward", "64", "packed"]),
    ("forward 64, 2000 addresses", &["forward", "64", "stations"]),
    ("forward 1518", &["forward", "1518"]),
    ("forward 1518, packed", &["forward", "1518", "packed"]),
    ("forward 64 KiB GSO", &["forward", "gso"]),
    ("forward 1518, mergeable", &["forward", "1518", "mergeable"]),
    ("forward 9000, mergeable", &["forward", "9000", "mergeable"]),
];

/// Arguments of `bench instructions`.
#[derive(Debug, Clone, clap::Args)]
pub struct InstructionOptions {
    /// Make what is counted now the baseline of later runs
    #[arg(long)]
    bless: bool,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

/// One count.
#[derive(Debug, Clone, PartialEq)]
struct Count {
    name: String,
    /// Per chain or frame.
    instructions: f64,
}

/// Counts in release builds, compares with the baseline and writes the section of the results.
pub fn instructions(ui: Ui, options: &InstructionOptions) -> Result<()> {
    let counts = count(ui, Profile::Release)?;
    if options.bless {
        bless(Profile::Release, &counts)?;
        bless(Profile::Dev, &count(ui, Profile::Dev)?)?;
        ui.note(&format!(
            "written to {}",
            repo::display(&baselines(Profile::Release))
        ));
    }
    let body = write_up(&counts, &read_baseline(Profile::Release)?);
    results::tell(ui, "instructions", &body, options.dry)?;
    compare(&counts, &read_baseline(Profile::Release)?)
}

/// Counts in the builds that tests use and compares with their baseline.
pub fn check_instructions(ui: Ui) -> Result<bool> {
    let counts = count(ui, Profile::Dev)?;
    let outcome = compare(&counts, &read_baseline(Profile::Dev)?);
    if let Err(error) = &outcome {
        ui.note(&format!("{error:#}"));
    }
    Ok(outcome.is_ok())
}

fn count(ui: Ui, profile: Profile) -> Result<Vec<Count>> {
    let program = build(ui, profile)?;
    let directory = std::env::temp_dir().join(format!("xtask-count-{}", std::process::id()));
    fs::create_dir(&directory)?;
    let counts = ui.step("count instructions (callgrind)", |step| {
        let mut counts = count_rings(&program, &directory, "split")?;
        counts.extend(count_rings(&program, &directory, "packed")?);
        for (name, arguments) in FORWARD {
            let run = |bursts| forwarding_total(&program, &directory, arguments, bursts);
            let instructions = difference(run(SHORT)?, run(LONG)?);
            step.progress(&format!("{name}: {instructions:.0}"));
            counts.push(Count {
                name: name.to_owned(),
                instructions,
            });
        }
        Ok(counts)
    });
    // Nothing in it is wanted any more.
    let _ = fs::remove_dir_all(&directory);
    counts
}

fn build(ui: Ui, profile: Profile) -> Result<PathBuf> {
    let mut command = cargo();
    // Of the whole workspace, as the tests are built: of one package alone, dependencies would have other features.
    command.args(["build", "--workspace", "--example", "count"]);
    let directory = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            command.arg("--release");
            "release"
        }
    };
    ui.heading(&exec::describe(&command));
    if !exec::run_visible(&mut command)? {
        bail!("the build failed: see the compiler's messages above");
    }
    Ok(repo::target_dir().join(directory).join("examples/count"))
}

/// Per frame, from the totals of two runs.
fn difference(short: u64, long: u64) -> f64 {
    as_float(long.saturating_sub(short)) / (BURST * f64::from(LONG - SHORT))
}

/// Each primitive has a function of its own, whose cost with all that it calls is in one report.
fn count_rings(program: &Path, directory: &Path, kind: &str) -> Result<Vec<Count>> {
    let file = directory.join(format!("rings-{kind}"));
    callgrind(program, &file, &["rings", kind], LONG, &[])?;
    let mut annotate = Command::new("callgrind_annotate");
    annotate
        .args(["--inclusive=yes", "--threshold=100"])
        .arg(&file);
    let report = exec::stdout(&mut annotate)?;
    let count = |(function, name): &(&str, &str)| {
        let total = inclusive(&report, function)
            .with_context(|| format!("callgrind has not seen the function {function}"))?;
        Ok(Count {
            name: format!("{kind}, {name}"),
            instructions: as_float(total) / (BURST * f64::from(LONG)),
        })
    };
    RINGS.iter().map(count).collect()
}

/// Instructions of the thread that forwards frames.
fn forwarding_total(
    program: &Path,
    directory: &Path,
    arguments: &[&str],
    bursts: u32,
) -> Result<u64> {
    let name = format!("{}-{bursts}", arguments.join("-"));
    let file = directory.join(&name);
    callgrind(
        program,
        &file,
        arguments,
        bursts,
        &["--separate-threads=yes"],
    )?;
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&name) {
            let text = fs::read_to_string(entry.path())?;
            if text.contains(DATAPATH) {
                return total(&text).context("callgrind wrote no totals");
            }
        }
    }
    bail!("callgrind has not seen a thread in {DATAPATH}")
}

fn callgrind(
    program: &Path,
    file: &Path,
    arguments: &[&str],
    bursts: u32,
    options: &[&str],
) -> Result<()> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet"]).args(options);
    command.arg(format!("--callgrind-out-file={}", file.display()));
    command.arg(program).args(arguments).arg(bursts.to_string());
    exec::run(&mut command)?;
    Ok(())
}

/// `totals: N` of a file that callgrind wrote.
fn total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))?;
    line.trim().parse().ok()
}

/// The cost of `function` in a report of callgrind_annotate, lines like `1,234 (56.7%)  file:crate::function [object]`. There may be
/// several: the largest is the whole, the others are what was inlined from other files.
fn inclusive(report: &str, function: &str) -> Option<u64> {
    let end = format!(":count::{function}");
    let lines = report
        .lines()
        .filter(|line| line.split_whitespace().any(|word| word.ends_with(&end)));
    let costs = lines.filter_map(|line| {
        let digits = line.split_whitespace().next()?;
        digits.replace(',', "").parse().ok()
    });
    costs.max()
}

fn baselines(profile: Profile) -> PathBuf {
    let name = match profile {
        Profile::Dev => "instructions-dev.tsv",
        Profile::Release => "instructions-release.tsv",
    };
    repo::root().join("benches").join(name)
}

fn bless(profile: Profile, counts: &[Count]) -> Result<()> {
    let line = |count: &Count| format!("{}\t{:.1}\n", count.name, count.instructions);
    let text: String = counts.iter().map(line).collect();
    let path = baselines(profile);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn read_baseline(profile: Profile) -> Result<Vec<Count>> {
    let path = baselines(profile);
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "there is no baseline {}: make one with `cargo xtask bench instructions --bless`",
            path.display()
        )
    })?;
    parse_baseline(&text).with_context(|| format!("reading {}", path.display()))
}

fn parse_baseline(text: &str) -> Result<Vec<Count>> {
    let count = |line: &str| {
        let (name, instructions) = line
            .split_once('\t')
            .with_context(|| format!("{line:?} has no tab"))?;
        Ok(Count {
            name: name.to_owned(),
            instructions: instructions.parse()?,
        })
    };
    text.lines().map(count).collect()
}

/// Fails if anything takes more instructions than it did, or is not counted any more.
fn compare(counts: &[Count], baseline: &[Count]) -> Result<()> {
    let mut worse = Vec::new();
    for base in baseline {
        match counts.iter().find(|count| count.name == base.name) {
            None => worse.push(format!("{}: it is not counted any more", base.name)),
            Some(count) if count.instructions > base.instructions * (1.0 + TOLERANCE) => {
                worse.push(format!(
                    "{}: {:.1} instead of {:.1}",
                    base.name, count.instructions, base.instructions
                ));
            }
            Some(_) => {}
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    bail!(
        "more instructions per frame than the baseline: {}. If that is meant, `cargo xtask bench instructions --bless` makes it the \
         new baseline",
        worse.join("; ")
    )
}

fn write_up(counts: &[Count], baseline: &[Count]) -> String {
    let row = |count: &Count| {
        let base = baseline.iter().find(|base| base.name == count.name);
        let base = base.map_or_else(
            || "–".to_owned(),
            |base| format!("{:.1}", base.instructions),
        );
        vec![
            count.name.clone(),
            format!("{:.1}", count.instructions),
            base,
        ]
    };
    let rows: Vec<Vec<String>> = counts.iter().map(row).collect();
    let heading = ["per chain or frame", "instructions", "baseline"].map(str::to_owned);
    [
        format!(
            "## Instructions\n\n\
             * When: {}. Command: `cargo xtask bench instructions` (callgrind; release build).\n\
             * What: in bursts of 32. A copy by `rep movsb` counts as an instruction for each byte. `forward` is all that the datapath's thread does for a frame, falling asleep and waking up once per \
             burst included. `cargo xtask test` counts the same in its own build and fails when a count grows by more than {:.0} %.",
            report::date(),
            TOLERANCE * 100.0
        ),
        markdown(&heading, &rows),
    ]
    .join("\n\n")
}

#[expect(clippy::cast_precision_loss, reason = "counts have no 53 bits")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[path = "instructions_test.rs"]
mod tests;
