//! `cargo xtask`: everything that people run by hand on this repository.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::commands::{bench, demo, fuzz, lab, lint, test};
use xtask::ui::Ui;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Build, show, check and measure this project"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Two guests on one network: from a fresh machine to figures in a few minutes
    Demo(demo::Args),
    /// Set up, build, and run every test, the end-to-end ones included
    Test(test::Args),
    /// Formatting, clippy without warnings, licences and advisories
    Lint,
    /// Hostile inputs made up by libFuzzer, with AddressSanitizer
    Fuzz(fuzz::Args),
    /// Throughput beside other switches, cost when idle, ring operations
    Bench(bench::Args),
    /// Scenarios with real guests on real KVM
    Lab(lab::Args),
}

fn main() -> ExitCode {
    let ui = Ui::new();
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(ui, &args),
        Command::Test(args) => test::run(ui, &args),
        Command::Lint => lint::run(ui),
        Command::Fuzz(args) => fuzz::run(ui, &args),
        Command::Bench(args) => bench::run(ui, &args),
        Command::Lab(args) => lab::run(ui, &args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
