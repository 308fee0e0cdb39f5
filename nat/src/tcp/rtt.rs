//! When to send again (RFC 6298).
use std::time::Duration;

/// Linux's lower bound rather than RFC 6298's of 1 s: Linux guests delay their ACKs by 40 ms at most.
const MIN: Duration = Duration::from_millis(200);
const MAX: Duration = Duration::from_mins(1);
const INITIAL: Duration = Duration::from_secs(1);

/// Smoothed round-trip time of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    /// doublings since something was acknowledged
    backoff: u8,
}

impl Rtt {
    pub(crate) const fn new() -> Self {
        Self {
            smoothed: None,
            variation: Duration::ZERO,
            backoff: 0,
        }
    }

    pub(crate) fn sample(&mut self, rtt: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(rtt);
                self.variation = rtt / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
                self.smoothed = Some((smoothed * 7 + rtt) / 8);
            }
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        let once = match self.smoothed {
            None => INITIAL,
            Some(smoothed) => (smoothed + self.variation * 4).max(MIN),
        };
        (once * (1 << self.backoff.min(8))).min(MAX)
    }

    /// After which silence the last segment is sent again, to learn what is missing (RFC 8985, 7.2).
    pub(crate) fn probe_timeout(&self) -> Option<Duration> {
        let smoothed = self.smoothed?;
        Some((smoothed * 2).max(Duration::from_millis(8)) + Duration::from_millis(40))
    }

    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    pub(crate) fn acknowledged(&mut self) {
        self.backoff = 0;
    }

    /// Doublings in a row.
    pub(crate) const fn attempts(&self) -> u8 {
        self.backoff
    }
}
