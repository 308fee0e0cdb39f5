//! Our daemon and its peers in turns, under one generator.
use super::generator::{Generator, Sample};
use super::hugepages::Hugepages;
use super::machine_report as report;
use super::netbackend::Daemon;
use super::openvswitch::Switch;
use super::statistics::{Summary, summarize};
use super::table::markdown;
use super::{PORTS, Programs, build, results, testpmd};
use crate::repo;
use crate::setup::openvswitch::{OpenVSwitch, open_vswitch};
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Huge pages of 2 MiB: 512 MiB for the peer's buffers, a front-end's memory twice with GSO frames, and some to spare.
const HUGEPAGES: u64 = 448;
const GSO: &str = "gso";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Peer {
    /// Our daemon, bridge mode.
    Netbackend,
    /// DPDK's testpmd, io forwarding between two vhost ports.
    Testpmd,
    /// Open vSwitch with DPDK, action NORMAL.
    Ovs,
}

impl Peer {
    const ALL: [Self; 3] = [Self::Netbackend, Self::Testpmd, Self::Ovs];

    fn name(self) -> &'static str {
        match self {
            Self::Netbackend => "netbackend",
            Self::Testpmd => "testpmd io",
            Self::Ovs => "OVS NORMAL",
        }
    }
}

/// Arguments of `bench peers`.
#[derive(Debug, Clone, clap::Args)]
pub struct PeerOptions {
    /// Rounds; the first one warms up and is dropped
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
    rounds: u32,
    /// Seconds for each size in each round
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Bytes of a frame, or `gso` for TCP segments of 64 KiB. Repeatable
    #[arg(long, value_name = "BYTES", default_values = ["64", "256", "512", "1518", GSO])]
    size: Vec<String>,
    /// Frames in a burst of the generator
    #[arg(long, default_value_t = 32)]
    burst: u16,
    /// Measure only these. Repeatable
    #[arg(long, value_name = "NAME")]
    only: Vec<Peer>,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

/// Measures all peers in turns and writes the section of the results.
pub fn peers(ui: Ui, options: &PeerOptions) -> Result<()> {
    let peers: Vec<Peer> = Peer::ALL
        .into_iter()
        .filter(|peer| options.only.is_empty() || options.only.contains(peer))
        .collect();
    let (generator_cpu, cpu) = report::two_cpus()?;
    let programs = build(ui)?;
    let open_vswitch = peers
        .contains(&Peer::Ovs)
        .then(|| open_vswitch(ui))
        .transpose()?;
    let _hugepages = Hugepages::reserve(HUGEPAGES)?;
    let bench = Bench {
        ui,
        generator: Generator {
            program: programs.generator.clone(),
            cpu: generator_cpu,
            seconds: options.seconds,
            burst: options.burst,
        },
        programs,
        open_vswitch,
        directory: private_directory()?,
        cpu,
        sizes: options.size.clone(),
    };
    let mut figures = Figures::default();
    for round in 0..options.rounds {
        let title = format!("round {} of {}", round + 1, options.rounds);
        bench.round(&title, &rotated(&peers, round), &mut figures, round == 0)?;
    }
    let body = bench.write_up(options, &peers, &figures);
    println!("{body}");
    if !options.dry {
        results::write("peers", &body)?;
        ui.note(&format!("written to {}", repo::display(&results::path())));
    }
    Ok(())
}

/// Whoever comes first finds another machine than whoever comes last.
fn rotated(peers: &[Peer], by: u32) -> Vec<Peer> {
    let mut peers = peers.to_vec();
    let by = usize::try_from(by).unwrap_or(0) % peers.len().max(1);
    peers.rotate_left(by);
    peers
}

/// Short enough for the sockets in it (108 bytes, unix(7)).
fn private_directory() -> Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
    fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// All samples that count.
#[derive(Debug, Default)]
struct Figures {
    samples: Vec<(Peer, Sample)>,
    notes: Vec<String>,
}

impl Figures {
    fn summary(&self, peer: Peer, size: &str, value: impl Fn(&Sample) -> f64) -> Option<Summary> {
        let fitting = |(of, sample): &&(Peer, Sample)| *of == peer && sample.size == size;
        let samples = self.samples.iter().filter(fitting);
        summarize(samples.map(|(_, sample)| value(sample)))
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

struct Bench {
    ui: Ui,
    generator: Generator,
    programs: Programs,
    open_vswitch: Option<OpenVSwitch>,
    directory: PathBuf,
    cpu: usize,
    sizes: Vec<String>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Kept if somebody is in it; then it is only in the way.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Bench {
    fn round(
        &self,
        title: &str,
        peers: &[Peer],
        figures: &mut Figures,
        is_warm_up: bool,
    ) -> Result<()> {
        for peer in peers {
            let title = format!("{title}: {}", peer.name());
            let samples = self.ui.step(&title, |step| {
                let (samples, note) = self.measure(*peer)?;
                for sample in &samples {
                    step.progress(&format!("{:>5}: {:.2} Mpps", sample.size, sample.mpps));
                }
                if let Some(note) = note {
                    figures.note(format!("{}: {note}", peer.name()));
                }
                Ok(samples)
            })?;
            if !is_warm_up {
                let samples = samples.into_iter().map(|sample| (*peer, sample));
                figures.samples.extend(samples);
            }
        }
        Ok(())
    }

    fn measure(&self, peer: Peer) -> Result<(Vec<Sample>, Option<String>)> {
        match peer {
            Peer::Netbackend => {
                let directory = self.directory.join("netbackend");
                let program = &self.programs.netbackend;
                let ports = PORTS.map(str::to_owned);
                let daemon = Daemon::start(program, &directory, &ports, Some(self.cpu))?;
                let sockets = PORTS.map(|port| daemon.socket(port));
                self.generate(&sockets, false, &self.sizes)
            }
            Peer::Testpmd => {
                let directory = self.directory.join("testpmd");
                let sockets = PORTS.map(|port| directory.join(format!("{port}.sock")));
                let process = testpmd::start(&directory, &sockets, self.cpu)?;
                self.generate(&sockets, false, &self.sizes)
                    .with_context(|| format!("testpmd's log:\n{}", process.log()))
            }
            Peer::Ovs => self.measure_open_vswitch(),
        }
    }

    /// GSO frames need a setting of the whole switch that is experimental and off by default: the other sizes do without.
    fn measure_open_vswitch(&self) -> Result<(Vec<Sample>, Option<String>)> {
        let (large, plain): (Vec<_>, Vec<_>) = self.sizes.iter().cloned().partition(|s| s == GSO);
        let (mut samples, mut notes) = (Vec::new(), Vec::new());
        for (gso, sizes) in [(false, plain), (true, large)] {
            if sizes.is_empty() {
                continue;
            }
            match self.run_open_vswitch(gso, &sizes) {
                Ok((more, note)) => {
                    samples.extend(more);
                    notes.extend(note);
                }
                Err(error) if gso => notes.push(format!("{error:#}")),
                Err(error) => return Err(error),
            }
        }
        Ok((samples, (!notes.is_empty()).then(|| notes.join("; "))))
    }

    fn run_open_vswitch(
        &self,
        gso: bool,
        sizes: &[String],
    ) -> Result<(Vec<Sample>, Option<String>)> {
        let Some(programs) = &self.open_vswitch else {
            bail!("Open vSwitch was not fetched");
        };
        let directory = self.directory.join("ovs");
        // It clears its directory; the sockets are the generator's.
        let sockets = PORTS.map(|port| self.directory.join(format!("ovs-{port}.sock")));
        let _switch = Switch::start(programs, &directory, &sockets, self.cpu, gso)?;
        self.generate(&sockets, true, sizes)
    }

    fn generate(
        &self,
        sockets: &[PathBuf; 2],
        listen: bool,
        sizes: &[String],
    ) -> Result<(Vec<Sample>, Option<String>)> {
        let sockets: [&Path; 2] = [&sockets[0], &sockets[1]];
        self.generator.run(sockets, listen, sizes)
    }

    fn write_up(&self, options: &PeerOptions, peers: &[Peer], figures: &Figures) -> String {
        let mut parts = vec![self.preamble(options, peers)];
        parts.push("Millions of frames per second, median (least–most):".to_owned());
        parts.push(self.rates(peers, figures, 2, |sample| sample.mpps));
        parts.push(
            "Gigabits of frames per second (without FCS and gaps), median (least–most):".to_owned(),
        );
        parts.push(self.rates(peers, figures, 1, |sample| sample.gbps));
        if peers.len() > 1 && peers.contains(&Peer::Netbackend) {
            parts.push("Ratio of medians, netbackend to each peer:".to_owned());
            parts.push(self.ratios(peers, figures));
        }
        parts.push(
            "Busy share of the generator (near 100 %, it is the generator that is measured), and frames lost of all sent, medians:"
                .to_owned(),
        );
        parts.push(self.conditions(peers, figures));
        for note in &figures.notes {
            parts.push(format!("Without a figure: {note}"));
        }
        parts.join("\n\n")
    }

    fn preamble(&self, options: &PeerOptions, peers: &[Peer]) -> String {
        let mut versions = Vec::new();
        if peers.contains(&Peer::Testpmd)
            && let Some(version) = report::package_version("dpdk-dev")
        {
            versions.push(format!("dpdk-testpmd {version}"));
        }
        if let Some(version) = self
            .open_vswitch
            .as_ref()
            .and_then(|programs| programs.version().ok())
        {
            versions.push(version);
        }
        format!(
            "## Beside DPDK's forwarder and Open vSwitch\n\n\
             * When: {}. Command: `cargo xtask bench peers`, {} rounds in turns, {} s each, first round dropped.\n\
             * Where: {}. Back-end with all its threads on one CPU, generator on another.\n\
             * What: one way, one flow, bursts of {}, split rings of 256 entries, no mergeable buffers, frames dirty in the \
             sender's cache; guest memory in huge pages.\n\
             * Versions: netbackend {} (bridge, learning){}{}.",
            report::date(),
            options.rounds,
            options.seconds,
            report::machine(),
            options.burst,
            env!("CARGO_PKG_VERSION"),
            if versions.is_empty() { "" } else { "; " },
            versions.join("; "),
        )
    }

    fn rates(
        &self,
        peers: &[Peer],
        figures: &Figures,
        digits: usize,
        value: impl Fn(&Sample) -> f64 + Copy,
    ) -> String {
        self.table(peers, |peer, size| {
            let Summary { median, min, max } = figures.summary(peer, size, value)?;
            Some(format!("{median:.digits$} ({min:.digits$}–{max:.digits$})"))
        })
    }

    fn ratios(&self, peers: &[Peer], figures: &Figures) -> String {
        let others: Vec<Peer> = peers.iter().copied().filter(|p| *p != peers[0]).collect();
        self.table(&others, |peer, size| {
            let rate = |of| figures.summary(of, size, |sample| sample.mpps);
            let ratio = rate(Peer::Netbackend)?.median / rate(peer)?.median;
            Some(format!("{ratio:.2}"))
        })
    }

    fn conditions(&self, peers: &[Peer], figures: &Figures) -> String {
        self.table(peers, |peer, size| {
            let busy = figures.summary(peer, size, |sample| sample.busy)?.median;
            let lost = figures.summary(peer, size, |sample| sample.dropped)?.median;
            Some(format!("{:.0} %, lost {:.2} %", busy * 100.0, lost * 100.0))
        })
    }

    /// A row for each size, a column for each peer.
    fn table(&self, peers: &[Peer], cell: impl Fn(Peer, &str) -> Option<String>) -> String {
        let mut heading = vec!["bytes".to_owned()];
        heading.extend(peers.iter().map(|peer| peer.name().to_owned()));
        let row = |size: &String| {
            let name = if size == GSO { "64 KiB GSO" } else { size };
            let cells = peers
                .iter()
                .map(|peer| cell(*peer, size).unwrap_or_else(|| "–".to_owned()));
            std::iter::once(name.to_owned()).chain(cells).collect()
        };
        let rows: Vec<Vec<String>> = self.sizes.iter().map(row).collect();
        markdown(&heading, &rows)
    }
}
