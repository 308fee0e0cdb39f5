//! Frames as fast as the back-end takes them, between pairs of front-ends.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    Content, FrameKind, FrontEnd,
    introduce::introduce,
    lane::Lane,
    stations::{Parties, Stations},
};

/// A back-end that completes nothing for this long is stuck.
const STUCK: Duration = Duration::from_secs(5);
/// When nothing came for this long, nothing more will.
pub(crate) const SILENCE: Duration = Duration::from_millis(50);

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Size and kind.
    pub frame: FrameKind,
    /// Frames added before they are published.
    pub burst: u16,
    /// From second to first of a pair as well.
    pub both_ways: bool,
    /// Source ports of each direction, one after the other.
    pub flows: u16,
    /// MAC addresses of each front-end, one after the other.
    pub stations: u32,
    /// Time before the measurement starts.
    pub warm_up: Duration,
    /// Length of the measurement.
    pub time: Duration,
    /// Write payloads anew and compare every received byte: no frame may be altered, come twice or out of order.
    pub verify: bool,
    /// Hold back frames when so many are on their way in one direction; 0: as many as the ring takes.
    pub window: u16,
    /// Leave the CPU to others while there is nothing to do.
    pub yields: bool,
    /// Number of the first pair, by which its addresses are told from those of other generators' pairs.
    pub first_pair: u8,
}

impl Load {
    /// One direction, one flow, bursts of 32, for two seconds.
    pub fn new(frame: FrameKind) -> Self {
        Self {
            frame,
            burst: 32,
            both_ways: false,
            flows: 1,
            stations: 1,
            warm_up: Duration::from_millis(300),
            time: Duration::from_secs(2),
            verify: false,
            window: 0,
            yields: false,
            first_pair: 0,
        }
    }

    fn stations_behind(&self, end: u8) -> Stations {
        Stations::behind(end.saturating_add(2 * self.first_pair), self.stations)
    }

    /// The two directions of pair number `pair`.
    fn lanes(&self, pair: u8) -> anyhow::Result<[Lane; 2]> {
        let (first, second) = (2 * pair, 2 * pair + 1);
        let there = Parties {
            source: self.stations_behind(first),
            target: self.stations_behind(second),
            flows: self.flows,
        };
        let lane = |from: u8, to: u8, parties| {
            let content = Content::between(self.frame, parties)?;
            Lane::new((from.into(), to.into()), content, self.burst, self.verify)
        };
        Ok([
            lane(first, second, there)?,
            lane(second, first, there.swapped())?,
        ])
    }
}

/// What came of it, all directions together.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Frames that came out while it was measured.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Length of the measurement.
    pub time: Duration,
    /// Time in which the generator had something to do: near all of `time`, the generator is what was measured.
    pub busy: Duration,
    /// Frames given to the back-end in all, before and after the measurement too.
    pub sent: u64,
    /// Frames of these that never came out.
    pub dropped: u64,
}

/// Sends from the first of each pair of `ends` to the second for `load.time`.
pub fn throughput(ends: &mut [FrontEnd], load: &Load) -> anyhow::Result<Measured> {
    ensure!(
        !ends.is_empty() && ends.len().is_multiple_of(2),
        "front-ends come in pairs"
    );
    for end in &mut *ends {
        end.post_buffers();
    }
    let mut lanes = Vec::new();
    for pair in 0..u8::try_from(ends.len() / 2)? {
        let [there, back] = load.lanes(pair)?;
        introduce(ends, &back)?;
        if load.both_ways {
            introduce(ends, &there)?;
            lanes.push(back);
        }
        lanes.push(there);
    }
    for lane in &lanes {
        lane.prepare(end_of(ends, lane.from)?)?;
    }
    let window = u64::from(load.window);
    let mut traffic = Traffic {
        ends,
        lanes,
        window,
        yields: load.yields,
    };
    traffic.run(load.warm_up)?;
    let before = traffic.totals();
    let (time, busy) = traffic.run(load.time)?;
    let after = traffic.totals();
    traffic.drain()?;
    let dropped = traffic.reconcile()?;
    Ok(Measured {
        received: after.0 - before.0,
        bytes: after.1 - before.1,
        time,
        busy,
        sent: traffic.lanes.iter().map(|lane| lane.sent).sum(),
        dropped,
    })
}

