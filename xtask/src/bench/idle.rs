//! What the daemon costs when its guests are silent.
use super::machine_report as report;
use super::netbackend::{Daemon, Setup};
use super::process::Process;
use super::table::markdown;
use super::{Programs, build, results};
use crate::exec;
use crate::ui::Ui;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// What is left of attaching is over by then.
const SETTLE: Duration = Duration::from_secs(2);

/// Arguments of `bench idle`.
#[derive(Debug, Clone, clap::Args)]
pub struct IdleOptions {
    /// How many ports are attached, one daemon after the other. Repeatable
    #[arg(long, value_name = "N", default_values_t = [1, 100, 1000])]
    ports: Vec<u32>,
    /// Seconds during which CPU time is counted
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

/// CPU time and memory of the daemon, all its processes together.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    ports: u32,
    /// Clock ticks, user and system, during the measurement.
    ticks: u64,
    memory: Memory,
}

/// KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    rss: u64,
    pub(super) pss: u64,
    /// The share of `pss` in memory of guests (memfd).
    guests: u64,
}

/// Measures the daemon with silent guests and writes the section of the results.
pub fn idle(ui: Ui, options: &IdleOptions) -> Result<()> {
    let programs = build(ui)?;
    let costs = options
        .ports
        .iter()
        .map(|ports| {
            let title = format!("{ports} silent ports, {} s", options.seconds);
            ui.step(&title, |_| measure(&programs, *ports, options.seconds))
        })
        .collect::<Result<Vec<_>>>()?;
    let body = write_up(options, &costs);
    results::tell(ui, "idle", &body, options.dry)
}

fn measure(programs: &Programs, ports: u32, seconds: u64) -> Result<Cost> {
    let name = format!("xtask-idle-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let cost = measure_in(&directory, programs, ports, seconds);
    // Nothing in it is wanted any more.
    let _ = fs::remove_dir_all(&directory);
    cost
}

fn measure_in(directory: &Path, programs: &Programs, ports: u32, seconds: u64) -> Result<Cost> {
    let names: Vec<String> = (0..ports).map(|port| format!("p{port}")).collect();
    let setup = Setup {
        settings: String::new(),
        ports: names.clone(),
        ..Setup::default()
    };
    let daemon = Daemon::start(&programs.netbackend, directory, &setup, None)?;
    let _guests = attach_silent(&programs.generator, directory, &daemon, &names)?;
    thread::sleep(SETTLE);
    let pids = with_children(daemon.process.id());
    let before = ticks(&pids)?;
    thread::sleep(Duration::from_secs(seconds));
    let ticks = ticks(&pids)?.all() - before.all();
    Ok(Cost {
        ports,
        ticks,
        memory: memory(&pids)?,
    })
}

/// Guests that do nothing, in one process.
pub(super) fn attach_silent(
    generator: &Path,
    directory: &Path,
    daemon: &Daemon,
    ports: &[String],
) -> Result<Process> {
    let sockets = ports.iter().map(|port| daemon.socket(port));
    let mut attach = Command::new(generator);
    attach.arg("attach").args(sockets);
    let mut guests = Process::start("vu-gen", directory, &mut attach)?;
    let log = directory.join("vu-gen.log");
    guests.wait_until("ports", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("ports attached"))
    })?;
    Ok(guests)
}

/// A process and all that it started.
pub(super) fn with_children(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        pids.extend(children.flat_map(with_children));
    }
    pids
}

/// `utime` and `stime` of proc(5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    pub(super) user: u64,
    pub(super) kernel: u64,
}

impl Ticks {
    /// Of both.
    fn all(self) -> u64 {
        self.user + self.kernel
    }

    /// What part of the time since then the kernel has taken.
    #[expect(clippy::cast_precision_loss, reason = "ticks of one measurement")]
    pub(super) fn kernel_share_since(self, before: Self) -> f64 {
        let all = self.all().saturating_sub(before.all()).max(1);
        self.kernel.saturating_sub(before.kernel) as f64 / all as f64
    }
}

pub(super) fn ticks(pids: &[u32]) -> Result<Ticks> {
    let mut sum = Ticks::default();
    for pid in pids {
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let one = parse_ticks(&text).with_context(|| format!("reading {path}"))?;
        sum.user += one.user;
        sum.kernel += one.kernel;
    }
    Ok(sum)
}

/// Fields 14 and 15; the second one, the name, may hold anything but ends with the last parenthesis.
fn parse_ticks(stat: &str) -> Option<Ticks> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user = fields.next()?.parse().ok()?;
    let kernel = fields.next()?.parse().ok()?;
    Some(Ticks { user, kernel })
}

pub(super) fn memory(pids: &[u32]) -> Result<Memory> {
    let mut sum = Memory::default();
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let one = parse_memory(&text);
        sum.rss += one.rss;
        sum.pss += one.pss;
        sum.guests += one.guests;
    }
    Ok(sum)
}

fn parse_memory(rollup: &str) -> Memory {
    let field = |name: &str| {
        let value = |line: &str| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        };
        rollup.lines().find_map(value).unwrap_or(0)
    };
    Memory {
        rss: field("Rss:"),
        pss: field("Pss:"),
        guests: field("Pss_Shmem:"),
    }
}

fn write_up(options: &IdleOptions, costs: &[Cost]) -> String {
    let per_second = exec::stdout(Command::new("getconf").arg("CLK_TCK"));
    let per_second = per_second
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(100);
    let heading = [
        "silent ports",
        "CPU ticks",
        "CPU",
        "RSS, KiB",
        "PSS, KiB",
        "PSS without guests' memory, KiB",
    ];
    let rows: Vec<Vec<String>> = costs
        .iter()
        .map(|cost| {
            vec![
                cost.ports.to_string(),
                cost.ticks.to_string(),
                percent(cost.ticks, options.seconds * per_second),
                cost.memory.rss.to_string(),
                cost.memory.pss.to_string(),
                own(cost).to_string(),
            ]
        })
        .collect();
    let mut parts = vec![
        format!(
            "## Silent guests\n\n\
             * When: {}. Command: `cargo xtask bench idle`.\n\
             * Where: {}.\n\
             * What: one network; each guest has attached and posted 256 receive buffers, and sends nothing. Ticks are user and \
             system time of supervisor and worker over {} s, {per_second} ticks a second. Memory is that of both processes.",
            report::date(),
            report::machine(),
            options.seconds
        ),
        markdown(&heading.map(str::to_owned), &rows),
    ];
    if let [first, .., last] = costs
        && last.ports > first.ports
    {
        let per_port = |of: fn(&Cost) -> u64| {
            of(last).saturating_sub(of(first)) / u64::from(last.ports - first.ports)
        };
        parts.push(format!(
            "Each port more costs {} KiB of RSS, {} KiB of PSS, and {} KiB beyond the guest's own memory.",
            per_port(|cost| cost.memory.rss),
            per_port(|cost| cost.memory.pss),
            per_port(own)
        ));
    }
    parts.join("\n\n")
}

fn own(cost: &Cost) -> u64 {
    cost.memory.pss.saturating_sub(cost.memory.guests)
}

/// In tenths, rounded up: what is not nothing does not look like nothing.
fn percent(part: u64, whole: u64) -> String {
    let tenths = (part * 1000).div_ceil(whole.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
#[path = "idle_test.rs"]
mod tests;
