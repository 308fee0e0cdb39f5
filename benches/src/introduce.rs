//! Letting a learning switch know who is where, before anything is measured.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::{
    FrontEnd,
    lane::Lane,
    throughput::{SILENCE, end_of},
};

/// How long the back-end may take to carry a frame.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries at that: a port may not be up yet, and then the frame is lost.
const AGAIN: Duration = Duration::from_millis(50);
/// Stations introduced at a time: no ring is that small.
const BURST: u32 = 32;

/// One frame from every station that sends on `lane`, and not one of them left on its way.
pub(crate) fn introduce(ends: &mut [FrontEnd], lane: &Lane) -> anyhow::Result<()> {
    lane.prepare(end_of(ends, lane.from)?)?;
    let mut stations = lane.content.parties().source.count();
    // The port may not run yet: the first one tells.
    let mut number = greet(ends, lane, 0, 1)?;
    stations -= 1;
    while stations > 0 {
        let count = stations.min(BURST);
        number = greet(ends, lane, number, count)?;
        stations -= count;
    }
    settle(ends, lane)
}

/// Sends frames `number..number + count` until as many came.
fn greet(ends: &mut [FrontEnd], lane: &Lane, number: u64, count: u32) -> anyhow::Result<u64> {
    let start = Instant::now();
    let (mut last, mut came) = (None, 0);
    while start.elapsed() < PATIENCE {
        let from = end_of(ends, lane.from)?;
        from.tx.reclaim()?;
        if last.is_none_or(|last: Instant| last.elapsed() > AGAIN) {
            for index in 0..u64::from(count) {
                lane.add(from, number + index)?;
            }
            from.tx.publish();
            last = Some(Instant::now());
        }
        came += take(end_of(ends, lane.to)?)?;
        if came >= count {
            return Ok(number + u64::from(count));
        }
        std::thread::yield_now();
    }
    bail!("no frame came through: are both sockets ports of one network?")
}

/// Waits until nothing is on its way any more, to whomever: what goes to strangers is flooded.
fn settle(ends: &mut [FrontEnd], lane: &Lane) -> anyhow::Result<()> {
    let mut last = Instant::now();
    while last.elapsed() < SILENCE {
        let mut worked = end_of(ends, lane.from)?.tx.reclaim()? > 0;
        for end in &mut *ends {
            worked |= take(end)? > 0;
        }
        if worked {
            last = Instant::now();
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Takes and forgets what has come; returns how many buffers.
fn take(end: &mut FrontEnd) -> anyhow::Result<u32> {
    let mut count = 0;
    while let Some((slot, _)) = end.rx.done()? {
        end.rx.refill(slot);
        count += 1;
    }
    end.rx.publish();
    Ok(count)
}
