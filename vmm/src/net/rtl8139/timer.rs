//! TCTR and TIMER_INT: a counter of PCI clocks, and an interrupt when it reaches a value (C 5.11, 5.18).
use super::spec;
use std::time::{Duration, Instant};

/// The counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timer {
    /// When it was 0.
    origin: Instant,
    /// When it reaches TIMER_INT.
    due: Option<Instant>,
}

/// Clocks as time.
fn time_of(clocks: u64) -> Duration {
    let nanos = u128::from(clocks) * 1_000_000_000 / u128::from(spec::TIMER_HZ);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Timer {
    /// A counter that is 0 now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            due: None,
        }
    }

    /// TCTR.
    pub(super) fn count(&self, now: Instant) -> u32 {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        let clocks = nanos * u128::from(spec::TIMER_HZ) / 1_000_000_000;
        u32::try_from(clocks & 0xffff_ffff).unwrap_or(0)
    }

    /// A write to TCTR, of whatever value.
    pub(super) fn clear(&mut self, now: Instant, timer_int: u32) {
        self.origin = now;
        self.program(now, timer_int);
    }

    /// A write to TIMER_INT; 0: no interrupt.
    pub(super) fn program(&mut self, now: Instant, timer_int: u32) {
        let left = timer_int.wrapping_sub(self.count(now));
        self.due = (timer_int != 0).then(|| now + time_of(left.into()));
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Whether TIMER_INT was reached; the next time is a round of the counter later.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let expired = self.due.is_some_and(|due| due <= now);
        if expired {
            self.due = Some(now + time_of(1 << 32));
        }
        expired
    }

    /// For a snapshot: its age, and what is left.
    pub(super) fn save(&self, now: Instant) -> (Duration, Option<Duration>) {
        let left = self.due.map(|due| due.saturating_duration_since(now));
        (now.saturating_duration_since(self.origin), left)
    }

    /// From a snapshot.
    pub(super) fn restore((age, left): (Duration, Option<Duration>), now: Instant) -> Self {
        let longest = time_of(1 << 32);
        Self {
            // A clock that began after the guest did cannot say when: then the counter starts anew.
            origin: now.checked_sub(age).unwrap_or(now),
            due: left.map(|left| now + left.min(longest)),
        }
    }
}
