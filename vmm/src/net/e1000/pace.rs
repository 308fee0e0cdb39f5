//! How long the driver takes to answer an interrupt, and what that means for reports that nobody waits for.
//!
//! That a small packet was sent frees a small buffer. Reported with the timers that drivers set (Linux: 8 µs after the last one, 32 µs at
//! most) it is an interrupt for each packet where the driver takes longer than that to answer one, and what it costs is the driver's time
//! to send the next. So it waits until the driver had [`SHARE`] times as long without an interrupt as it needed for the last, which another
//! interrupt cuts short. Large packets do not wait: Linux' TCP keeps two of a socket on their way, and the third waits for the report.
use std::time::{Duration, Instant};

/// Times of an answer that reports of small packets wait.
const SHARE: u32 = 4;
/// They do not wait longer than this: a driver that polls answers late.
const LONGEST: Duration = Duration::from_millis(10);

/// What is known of the driver's answers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// The last interrupt.
    asserted: Option<Instant>,
    /// When it was answered, so far.
    answered: Option<Instant>,
}

impl Pace {
    /// The pin was asserted.
    pub(super) fn assert(&mut self, now: Instant) {
        self.asserted = Some(now);
        self.answered = None;
    }

    /// The driver read ICR, which is the answer unless it has masked and unmasks later.
    pub(super) fn acknowledge(&mut self, now: Instant) {
        if self.answered.is_none() {
            self.unmask(now);
        }
    }

    /// The driver wants interrupts again.
    pub(super) fn unmask(&mut self, now: Instant) {
        self.answered = self.asserted.map(|_| now);
    }

    /// Until when small reports wait; `masked`: the driver is at it, or wants no interrupts at all. `None`: they do not, as there was no
    /// interrupt, or is one that will bring them along.
    pub(super) fn patience(&self, masked: bool) -> Option<Instant> {
        let asserted = self.asserted?;
        if masked {
            return Some(asserted + LONGEST);
        }
        let answered = self.answered?;
        let took = answered.saturating_duration_since(asserted);
        Some(answered + (took * SHARE).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn small_reports_wait_for_some_answers_and_not_for_ever() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.patience(false), None, "no interrupt yet");
        pace.unmask(now);
        assert_eq!(pace.patience(false), None);
        pace.assert(now);
        assert_eq!(pace.patience(false), None, "it brings them along");
        pace.acknowledge(now + MS);
        pace.acknowledge(now + 2 * MS);
        assert_eq!(pace.patience(false), Some(now + MS + MS * SHARE));
        assert_eq!(
            pace.patience(true),
            Some(now + LONGEST),
            "it is not done yet"
        );
        pace.unmask(now + 2 * MS);
        assert_eq!(pace.patience(false), Some(now + 2 * MS + 2 * MS * SHARE));
        pace.unmask(now + 50 * MS);
        assert_eq!(pace.patience(false), Some(now + 50 * MS + LONGEST));
        pace.assert(now + 60 * MS);
        assert_eq!(pace.patience(true), Some(now + 60 * MS + LONGEST));
    }
}
