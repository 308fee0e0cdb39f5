//! How busy a worker is.
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Time over which a share is taken.
pub(super) const WINDOW: Duration = Duration::from_millis(200);
/// Time between two notes to the other workers; far less than they wait for calm.
const FAIR_NOTES: Duration = Duration::from_micros(100);
/// The whole of a share.
const WHOLE: u64 = 1000;

/// What the other workers, and reports, see of a worker's load.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Thousandths of the last window in which it carried frames.
    share: AtomicU64,
    /// When that window ended, in nanoseconds of the datapath's time.
    ended: AtomicU64,
    /// When it last carried frames of those who behave, in nanoseconds of the datapath's time.
    fair: AtomicU64,
}

impl Load {
    /// When any of these last carried frames of those who behave; see [`Meter::note_fair`].
    pub(super) fn last_fair(loads: &[Self]) -> Duration {
        let last = loads.iter().map(|load| load.fair.load(Relaxed)).max();
        Duration::from_nanos(last.unwrap_or_default())
    }

    /// Thousandths of its time that it carries frames: of the last window, or none if that is long ago, because it sleeps.
    pub(super) fn share(&self, now: Duration) -> u16 {
        let ended = Duration::from_nanos(self.ended.load(Relaxed));
        if now.saturating_sub(ended) > 2 * WINDOW {
            return 0;
        }
        u16::try_from(self.share.load(Relaxed)).unwrap_or(u16::MAX)
    }
}

/// A worker's own account of its time.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When the round at hand began.
    round: Duration,
    window: Duration,
    busy: Duration,
    fair: Duration,
    /// Glances at the sources in the round at hand, before frames came.
    glances: u32,
    /// What one of them takes, as far as is known: the clock is not asked between them and the frames.
    glance: Option<Duration>,
}

impl Meter {
    /// A round begins; `worked`: the one before carried frames. True: the window is over.
    #[inline]
    pub(super) fn begin_round(&mut self, now: Duration, worked: bool) -> bool {
        let lasted = now.saturating_sub(self.round);
        let glances = std::mem::take(&mut self.glances);
        if worked {
            let waited = self.glance.unwrap_or_default() * glances;
            self.busy += lasted.saturating_sub(waited);
        } else if let Some(glance) = lasted.checked_div(glances) {
            // The least: a round may have been interrupted, or have ended in the kernel.
            self.glance = Some(self.glance.map_or(glance, |least| least.min(glance)));
        }
        self.round = now;
        now.saturating_sub(self.window) >= WINDOW
    }

    /// In the round at hand the sources were looked at so often before frames came, or in vain.
    #[inline]
    pub(super) fn note_glances(&mut self, count: u32) {
        self.glances = count;
    }

    /// Frames of those who behave were carried: tells the others now and then, whose line of the cache this is as well.
    #[inline]
    pub(super) fn note_fair(&mut self, now: Duration, load: &Load) {
        if now.saturating_sub(self.fair) >= FAIR_NOTES {
            self.fair = now;
            load.fair.store(nanos(now), Relaxed);
        }
    }

    /// Begins a new window, and publishes the share of the last one.
    pub(super) fn end_window(&mut self, now: Duration, load: &Load) {
        let lasted = now.saturating_sub(self.window).as_nanos().max(1);
        let share = self.busy.as_nanos() * u128::from(WHOLE) / lasted;
        let share = u64::try_from(share).unwrap_or(WHOLE).min(WHOLE);
        load.share.store(share, Relaxed);
        load.ended.store(nanos(now), Relaxed);
        self.window = now;
        self.busy = Duration::ZERO;
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "load_test.rs"]
mod tests;
