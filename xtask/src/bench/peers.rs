//! Our daemon and its peers in turns, under one generator.
use super::backend::{Bench, Peer, Running, rotated};
use super::figures::Figures;
use super::generator::{Generator, Sample};
use super::machine_report as report;
use super::plot::{self, Bars};
use super::results;
use super::statistics::Summary;
use super::table::markdown;
use super::workload::{LARGE, SMALL, Table, Workload};
use crate::repo;
use crate::ui::{Step, Ui};
use anyhow::{Result, bail};

/// Arguments of `bench peers`.
#[derive(Debug, Clone, clap::Args)]
pub struct PeerOptions {
    /// Which tables; each takes some minutes
    #[arg(value_name = "TABLE", default_values = ["small", "large"])]
    tables: Vec<TableName>,
    /// Rounds; the first one warms up and is dropped
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
    rounds: u32,
    /// Seconds for each workload in each round
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Measure only these workloads, as they are called in front of the comma in the table. Repeatable
    #[arg(long, value_name = "ID")]
    workload: Vec<String>,
    /// Measure only these peers. Repeatable
    #[arg(long, value_name = "NAME")]
    only: Vec<Peer>,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TableName {
    /// 64, 512 and 1518 bytes in one buffer each
    Small,
    /// Mergeable buffers, 9000 bytes, 64 KiB GSO frames
    Large,
}

/// Measures all peers in turns and writes the sections of the results.
pub fn peers(ui: Ui, options: &PeerOptions) -> Result<()> {
    for name in &options.tables {
        let table = match name {
            TableName::Small => SMALL,
            TableName::Large => LARGE,
        };
        measure(ui, options, &table)?;
    }
    Ok(())
}

fn measure(ui: Ui, options: &PeerOptions, table: &Table) -> Result<()> {
    let is_wanted = |peer: &Peer| options.only.is_empty() || options.only.contains(peer);
    let candidates = Peer::FORWARDERS.into_iter().chain([Peer::Memcpy]);
    let workloads: Vec<Workload> = table
        .workloads
        .iter()
        .filter(|one| options.workload.is_empty() || options.workload.iter().any(|id| id == one.id))
        .copied()
        .collect();
    let peers: Vec<Peer> = candidates
        .filter(is_wanted)
        .filter(|peer| workloads.iter().any(|one| one.peers.contains(peer)))
        .collect();
    if peers.is_empty() {
        bail!(
            "nothing of table {:?} is to be measured: see --workload and --only",
            table.section
        );
    }
    let bench = Bench::new(ui, &peers)?;
    let run = Run {
        generator: Generator {
            program: bench.programs.generator.clone(),
            cpu: Some(bench.generator_cpu),
        },
        bench,
        table,
        workloads,
        peers,
        seconds: options.seconds,
    };
    let mut figures = Figures::default();
    for round in 0..options.rounds {
        for peer in rotated(&run.peers, round) {
            let title = format!("round {} of {}: {}", round + 1, options.rounds, peer.name());
            ui.step(&title, |step| {
                run.measure_peer(peer, &mut figures, step, round == 0)
            })?;
        }
    }
    let body = run.write_up(options, &figures);
    results::tell(ui, table.section, &body, options.dry)?;
    if !options.dry {
        let plot = plot::write(table.section, &run.bars(&figures))?;
        ui.note(&format!("and {}", repo::display(&plot)));
    }
    Ok(())
}

struct Run<'a> {
    bench: Bench,
    generator: Generator,
    table: &'a Table,
    workloads: Vec<Workload>,
    peers: Vec<Peer>,
    seconds: f64,
}

