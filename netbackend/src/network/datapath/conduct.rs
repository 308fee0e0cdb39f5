//! What keeps a flood from slowing the others down.
//!
//! A frame to many receivers costs its sender nothing and the worker a copy for each; so does, in another way, an address that moves
//! with every frame. A source that causes more of that than [`FREE`] is put *behind*, and stays there until it has caused little for
//! long enough: neither a harmless frame in between nor a pause buys it another storm. While others have work, on whatever
//! worker, all sources that are behind share one part in [`PARTS`] of their worker's time. While the others have none, they get what
//! is left.
use super::{BURST, Source, Target};
use std::time::Duration;
use switch::{Rate, TokenBucket};

/// What a source may cause beyond two copies of each frame, in the mean of a burst: enough for the ARP and discovery of a guest among a thousand.
const FREE: Rate = Rate {
    per_second: 20_000,
    burst: 4_000,
};
/// Who holds so much of [`FREE`] again is not behind any more.
const FORGIVEN: u64 = FREE.burst / 2;
/// An uplink speaks for so many.
pub(super) const BEHIND_UPLINK: usize = 16;
/// A turn that took longer was interrupted by the kernel, which is not to be paid for.
const LONGEST_TURN: Duration = Duration::from_millis(1);
/// One part of a worker's time is for those who are behind.
const PARTS: u32 = 20;
/// So long the others have had no work when those who are behind get the rest: less would let a storm fill the rings of receivers
/// between two bursts of somebody who is not even busy.
pub(super) const CALM: Duration = Duration::from_millis(1);

/// How a source is polled, and how it behaves.
#[derive(Debug)]
pub(super) struct Conduct {
    /// It is polled, with kicks suppressed.
    pub(super) active: bool,
    /// It is behind the others.
    pub(super) behind: bool,
    /// When it last had work (time of the datapath).
    pub(super) last_work: Duration,
    /// Where the next frame probably goes.
    pub(super) target: Option<Target>,
    /// Where frames of the last burst went, if that is waited for until it has room.
    pub(super) waits_for: Option<Target>,
    /// Bursts since its worker last looked how its load is spread.
    pub(super) bursts: u32,
    free: TokenBucket,
    /// Copies of each frame in a burst, the most of the last few.
    fan_out: usize,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            active: false,
            behind: false,
            last_work: Duration::ZERO,
            target: None,
            waits_for: None,
            bursts: 0,
            free: TokenBucket::new(FREE, Duration::ZERO),
            fan_out: 1,
        }
    }
}

impl Conduct {
    /// Frames to take at once: few of those that cost much, so that nobody waits long.
    #[inline]
    pub(super) fn burst(&self) -> usize {
        if self.behind {
            (BURST / self.fan_out.max(1)).max(1)
        } else {
            BURST
        }
    }

    /// Whether something may be sent to all for its front-end, which counts like what it sends itself.
    pub(super) fn may_announce(&mut self, now: Duration) -> bool {
        self.free.holds(now, 1)
    }

    /// That was sent. It is no conduct of the guest's, and does not put it behind.
    pub(super) fn announced(&mut self, now: Duration, extra: usize) {
        let extra = u64::try_from(extra).unwrap_or(u64::MAX);
        self.free.charge(now, extra);
    }

    /// Notes what a burst of `frames` frames has cost beyond what it may: copies and moved addresses.
    #[inline]
    pub(super) fn note(&mut self, now: Duration, frames: usize, extra: usize) {
        if extra == 0 && !self.behind {
            return;
        }
        if extra > 0 {
            self.fan_out = (self.fan_out / 2).max(1 + extra / frames.max(1));
            let extra = u64::try_from(extra).unwrap_or(u64::MAX);
            self.behind |= !self.free.charge(now, extra);
        }
        if !self.behind || self.free.holds(now, FORGIVEN) {
            self.behind = false;
            self.fan_out = 1;
        }
    }
}

/// The sources of a worker that are behind, and when it is their turn.
#[derive(Debug, Default)]
pub(super) struct Behind {
    pub(super) sources: Vec<Source>,
    due: Duration,
    next: usize,
}

impl Behind {
    /// The source to be polled now, if any is. The others, of all workers, had work at `others` last.
    #[inline]
    pub(super) fn turn(&mut self, now: Duration, others: Duration) -> Option<Source> {
        let calm = now.saturating_sub(others) >= CALM;
        if self.sources.is_empty() || !calm && now < self.due {
            return None;
        }
        self.next = (self.next + 1) % self.sources.len();
        self.sources.get(self.next).copied()
    }

    /// A turn was taken at `now`, for so long: the next one is due when the others have had their parts.
    pub(super) fn took(&mut self, now: Duration, took: Duration) {
        self.due = now.saturating_add(took.min(LONGEST_TURN) * PARTS);
    }
}

#[cfg(test)]
#[path = "conduct_test.rs"]
mod tests;
