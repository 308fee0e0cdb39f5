//! Offering the CPU to others, and what comes of it.
//!
//! The guest that a worker waits for may need this very CPU, so who finds nothing offers it by sched_yield(2). Where nobody wants it, that
//! takes no time. Where somebody does, they may keep it for a slice of the scheduler's, some milliseconds, since a yield moves who
//! yields behind them (Linux' EEVDF); who sleeps instead is let in as soon as something wakes them. So after a yield that took long,
//! nothing is polled for a while.
use std::{
    thread,
    time::{Duration, Instant},
};

/// Guests that leave each other the CPU are back in less, those that keep it are not.
const SLICE: Duration = Duration::from_micros(500);
/// How long whoever took the CPU is taken to want it again.
const WHILE: Duration = Duration::from_millis(50);

/// How a worker shares its CPU.
#[derive(Debug, Default)]
pub(super) struct Courtesy {
    crowded_until: Duration,
}

impl Courtesy {
    /// Offers the CPU. Times are since `start`.
    pub(super) fn offer(&mut self, start: Instant) {
        let before = start.elapsed();
        thread::yield_now();
        self.note(before, start.elapsed());
    }

    fn note(&mut self, before: Duration, after: Duration) {
        if after.saturating_sub(before) >= SLICE {
            self.crowded_until = after.saturating_add(WHILE);
        }
    }

    /// How long a source without work is polled that would be for `wanted`.
    #[inline]
    pub(super) fn poll_idle(&self, now: Duration, wanted: Duration) -> Duration {
        if now < self.crowded_until {
            Duration::ZERO
        } else {
            wanted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_lost_the_cpu_does_not_poll_for_a_while() {
        let wanted = Duration::from_micros(50);
        let mut courtesy = Courtesy::default();
        let start = Duration::from_secs(1);
        courtesy.note(start, start + SLICE / 2);
        assert_eq!(courtesy.poll_idle(start + SLICE, wanted), wanted);
        let back = start + SLICE;
        courtesy.note(start, back);
        assert_eq!(courtesy.poll_idle(back, wanted), Duration::ZERO);
        let late = back + WHILE;
        assert_eq!(courtesy.poll_idle(back + WHILE / 2, wanted), Duration::ZERO);
        assert_eq!(courtesy.poll_idle(late, wanted), wanted);
    }
}
