//! `cargo xtask bench`: our daemon beside its peers, its cost when idle, ring operations alone.
use super::build::cargo;
use crate::bench::{
    BareNicOptions, FairnessOptions, GeneratorOptions, IdleOptions, InstructionOptions,
    LatencyOptions, NatOptions, NicOptions, PeerOptions, ScaleOptions, UplinkOptions,
    VerifyOptions, WorkersOptions, XdpOptions, bare_nics, fairness, generators, idle, instructions,
    latency, nat, nics, peers, scale, uplink, verify, workers, xdp,
};
use crate::exec;
use crate::setup;
use crate::ui::Ui;
use anyhow::{Result, bail};
use clap::Parser;
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
    /// How long frames take, beside the same peers and the kernel's bridge; needs root and two CPUs
    Latency(LatencyOptions),
    /// Whether a frame costs the same among 1000 ports or 10 000 addresses; needs root and two CPUs
    Scale(ScaleOptions),
    /// Whether two workers carry twice as much as one; needs root and two CPUs
    Workers(WorkersOptions),
    /// What is left of a port's rate beside others that misbehave
    Fairness(FairnessOptions),
    /// Whether every frame comes out once, in order and unaltered, at full rate; needs root and two CPUs
    Verify(VerifyOptions),
    /// Our traffic generator beside DPDK's; needs root and two CPUs
    Generators(GeneratorOptions),
    /// CPU time and memory of the daemon with silent guests
    Idle(IdleOptions),
    /// Instructions per frame (callgrind): fails when they become more than the baseline
    Instructions(InstructionOptions),
    /// Namespaces as guests on the wire, beside the kernel alone; needs root
    Uplink(UplinkOptions),
    /// `AF_XDP` beside packet sockets, both by DPDK's forwarder; needs root and two CPUs
    Xdp(XdpOptions),
    /// A namespace behind the gateway of a NAT network, beside slirp4netns and the kernel alone; needs root
    Nat(NatOptions),
    /// Emulated NICs in the lab, beside QEMU's
    Nics(NicOptions),
    /// Emulated NICs under a guest without an operating system, beside QEMU's; needs root and two CPUs
    BareNics(BareNicOptions),
    /// Ring operations alone (criterion)
    Rings {
        /// Passed on to criterion (a filter, `--save-baseline NAME`, …)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        criterion: Vec<String>,
    },
    /// All of these, one after the other
    All,
}

/// A command line of `bench`, for its defaults.
#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

const ALL: [&str; 15] = [
    "peers",
    "latency",
    "scale",
    "workers",
    "fairness",
    "verify",
    "generators",
    "idle",
    "uplink",
    "xdp",
    "nat",
    "nics",
    "instructions",
    "rings",
    "bare-nics",
];

/// Measures; the figures are those of this machine now, and vary by a third from run to run.
pub fn run(ui: Ui, args: &Args) -> Result<ExitCode> {
    measure(ui, &args.what)?;
    ui.note("Between whole guests: `cargo xtask lab run two-guests --release`.");
    Ok(ExitCode::SUCCESS)
}

fn measure(ui: Ui, what: &What) -> Result<()> {
    match what {
        What::Peers(options) => {
            setup::install_tools(ui)?;
            peers(ui, options)?;
        }
        What::Latency(options) => {
            setup::install_tools(ui)?;
            latency(ui, options)?;
        }
        What::Scale(options) => scale(ui, options)?,
        What::Workers(options) => workers(ui, options)?,
        What::Fairness(options) => fairness(ui, options)?,
        What::Verify(options) => verify(ui, options)?,
        What::Generators(options) => {
            setup::install_tools(ui)?;
            generators(ui, options)?;
        }
        What::Idle(options) => idle(ui, options)?,
        What::Instructions(options) => {
            setup::install_tools(ui)?;
            instructions(ui, options)?;
        }
        What::Uplink(options) => uplink(ui, options)?,
        What::Xdp(options) => {
            setup::install_tools(ui)?;
            xdp(ui, options)?;
        }
        What::Nat(options) => {
            setup::install_tools(ui)?;
            nat(ui, options)?;
        }
        What::Nics(options) => {
            setup::install_tools(ui)?;
            nics(ui, options)?;
        }
        What::BareNics(options) => {
            setup::install_tools(ui)?;
            bare_nics(ui, options)?;
        }
        What::Rings { criterion } => rings(ui, criterion)?,
        What::All => {
            for group in ALL {
                let line = Line::try_parse_from(["bench", group])?;
                measure(ui, &line.args.what)?;
            }
        }
    }
    Ok(())
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

#[cfg(test)]
#[path = "bench_test.rs"]
mod tests;
