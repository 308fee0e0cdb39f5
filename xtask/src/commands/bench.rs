//! `cargo xtask bench`: our daemon beside its peers, its cost when idle, ring operations alone.
use super::build::cargo;
use crate::bench::{IdleOptions, PeerOptions, idle, peers};
use crate::exec;
use crate::setup;
use crate::ui::Ui;
use anyhow::{Result, bail};
use std::process::ExitCode;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Throughput beside dpdk-testpmd and OVS-DPDK, in turns; needs root (huge pages) and two CPUs
    Peers(PeerOptions),
    /// CPU time and memory of the daemon with silent guests
    Idle(IdleOptions),
    /// Ring operations alone (criterion)
    Rings {
        /// Passed on to criterion (a filter, `--save-baseline NAME`, …)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        criterion: Vec<String>,
    },
}

/// Measures; the figures are those of this machine now, and vary by a third from run to run.
pub fn run(ui: Ui, args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Peers(options) => {
            setup::install_tools(ui)?;
            peers(ui, options)?;
        }
        What::Idle(options) => idle(ui, options)?,
        What::Rings { criterion } => rings(ui, criterion)?,
    }
    ui.note("Between whole guests: `cargo xtask lab run two-guests --release`.");
    Ok(ExitCode::SUCCESS)
}

fn rings(ui: Ui, criterion: &[String]) -> Result<()> {
    ui.heading("ring operations (criterion)");
    let mut command = cargo();
    command.args(["bench", "--package", "virtqueue", "--"]);
    if !exec::run_visible(command.args(criterion))? {
        bail!("the benchmarks of virtqueue failed: see above");
    }
    Ok(())
}