impl Run<'_> {
    /// All workloads of one peer. Those that need another start of it come last.
    fn measure_peer(
        &self,
        peer: Peer,
        figures: &mut Figures,
        step: &Step,
        is_warm_up: bool,
    ) -> Result<()> {
        let own = self
            .workloads
            .iter()
            .filter(|one| one.peers.contains(&peer));
        // Segmentation is a setting of the whole of Open vSwitch that is experimental and off by default.
        let (large, plain): (Vec<_>, Vec<_>) = own.partition(|one| one.gso && peer.is_ovs());
        for (gso, workloads) in [(false, plain), (true, large)] {
            if workloads.is_empty() {
                continue;
            }
            let running = match peer {
                Peer::Memcpy => None,
                _ => Some(self.bench.start(peer, gso)?),
            };
            for workload in workloads {
                let sample = || self.sample(running.as_ref(), workload);
                match self.bench.neighbours.measure(sample) {
                    Ok(sample) => {
                        step.progress(&format!("{}: {:.2} Mpps", workload.name, sample.mpps));
                        if !is_warm_up {
                            figures.add(peer, workload, sample);
                        }
                    }
                    Err(error) => {
                        figures.note(format!("{}, {}: {error:#}", peer.name(), workload.name));
                    }
                }
            }
        }
        Ok(())
    }

    fn sample(&self, running: Option<&Running>, workload: &Workload) -> Result<Sample> {
        let arguments = workload.all_arguments(self.seconds);
        if let Some(running) = running {
            return self
                .generator
                .throughput(&running.sockets, running.listen, &arguments);
        }
        let size = arguments.iter().filter(|one| one.starts_with("--s"));
        let size: Vec<String> = size.cloned().collect();
        self.generator.copying(self.bench.cpu, &size)
    }

    fn write_up(&self, options: &PeerOptions, figures: &Figures) -> String {
        let mut parts = vec![self.preamble(options)];
        parts.push("Millions of frames per second, median (least–most):".to_owned());
        parts.push(self.rates(figures, 2, |sample| sample.mpps));
        parts.push(
            "Gigabits of frames per second (without FCS and gaps), median (least–most):".to_owned(),
        );
        parts.push(self.rates(figures, 1, |sample| sample.gbps));
        parts.extend(self.ratios(figures));
        parts.extend(self.targets(figures));
        parts.push(
            "Busy share of the generator (near 100 %, it is the generator that is measured), and frames lost of all sent, medians:"
                .to_owned(),
        );
        parts.push(self.conditions(figures));
        parts.push(format!("![ratios](plots/{}.svg)", self.table.section));
        let missing = figures.notes().iter();
        parts.extend(missing.map(|note| format!("Without a figure: {note}")));
        parts.join("\n\n")
    }

    fn preamble(&self, options: &PeerOptions) -> String {
        format!(
            "## {}\n\n\
             * When: {}. Command: `cargo xtask bench peers {}`, {} rounds in turns, {} s each, first round dropped.\n\
             * Where: {}. Back-end with all its threads on one CPU, generator on another.\n\
             * What: one way and one flow unless said, bursts of 32, rings of 256 entries, split and without mergeable buffers unless \
             said, frames dirty in the sender's cache; guest memory in huge pages. Mergeable buffers have 2 KiB, those of the sender too.\n\
             {}\n\
             * Versions: {}.",
            self.table.title,
            report::date(),
            if self.table.section == "large" {
                "large"
            } else {
                "small"
            },
            options.rounds,
            options.seconds,
            report::machine(),
            self.bench.neighbours.note(),
            self.bench.versions(&self.peers),
        )
    }

    fn rates(
        &self,
        figures: &Figures,
        digits: usize,
        value: impl Fn(&Sample) -> f64 + Copy,
    ) -> String {
        self.rows(&self.peers, |peer, workload| {
            let Summary { median, min, max } = figures.summary(peer, workload.id, value)?;
            Some(format!("{median:.digits$} ({min:.digits$}–{max:.digits$})"))
        })
    }

    fn ratios(&self, figures: &Figures) -> Vec<String> {
        let others: Vec<Peer> = self.except(Peer::Netbackend);
        if others.is_empty() || !self.peers.contains(&Peer::Netbackend) {
            return Vec::new();
        }
        let table = self.rows(&others, |peer, workload| {
            let rate = |of| figures.summary(of, workload.id, |sample| sample.mpps);
            let ratio = rate(Peer::Netbackend)?.median / rate(peer)?.median;
            Some(format!("{ratio:.2}"))
        });
        vec![
            "Ratio of medians, netbackend to each peer:".to_owned(),
            table,
        ]
    }

    /// What was to be reached, and whether it was.
    fn targets(&self, figures: &Figures) -> Vec<String> {
        let row = |target: &super::workload::Target| {
            let ratio = figures.ratio(target)?;
            let beside = target
                .beside
                .map_or(String::new(), |id| format!(" at {id}"));
            let verdict = if ratio >= target.at_least {
                "yes"
            } else {
                "no"
            };
            Some(vec![
                format!("{}, to {}{beside}", target.workload, target.peer.name()),
                format!("{:.2}", target.at_least),
                format!("{ratio:.2}"),
                verdict.to_owned(),
            ])
        };
        let rows: Vec<Vec<String>> = self.table.targets.iter().filter_map(row).collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let heading = ["ratio", "at least", "measured", "reached"].map(str::to_owned);
        vec!["Targets:".to_owned(), markdown(&heading, &rows)]
    }

    fn conditions(&self, figures: &Figures) -> String {
        let forwarders: Vec<Peer> = self.except(Peer::Memcpy);
        self.rows(&forwarders, |peer, workload| {
            let median = |value: fn(&Sample) -> f64| {
                let summary = figures.summary(peer, workload.id, value);
                summary.map(|summary| summary.median * 100.0)
            };
            let busy = median(|sample| sample.busy)?;
            let lost = median(|sample| sample.dropped)?;
            Some(format!("{busy:.0} %, lost {lost:.2} %"))
        })
    }

    fn except(&self, peer: Peer) -> Vec<Peer> {
        let others = self.peers.iter().filter(|other| **other != peer);
        others.copied().collect()
    }

    /// A row for each workload, a column for each peer.
    fn rows(&self, peers: &[Peer], cell: impl Fn(Peer, &Workload) -> Option<String>) -> String {
        let mut heading = vec!["bytes".to_owned()];
        heading.extend(peers.iter().map(|peer| peer.name().to_owned()));
        let row = |workload: &Workload| {
            let cells = peers
                .iter()
                .map(|peer| cell(*peer, workload).unwrap_or_else(|| "–".to_owned()));
            std::iter::once(workload.name.to_owned())
                .chain(cells)
                .collect()
        };
        let rows: Vec<Vec<String>> = self.workloads.iter().map(row).collect();
        markdown(&heading, &rows)
    }

    /// Rates relative to testpmd's, which switches nothing.
    fn bars(&self, figures: &Figures) -> Bars {
        let rate = |peer, id| figures.summary(peer, id, |sample| sample.gbps);
        let group = |workload: &Workload| {
            let unit = rate(Peer::Testpmd, workload.id).map(|one| one.median);
            let bar = |peer: &Peer| {
                let Summary { median, min, max } = rate(*peer, workload.id)?;
                let unit = unit?;
                Some(Summary {
                    median: median / unit,
                    min: min / unit,
                    max: max / unit,
                })
            };
            (
                workload.name.to_owned(),
                self.peers.iter().map(bar).collect(),
            )
        };
        Bars {
            title: format!("{}: rate relative to testpmd io", self.table.title),
            series: self
                .peers
                .iter()
                .map(|peer| peer.name().to_owned())
                .collect(),
            groups: self.workloads.iter().map(group).collect(),
        }
    }
}
