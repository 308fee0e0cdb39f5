//! `cargo xtask bench`: micro-benchmarks of ring operations.
use super::build::cargo;
use crate::exec;
use crate::ui::Ui;
use anyhow::Result;
use std::process::ExitCode;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Passed on to criterion (a filter, `--save-baseline NAME`, …)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    criterion: Vec<String>,
}

/// Runs the benchmarks of `virtqueue`.
pub fn run(ui: Ui, args: &Args) -> Result<ExitCode> {
    ui.heading("cargo bench (virtqueue)");
    let ok = exec::run_visible(
        cargo()
            .args(["bench", "--package", "virtqueue", "--"])
            .args(&args.criterion),
    )?;
    ui.note("Throughput between whole guests: `cargo xtask lab run two-guests --release`.");
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