/// Sends `count` bursts from the first of `ends` to the second, each when the one before has come out: the same work every time.
/// Returns how many frames came.
pub fn bursts(ends: &mut [FrontEnd], load: &Load, count: u32) -> anyhow::Result<u64> {
    for end in &mut *ends {
        end.post_buffers();
    }
    let [mut lane, back] = load.lanes(0)?;
    introduce(ends, &back)?;
    introduce(ends, &lane)?;
    lane.prepare(end_of(ends, lane.from)?)?;
    for _ in 0..count {
        let before = lane.received;
        let mut left = u64::from(load.burst);
        let start = Instant::now();
        while left > 0 {
            let room = u16::try_from(left)?;
            let sent = lane.outstanding();
            lane.send_up_to(end_of(ends, lane.from)?, room)?;
            left -= lane.outstanding() - sent;
            while lane.outstanding() > 0 {
                if !lane.receive(end_of(ends, lane.to)?)? {
                    thread::yield_now();
                }
                ensure!(
                    start.elapsed() < STUCK,
                    "the back-end keeps or loses frames"
                );
            }
        }
        ensure!(
            lane.received - before == u64::from(load.burst),
            "frames came that were not sent"
        );
    }
    Ok(lane.received)
}

struct Traffic<'a> {
    ends: &'a mut [FrontEnd],
    lanes: Vec<Lane>,
    window: u64,
    yields: bool,
}

impl Traffic<'_> {
    /// Frames and bytes received.
    fn totals(&self) -> (u64, u64) {
        let lanes = self.lanes.iter();
        lanes.fold((0, 0), |(frames, bytes), lane| {
            (frames + lane.received, bytes + lane.bytes)
        })
    }

    /// Sends and receives for `time`; returns how long that was, and how much of it there was something to do.
    fn run(&mut self, time: Duration) -> anyhow::Result<(Duration, Duration)> {
        let start = Instant::now();
        let (mut last, mut busy, mut idle) = (start, Duration::ZERO, Duration::ZERO);
        loop {
            let mut worked = false;
            for lane in &mut self.lanes {
                let from = end_of(self.ends, lane.from)?;
                worked |= if self.window == 0 {
                    lane.send(from)?
                } else {
                    let room = self.window.saturating_sub(lane.outstanding());
                    lane.send_up_to(from, u16::try_from(room)?)?
                };
                worked |= lane.receive(end_of(self.ends, lane.to)?)?;
            }
            let now = Instant::now();
            let turn = now - last;
            last = now;
            if worked {
                busy += turn;
                idle = Duration::ZERO;
            } else {
                idle += turn;
                ensure!(idle < STUCK, "the back-end has done nothing for {STUCK:?}");
                self.pause();
            }
            if now - start >= time {
                return Ok((now - start, busy));
            }
        }
    }

    fn pause(&self) {
        if self.yields {
            thread::yield_now();
        }
    }

    /// Sends no more and receives what is on its way.
    fn drain(&mut self) -> anyhow::Result<()> {
        let mut last = Instant::now();
        while last.elapsed() < SILENCE || !self.is_drained()? {
            for lane in &mut self.lanes {
                let reclaimed = lane.reclaim(end_of(self.ends, lane.from)?)?;
                if lane.receive(end_of(self.ends, lane.to)?)? || reclaimed > 0 {
                    last = Instant::now();
                }
            }
            ensure!(last.elapsed() < STUCK, "the back-end keeps frames");
            self.pause();
        }
        Ok(())
    }

    fn is_drained(&mut self) -> anyhow::Result<bool> {
        for lane in &self.lanes {
            if !end_of(self.ends, lane.from)?.tx.is_drained() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Frames lost in all. What came must have been sent, and gaps must be among what was lost.
    fn reconcile(&self) -> anyhow::Result<u64> {
        let mut dropped = 0;
        for lane in &self.lanes {
            let (sent, received, missed) = (lane.sent, lane.received, lane.missed());
            ensure!(
                received <= sent,
                "{received} frames came where {sent} were sent"
            );
            let lost = sent - received;
            ensure!(
                missed <= lost,
                "{missed} frames are missing between others, but only {lost} in all"
            );
            dropped += lost;
        }
        Ok(dropped)
    }
}

/// Indices come from the pairs that were counted.
pub(crate) fn end_of(ends: &mut [FrontEnd], index: usize) -> anyhow::Result<&mut FrontEnd> {
    ends.get_mut(index)
        .ok_or_else(|| anyhow::anyhow!("there is no front-end {index}"))
}

#[cfg(test)]
#[path = "throughput_test.rs"]
mod tests;
