//! When to look at the transmit ring without being told ("Polling", CSR47).
//!
//! The chip looks every 2 ms. Nobody needs that whose driver writes TDMD, so the pauses grow until a look finds a frame.
use super::spec;
use std::time::{Duration, Instant};

/// The shortest pause, whatever CSR47 says.
const FIRST: Duration = Duration::from_micros(200);
/// The longest.
const LAST: Duration = Duration::from_millis(100);

/// The pauses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Poll {
    pause: Duration,
    due: Option<Instant>,
}

/// CSR47 as time: clocks, two's complement.
fn interval(register: u16) -> Duration {
    let clocks = 0x1_0000 - u64::from(register);
    Duration::from_nanos(clocks * 1_000_000_000 / spec::CLOCK_HZ).max(FIRST)
}

impl Poll {
    /// The ring was looked at; `found`: there was a frame of which nobody had told.
    pub(super) fn looked(&mut self, found: bool, register: u16, now: Instant) {
        let interval = interval(register);
        if found {
            self.pause = interval;
        } else if self.due.is_some_and(|due| due > now) {
            return;
        } else {
            self.pause = (self.pause * 2).clamp(interval, LAST);
        }
        self.due = Some(now + self.pause);
    }

    /// It is not to be looked at.
    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }

    /// When to look.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }
}
