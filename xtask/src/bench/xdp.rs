//! Whether `AF_XDP` would be a faster uplink than packet sockets, by programs that are not ours.
//!
//! DPDK's testpmd forwards between two interfaces, switching nothing, by its driver for packet sockets and by that for `AF_XDP`:
//! what differs is the kernel's interface alone. Our own packet uplink takes its turn with them, as what a change would have to beat.
use super::machine_report as report;
use super::neighbours::Neighbours;
use super::statistics::{show, summarize};
use super::table::markdown;
use super::uplink::ways::{Flow, Kind, Programs, Way};
use super::{build, results};
use crate::ui::Ui;
use anyhow::Result;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Arguments of `bench xdp`.
#[derive(Debug, Clone, clap::Args)]
pub struct XdpOptions {
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

const MTU: u32 = 1500;
const KINDS: [Kind; 3] = [Kind::Packet, Kind::DpdkPacket, Kind::Xdp];
const FLOWS: [(&str, Flow); 5] = [
    ("TCP to the wire, Gb/s", Flow::TcpOut),
    ("TCP from the wire, Gb/s", Flow::TcpIn),
    ("UDP to the wire, 64 B, Mpps", Flow::UdpOut),
    ("UDP from the wire, 64 B, Mpps", Flow::UdpIn),
    ("testpmd's frames from the wire, 64 B, Mpps", Flow::FloodIn),
];
/// What is compared with what.
const RATIOS: [(&str, Kind, Kind); 2] = [
    ("dpdk-xdp / dpdk-packet", Kind::Xdp, Kind::DpdkPacket),
    ("dpdk-xdp / packet", Kind::Xdp, Kind::Packet),
];

/// Measurements by flow and way.
type Figures = BTreeMap<(usize, Kind), Vec<f64>>;

/// Measures all ways in turns, and writes the section of the results.
pub fn xdp(ui: Ui, options: &XdpOptions) -> Result<()> {
    let ours = build(ui)?;
    let programs = Programs {
        netbackend: ours.netbackend,
        generator: ours.generator,
        open_vswitch: None,
    };
    let name = format!("xtask-xdp-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let body = measure(ui, options, &programs, &directory);
    // Nothing in it is wanted any more.
    let _ = fs::remove_dir_all(&directory);
    let body = body?;
    results::tell(ui, "xdp", &body, options.dry)
}

fn measure(ui: Ui, options: &XdpOptions, programs: &Programs, directory: &Path) -> Result<String> {
    let open = |kind: Kind| Way::open(kind, programs, &directory.join(kind.word()));
    let ways = KINDS.into_iter().map(open).collect::<Result<Vec<_>>>()?;
    let neighbours = Neighbours::new(programs.generator.clone(), report::two_cpus()?.into());
    let mut figures = Figures::new();
    for way in &ways {
        way.set_mtu(MTU)?;
    }
    for round in 0..=options.rounds {
        let title = format!("round {round} of {}", options.rounds);
        ui.step(&title, |_| {
            for (index, (_, flow)) in FLOWS.into_iter().enumerate() {
                for way in &ways {
                    let run = || way.run(flow, options.seconds);
                    let figure = neighbours.measure(run)?;
                    if round > 0 {
                        figures.entry((index, way.kind())).or_default().push(figure);
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(write_up(options, &figures, &neighbours.note()))
}

fn write_up(options: &XdpOptions, figures: &Figures, neighbours: &str) -> String {
    let mut heading = vec![format!("MTU {MTU}")];
    heading.extend(KINDS.map(|kind| kind.to_string()));
    heading.extend(RATIOS.map(|(name, ..)| name.to_owned()));
    let rows = FLOWS.into_iter().enumerate().map(|(index, (name, _))| {
        let summary = |kind| summarize(figures.get(&(index, kind)).into_iter().flatten().copied());
        let ratio = |(_, one, other)| match (summary(one), summary(other)) {
            (Some(one), Some(other)) => format!("{:.2}", one.median / other.median),
            _ => "–".to_owned(),
        };
        let mut row = vec![name.to_owned()];
        row.extend(KINDS.map(|kind| summary(kind).map_or_else(|| "–".into(), |it| show(it, 2))));
        row.extend(RATIOS.map(ratio));
        row
    });
    let table = markdown(&heading, &rows.collect::<Vec<_>>());
    let version = report::package_version("librte-net-af-xdp23");
    format!(
        "## AF_XDP beside packet sockets\n\n* When: {}. Command: `cargo xtask bench xdp`.\n* Where: {}. DPDK {}.\n{neighbours}\n\nMedians \
         (smallest–largest) of {} rounds of {} s between two namespaces. {}\n\n{table}",
        report::date(),
        report::machine(),
        version.as_deref().unwrap_or("of unknown version"),
        options.rounds,
        options.seconds,
        "`packet` is netbackend between a tap and a packet socket at the NIC, with virtio-net headers, so that large frames and \
         unfinished checksums pass. The others are DPDK's testpmd (`--forward-mode=io`: one polling thread, nothing switched) between \
         a veth of the guest's and the NIC, by the drivers `net_af_packet` and `net_af_xdp`, neither of which knows such frames: both \
         ends do without. The program of `dpdk-xdp` is in the NIC's driver (veth: native mode, frames copied). TCP and UDP are \
         iperf3's, one stream; testpmd's frames are made by another one outside (`--forward-mode=txonly`, net_af_packet), and counted at \
         the guest's interface.",
    )
}
