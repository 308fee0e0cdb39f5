//! `cargo xtask test`: everything CI runs.
mod again;

use super::build::{self, cargo};
use super::fuzz;
use crate::bench::check_instructions;
use crate::exec;
use crate::machine;
use crate::setup::{self, emulator, kernels};
use crate::ui::Ui;
use again::Outcome;
use anyhow::Result;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// How long each fuzz target runs.
const FUZZ_SECONDS: u64 = 20;

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave out the end-to-end tests (package `tests`) and fuzzing
    #[arg(long)]
    quick: bool,
    /// Passed on to `cargo test` (a filter, `-- --nocapture`, …); without, the few tests that fail run once more, alone
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

/// Sets up, builds, and runs the tests; the exit code is cargo's.
pub fn run(ui: Ui, args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    setup::install_tools(ui)?;
    kernels::kernel(ui, kernels::Flavour::Cloud)?;
    if !machine::has_virtualization() {
        emulator::emulator(ui)?;
    }
    let programs = build::workspace(ui)?;
    let Outcome {
        mut passed,
        mut flaky,
    } = workspace(ui, args, &programs)?;
    // Whoever asks for certain tests wants those.
    if args.cargo.is_empty() {
        let outcome = two_workers(ui)?;
        passed &= outcome.passed;
        flaky.extend(outcome.flaky);
    }
    if !args.quick && args.cargo.is_empty() {
        passed &= check_instructions(ui)?;
        passed &= fuzz::run_all(ui, FUZZ_SECONDS)?;
    }
    for test in &flaky {
        ui.note(&format!("FLAKY {test}: failed beside others, passed alone"));
    }
    let word = if passed { "passed" } else { "FAILED" };
    ui.note(&format!(
        "tests {word} after {:.0} s",
        started.elapsed().as_secs_f64()
    ));
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All tests of the workspace, or those that are asked for.
fn workspace(ui: Ui, args: &Args, programs: &[PathBuf]) -> Result<Outcome> {
    let packages: &[&str] = if args.quick {
        &["--workspace", "--exclude", "tests"]
    } else {
        &["--workspace"]
    };
    let variables = ["NETBACKEND_BIN", "VMM_BIN", "STOCK_BACKEND_BIN"];
    let environment = |test: &mut Command| {
        test.envs(variables.into_iter().zip(programs));
    };
    ui.heading("cargo test --workspace");
    if args.cargo.is_empty() {
        return again::run(ui, packages, &[], environment);
    }
    // Whoever asks for certain tests wants to see them fail.
    let mut test = cargo();
    test.arg("test").args(packages).arg("--no-fail-fast");
    environment(test.args(&args.cargo));
    Ok(Outcome::of(exec::run_visible(&mut test)?))
}

/// The data plane once more, with more than one worker.
fn two_workers(ui: Ui) -> Result<Outcome> {
    ui.heading("cargo test --workspace --lib network::tests: the data plane with two workers");
    // Of the whole workspace: of one package alone, dependencies would have other features and be built again.
    let filter = ["network::tests"];
    again::run(ui, &["--workspace", "--lib"], &filter, |test| {
        test.env("NETBACKEND_TEST_WORKERS", "2");
    })
}
