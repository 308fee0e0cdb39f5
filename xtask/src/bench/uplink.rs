//! Guests on the wire: TCP and small frames through our uplinks, and through the kernel's own devices.
//!
//! Guest and outside are network namespaces, so both ends are Linux's TCP/IP at native speed. The ways between them take turns,
//! round after round; the first round is dropped.
mod flood;
mod forwarder;
pub(super) mod ways;

use super::hugepages::Hugepages;
use super::machine_report as report;
use super::neighbours::Neighbours;
use super::statistics::{show, summarize};
use super::table::markdown;
use super::{build, results};
use crate::setup::openvswitch::open_vswitch;
use crate::ui::Ui;
use anyhow::Result;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use ways::{Flow, Kind, Programs, Way};

/// What two of Open vSwitch are given, in pages of 2 MiB; each takes 260 at first, the one with ports of DPDK 400 more.
const HUGEPAGES: u64 = 1200;

/// Arguments of `bench uplink`.
#[derive(Debug, Clone, clap::Args)]
pub struct UplinkOptions {
    /// Rounds that count; one more comes first and is dropped
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

/// What is sent, and by whom.
const WORKLOADS: [Workload; 6] = [
    workload("TCP to the wire, MTU 1500", 1500, Flow::TcpOut),
    workload("TCP from the wire, MTU 1500", 1500, Flow::TcpIn),
    workload("TCP to the wire, MTU 9000", 9000, Flow::TcpOut),
    workload("TCP from the wire, MTU 9000", 9000, Flow::TcpIn),
    workload("UDP to the wire, 64 B", 1500, Flow::UdpOut),
    workload("UDP from the wire, 64 B", 1500, Flow::UdpIn),
];

#[derive(Debug, Clone, Copy)]
struct Workload {
    name: &'static str,
    mtu: u32,
    flow: Flow,
}

const fn workload(name: &'static str, mtu: u32, flow: Flow) -> Workload {
    Workload { name, mtu, flow }
}

/// Measurements by workload and way.
type Figures = BTreeMap<(usize, Kind), Vec<f64>>;

/// Measures all ways in turns, and writes the section of the results.
pub fn uplink(ui: Ui, options: &UplinkOptions) -> Result<()> {
    let ours = build(ui)?;
    let programs = Programs {
        netbackend: ours.netbackend,
        generator: ours.generator,
        open_vswitch: Some(open_vswitch(ui)?),
    };
    let _hugepages = Hugepages::reserve(HUGEPAGES)?;
    let name = format!("xtask-uplink-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let body = measure(ui, options, &programs, &directory);
    // Nothing in it is wanted any more.
    let _ = fs::remove_dir_all(&directory);
    let body = body?;
    results::tell(ui, "uplink", &body, options.dry)
}

fn measure(
    ui: Ui,
    options: &UplinkOptions,
    programs: &Programs,
    directory: &Path,
) -> Result<String> {
    let mut ways = Vec::new();
    for kind in Kind::ALL {
        match Way::open(kind, programs, &directory.join(kind.word())) {
            Ok(way) => ways.push(way),
            // A peer that this machine cannot run, not something of ours.
            Err(error) if kind.is_of_others() => ui.note(&format!("without {kind}: {error:#}")),
            Err(error) => return Err(error),
        }
    }
    let neighbours = Neighbours::new(programs.generator.clone(), report::two_cpus()?.into());
    let mut figures = Figures::new();
    for round in 0..=options.rounds {
        let title = format!("round {round} of {}", options.rounds);
        ui.step(&title, |_| {
            for (index, workload) in WORKLOADS.iter().enumerate() {
                for way in ways.iter().filter(|way| way.kind().takes(workload.mtu)) {
                    way.set_mtu(workload.mtu)?;
                    let run = || way.run(workload.flow, options.seconds);
                    let figure = neighbours.measure(run)?;
                    if round > 0 {
                        let column = (index, way.kind().column());
                        figures.entry(column).or_default().push(figure);
                    }
                }
            }
            Ok(())
        })?;
    }
    let syscalls = ways
        .iter()
        .filter_map(|way| Some((way.kind(), way.system_calls(options.seconds)?)))
        .map(|(kind, counted)| Ok((kind, counted?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(write_up(options, &figures, &syscalls, &neighbours.note()))
}

fn write_up(
    options: &UplinkOptions,
    figures: &Figures,
    syscalls: &[(Kind, f64)],
    neighbours: &str,
) -> String {
    let mut heading = vec!["Gb/s; 64 B: Mpps".to_owned()];
    let columns = Kind::ALL.into_iter().filter(|kind| kind.column() == *kind);
    heading.extend(columns.clone().map(|kind| kind.to_string()));
    heading.push("ours / macvlan".to_owned());
    heading.push("ours / veth".to_owned());
    heading.push("ours / ovs".to_owned());
    let rows = WORKLOADS.iter().enumerate().map(|(index, workload)| {
        let summary = |kind| summarize(figures.get(&(index, kind)).into_iter().flatten().copied());
        let ratio = |limit| match (summary(Kind::Nic), summary(limit)) {
            (Some(ours), Some(limit)) => format!("{:.2}", ours.median / limit.median),
            _ => "–".to_owned(),
        };
        let mut row = vec![workload.name.to_owned()];
        let figure = |kind| summary(kind).map_or_else(|| "–".into(), |it| show(it, 2));
        row.extend(columns.clone().map(figure));
        row.extend([Kind::Macvlan, Kind::Veth, Kind::Ovs].map(ratio));
        row
    });
    let table = markdown(&heading, &rows.collect::<Vec<_>>());
    let syscalls = syscalls.iter().map(|(kind, count)| {
        format!("* {kind}: {count:.0} system calls per 1000 frames of 64 B to the wire (strace)")
    });
    format!(
        "## Guests on the wire\n\n* When: {}. Command: `cargo xtask bench uplink`.\n* Where: {}.\n{neighbours}\n\nMedians (smallest–largest) of {} rounds of {} s, iperf3 between two namespaces. {}\n\n{table}\n\n{}",
        report::date(),
        report::machine(),
        options.rounds,
        options.seconds,
        "`nic`, `packet` and `attach` are netbackend between a tap and a macvtap in passthru mode, a packet socket, and a macvtap in bridge \
         mode; `macvlan` and `veth` are the kernel alone, without any \
         program between; `ovs` is Open vSwitch (DPDK datapath, one polling thread) between packet sockets at a veth and the NIC \
         (net_af_packet, which refuses MTU 9000: there its own packet sockets, type system), with checksums and segmentation done by the guest's kernel, \
         stopped while others are measured.",
        syscalls.collect::<Vec<_>>().join("\n")
    )
}
