//! Measurements: our daemon and its peers under one traffic generator, and what the daemon costs when idle.
//!
//! # How the peers are measured
//! The generator (`vu-gen`) is a vhost-user front-end with two ports, pinned to one CPU. Each back-end has another CPU for all of
//! its threads. Back-ends take turns, round after round, because the speed of a shared machine drifts by a third within minutes;
//! the first round warms the machine up and is dropped. What was measured while the two CPUs shared no cache is measured again. What counts are the medians, and more than these their ratios.

mod backend;
mod bare_nics;
mod fairness;
mod figures;
mod generator;
mod generators;
mod hugepages;
mod idle;
mod instructions;
mod latency;
mod machine_report;
mod namespace;
mod nat;
mod neighbours;
mod netbackend;
mod nics;
mod openvswitch;
mod peers;
mod plot;
mod process;
mod results;
mod scale;
mod statistics;
mod table;
mod testpmd;
mod uplink;
mod verify;
mod workers;
mod workload;
mod xdp;

pub use bare_nics::{BareNicOptions, bare_nics};
pub use fairness::{FairnessOptions, fairness};
pub use generators::{GeneratorOptions, generators};
pub use idle::{IdleOptions, idle};
pub use instructions::{InstructionOptions, check_instructions, instructions};
pub use latency::{LatencyOptions, latency};
pub use nat::{NatOptions, nat};
pub use nics::{NicOptions, nics};
pub use peers::{PeerOptions, peers};
pub use scale::{ScaleOptions, scale};
pub use uplink::{UplinkOptions, uplink};
pub use verify::{VerifyOptions, verify};
pub use workers::{WorkersOptions, workers};
pub use xdp::{XdpOptions, xdp};

use crate::commands::build::cargo;
use crate::exec;
use crate::repo;
use crate::ui::Ui;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// Sockets of the two ports, in a back-end's directory.
const PORTS: [&str; 2] = ["from", "to"];

/// Release builds of the programs that are measured or measure.
#[derive(Debug)]
struct Programs {
    netbackend: PathBuf,
    generator: PathBuf,
    /// Connections over sockets.
    sockets: PathBuf,
}

fn build(ui: Ui) -> Result<Programs> {
    let mut command = cargo();
    command.args(["build", "--release", "--package", "netbackend"]);
    command.args(["--package", "benches", "--bin", "netbackend"]);
    command.args(["--bin", "vu-gen", "--bin", "sock-load"]);
    ui.heading(&exec::describe(&command));
    if !exec::run_visible(&mut command)? {
        bail!("the build failed: see the compiler's messages above");
    }
    let release = repo::target_dir().join("release");
    Ok(Programs {
        netbackend: release.join("netbackend"),
        generator: release.join("vu-gen"),
        sockets: release.join("sock-load"),
    })
}
