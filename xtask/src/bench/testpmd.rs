//! DPDK's testpmd: frames go from one of two ports to the other unseen (`io`), or with their addresses swapped (`macswap`). It
//! switches nothing: the least that a forwarder with a packet buffer in between can do. With one port it makes frames (`txonly`).
use super::namespace::Namespace;
use super::process::Process;
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What it says of each port, again and again, once its ports are up.
const STATISTICS: &str = "Rx-pps:";

/// Starts it on `cpu`, forwarding between vhost ports as `mode` says; it listens on both sockets.
pub(super) fn start(
    directory: &Path,
    sockets: &[PathBuf; 2],
    cpu: usize,
    mode: &str,
) -> Result<Process> {
    fs::create_dir_all(directory)?;
    let mut command = Command::new("dpdk-testpmd");
    // The main lcore sleeps while the other one forwards: both have the one CPU.
    command.arg(format!("--lcores=(0,1)@{cpu}"));
    command.args(["--in-memory", "--no-pci", "--no-telemetry", "-m", "512"]);
    command.args(["--iova-mode=va", "--force-max-simd-bitwidth=512"]);
    for (index, socket) in sockets.iter().enumerate() {
        // legacy-ol-flags: what a frame's header asks for is passed on instead of being done in software.
        command.arg(format!(
            "--vdev=net_vhost{index},iface={},queues=1,tso=1,legacy-ol-flags=1",
            socket.display()
        ));
    }
    command.arg("--").arg(format!("--forward-mode={mode}"));
    command.arg("--nb-cores=1");
    // Enough for both rings full of GSO frames in pieces of 2 KiB.
    command.arg("--total-num-mbufs=40000");
    // Without a terminal it runs only as long as it prints.
    command.arg("--stats-period=1");
    let mut process = Process::start("testpmd", directory, &mut command)?;
    process.wait_until("sockets", || sockets.iter().all(|socket| socket.exists()))?;
    Ok(process)
}

/// Starts it in a namespace on `cpu`, with ports at its interfaces: `devices` are theirs as DPDK calls them.
///
/// It needs no huge pages: such ports go through the kernel, which costs more than all that its memory does.
pub(super) fn start_in(
    namespace: &Namespace,
    directory: &Path,
    cpu: usize,
    devices: &[String],
    mode: &[&str],
) -> Result<Process> {
    fs::create_dir_all(directory)?;
    let mut command = namespace.command("dpdk-testpmd");
    command.arg(format!("--lcores=(0,1)@{cpu}"));
    command.args(["--no-shconf", "--no-huge", "-m", "256"]);
    command.args(["--no-pci", "--no-telemetry"]);
    command.args(devices.iter().map(|device| format!("--vdev={device}")));
    command.args(["--", "--nb-cores=1", "--total-num-mbufs=20000"]);
    command.arg("--stats-period=1").args(mode);
    let mut process = Process::start("testpmd", directory, &mut command)?;
    let log = process.path().to_owned();
    process.wait_until("statistics", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains(STATISTICS))
    })?;
    Ok(process)
}
