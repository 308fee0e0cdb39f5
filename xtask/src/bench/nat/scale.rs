//! What flows cost that do nothing.
use super::super::statistics::summarize;
use super::super::{idle, process::Process};
use super::load::Direction;
use super::world::{SERVER, Way, World};
use anyhow::Result;
use std::fs;

/// Flows that do nothing.
pub(super) const IDLE: u32 = 10_000;
const BUSY: Way = Way::Nat(1500);

/// What flows cost that do nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdleFlows {
    /// KiB that the daemon has grown by.
    pub(super) memory: u64,
    /// How fast a flow is beside them, of how fast it is alone: to the world, and from it.
    pub(super) beside: [f64; 2],
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

/// Until a program says this word.
pub(super) fn wait_for(process: &mut Process, word: &str) -> Result<()> {
    let log = process.path().to_owned();
    process.wait_until(word, || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains(word))
    })
}
