//! What many flows and many guests cost.
use super::super::statistics::summarize;
use super::super::{Programs, idle, namespace::Namespace, process::Process};
use super::load::Direction;
use super::world::{self, OPEN, SERVER, Way, World};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Flows that do nothing.
pub(super) const IDLE: u32 = 10_000;
/// Guests that talk at once, and the flows of each.
pub(super) const GUESTS: [usize; 2] = [1, 50];
pub(super) const FLOWS: u32 = 100;

const BUSY: Way = Way::Nat(1500);

/// What flows cost that do nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdleFlows {
    /// KiB that the daemon has grown by.
    pub(super) memory: u64,
    /// How fast a flow is beside them, of how fast it is alone: to the world, and from it.
    pub(super) beside: [f64; 2],
}

/// What an exchange costs, in microseconds of the daemon's CPU time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) guests: usize,
    pub(super) per_exchange: f64,
    pub(super) exchanges_per_second: f64,
}

/// Rounds alternate: a flow alone, a flow beside the others.
pub(super) fn idle_flows(world: &World, rounds: u32, seconds: u32) -> Result<IdleFlows> {
    let pids = idle::with_children(world.daemon.id());
    let mut figures: [[Vec<f64>; 2]; 2] = Default::default();
    let mut memory = 0;
    for _ in 0..rounds {
        measure_ways(world, seconds, &mut figures[0])?;
        let before = idle::memory(&pids)?.pss;
        let line = format!("{} hold {SERVER} --count {IDLE}", world.sockets.display());
        let mut command = world.near(BUSY)?.command(&line);
        let mut holder = Process::start("hold", &world.directory, &mut command)?;
        wait_for(&mut holder, "holding")?;
        memory = memory.max(idle::memory(&pids)?.pss.saturating_sub(before));
        measure_ways(world, seconds, &mut figures[1])?;
    }
    let [alone, beside] = &figures;
    let ratio = |way: usize| {
        let median = |of: &[Vec<f64>; 2]| summarize(of[way].iter().copied()).map(|it| it.median);
        Some(median(beside)? / median(alone)?)
    };
    Ok(IdleFlows {
        memory,
        beside: [ratio(0), ratio(1)].map(|ratio| ratio.unwrap_or(0.0)),
    })
}

fn measure_ways(world: &World, seconds: u32, figures: &mut [Vec<f64>; 2]) -> Result<()> {
    for (direction, figures) in Direction::BOTH.into_iter().zip(figures) {
        figures.push(world.tcp(BUSY, direction, (1, seconds))?.total);
    }
    Ok(())
}

fn wait_for(process: &mut Process, word: &str) -> Result<()> {
    let log = process.path().to_owned();
    process.wait_until(word, || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains(word))
    })
}

/// Guests of one network that all talk; the medians of several rounds, in turns.
pub(super) fn guests(
    world: &World,
    programs: &Programs,
    (rounds, seconds): (u32, u32),
) -> Result<Vec<Cost>> {
    let most = GUESTS.into_iter().max().unwrap_or(1);
    let guests = (0..most)
        .map(|number| Namespace::new(&format!("many-{number}")))
        .collect::<Result<Vec<_>>>()?;
    let directory = world.directory.join("many");
    let mut config = format!("[networks.many]\nmode = \"nat\"\n{OPEN}\n");
    for (number, guest) in guests.iter().enumerate() {
        config += &world::port("many", number, guest);
    }
    let daemon = world::daemon(&programs.netbackend, &directory, &world.host, &config)?;
    for (last, guest) in (15..).zip(&guests) {
        world::join(guest, last)?;
    }
    let mut figures = GUESTS.map(|_| (Vec::<f64>::new(), Vec::<f64>::new()));
    for _ in 0..rounds {
        for (count, (costs, rates)) in GUESTS.into_iter().zip(&mut figures) {
            let talk = || talk(world, &daemon, &guests[..count], seconds);
            let (cost, rate) = world.neighbours.measure(talk)?;
            costs.push(cost);
            rates.push(rate);
        }
    }
    let median = |of: &[f64]| summarize(of.iter().copied()).map_or(0.0, |it| it.median);
    let costs = GUESTS.into_iter().zip(&figures);
    Ok(costs
        .map(|(guests, (costs, rates))| Cost {
            guests,
            per_exchange: median(costs),
            exchanges_per_second: median(rates),
        })
        .collect())
}

/// CPU time of an exchange in microseconds, and exchanges per second.
fn talk(world: &World, daemon: &Process, guests: &[Namespace], seconds: u32) -> Result<(f64, f64)> {
    let pids = idle::with_children(daemon.id());
    let program = world.sockets.display();
    let line = format!("{program} talk {SERVER} --flows {FLOWS} --seconds {seconds}");
    let mut talkers = Vec::new();
    for (number, guest) in guests.iter().enumerate() {
        let directory = world.directory.join(format!("talk-{number}"));
        fs::create_dir_all(&directory)?;
        talkers.push(Process::start(
            "talk",
            &directory,
            &mut guest.command(&line),
        )?);
    }
    for talker in &mut talkers {
        wait_for(talker, "open")?;
    }
    let before = cpu_time(&pids)?;
    for talker in &mut talkers {
        talker.tell("go")?;
    }
    let (mut exchanges, mut rate) = (0.0, 0.0);
    for talker in talkers {
        let output = talker.finish()?;
        let figures = output.lines().last().and_then(|line| line.split_once('\t'));
        let (count, time) = figures.with_context(|| format!("sock-load printed {output}"))?;
        let count: f64 = count.parse()?;
        exchanges += count;
        rate += count / time.parse::<f64>()?;
    }
    Ok(((cpu_time(&pids)? - before) / exchanges, rate))
}

/// Microseconds that all threads of these processes have run (`/proc/PID/task/TID/schedstat`).
fn cpu_time(pids: &[u32]) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for pid in pids {
        for task in fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let run = text
                .split_whitespace()
                .next()
                .and_then(|text| text.parse::<f64>().ok());
            nanoseconds += run.context("schedstat has no run time")?;
        }
    }
    Ok(nanoseconds / 1000.0)
}
