//! How long a frame takes: back and forth without a pause, or out of an idle back-end.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use hdrhistogram::Histogram;

use crate::{
    Content, FrameKind, FrontEnd, content::NUMBER, introduce::introduce, lane::Lane,
    stations::Parties,
};

/// Longest time that is told from a loss.
const LOST: Duration = Duration::from_secs(2);
/// Digits of a time that are kept.
const DIGITS: u8 = 3;

/// Times in nanoseconds.
pub type Times = Histogram<u64>;

/// An empty collection of times.
pub(crate) fn times() -> anyhow::Result<Times> {
    Ok(Histogram::new_with_max(nanoseconds(LOST), DIGITS)?)
}

/// Sends a frame from `first` to `second` and back, again and again, both polling. The times are those of whole round trips.
pub fn ping_pong(
    first: FrontEnd,
    second: FrontEnd,
    frame: FrameKind,
    (warm_up, time): (Duration, Duration),
) -> anyhow::Result<Times> {
    let mut ends = [first, second];
    let [there, back] = meet(&mut ends, frame)?;
    let mut times = times()?;
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < warm_up + time {
        let begun = Instant::now();
        let [first, second] = &mut ends;
        pass(&there, first, second, number)?;
        pass(&back, second, first, number)?;
        let taken = begun.elapsed();
        number += 1;
        if start.elapsed() >= warm_up {
            times.saturating_record(nanoseconds(taken));
        }
    }
    Ok(times)
}

/// Sends `count` frames from `first` to `second` with pauses of `gap`, in which the back-end goes to sleep. Who receives sleeps too,
/// until it is called. The times are those from before the kick until the receiver has the frame in its hands.
pub fn from_idle(
    first: FrontEnd,
    second: FrontEnd,
    frame: FrameKind,
    (gap, count): (Duration, u32),
) -> anyhow::Result<Times> {
    let mut ends = [first, second];
    let [there, _] = meet(&mut ends, frame)?;
    let [mut first, mut second] = ends;
    let epoch = Instant::now();
    let stamp_at = there.content.start().len() as u64;
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let received = receive_stamps(&mut second, stamp_at, epoch, count);
            failed.store(received.is_err(), Ordering::Relaxed);
            received
        });
        for _ in 0..count {
            thread::sleep(gap);
            if failed.load(Ordering::Relaxed) {
                break;
            }
            first.tx.reclaim()?;
            ensure!(
                there.add(&mut first, nanoseconds(epoch.elapsed()))?,
                "the back-end keeps frames"
            );
            first.tx.publish();
        }
        let received = receiver.join();
        received.map_err(|_| anyhow!("the receiver panicked"))?
    })
}

/// Makes both known to the switch.
fn meet(ends: &mut [FrontEnd; 2], frame: FrameKind) -> anyhow::Result<[Lane; 2]> {
    let there = Parties::default();
    let lane = |between, parties| Lane::new(between, Content::between(frame, parties)?, 1, false);
    let lanes = [lane((0, 1), there)?, lane((1, 0), there.swapped())?];
    for end in &mut *ends {
        end.post_buffers();
    }
    for lane in &lanes {
        introduce(ends, lane)?;
    }
    Ok(lanes)
}

/// One frame from one to the other.
fn pass(lane: &Lane, from: &mut FrontEnd, to: &mut FrontEnd, number: u64) -> anyhow::Result<()> {
    from.tx.reclaim()?;
    ensure!(lane.add(from, number)?, "the back-end keeps frames");
    from.tx.publish();
    let start = Instant::now();
    let mut looks = 0_u32;
    loop {
        if let Some((slot, _)) = to.rx.done()? {
            to.rx.refill(slot);
            to.rx.publish();
            return Ok(());
        }
        looks = looks.wrapping_add(1);
        // The clock costs as much as a few looks.
        if looks.is_multiple_of(1024) {
            ensure!(start.elapsed() < LOST, "frame {number} was lost");
        }
    }
}

/// Sleeps until frames come, and notes how old they are.
fn receive_stamps(
    end: &mut FrontEnd,
    stamp_at: u64,
    epoch: Instant,
    count: u32,
) -> anyhow::Result<Times> {
    let mut times = times()?;
    while times.len() < u64::from(count) {
        let called = end.rx.wait(LOST).context("waiting for a call")?;
        ensure!(called, "a frame was lost");
        let now = nanoseconds(epoch.elapsed());
        while let Some((slot, _)) = end.rx.done()? {
            let mut stamp = [0; NUMBER];
            let read = end
                .memory
                .map()
                .read(end.rx.buffer(slot) + stamp_at, &mut stamp);
            ensure!(read, "a buffer lies outside guest memory");
            times.saturating_record(now.saturating_sub(u64::from_le_bytes(stamp)));
            end.rx.refill(slot);
        }
        end.rx.publish();
    }
    Ok(times)
}

/// In 64 bits: enough for centuries.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
