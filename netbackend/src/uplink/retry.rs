//! When an interface that is there and did not fit is tried again.
use std::{future, time::Duration};
use tokio::time;

/// After this at first, and this at most. Not all that may be changed about it, its MTU or who else is on it, is an event of its own.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Pauses that grow until one fits.
#[derive(Debug)]
pub(crate) struct Retry {
    /// None: all fit.
    due: Option<time::Instant>,
    /// How long after the next failure.
    pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            due: None,
            pause: FIRST_PAUSE,
        }
    }
}

impl Retry {
    /// One did not fit. Several that do not fit are tried again together.
    pub(crate) fn try_again(&mut self) {
        if self.due.is_none() {
            self.due = Some(time::Instant::now() + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One fits, or none is left that did not: the next that does not need not wait for long.
    pub(crate) fn reset_pause(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    /// Waits until those that did not fit are to be tried. May be cancelled.
    pub(crate) async fn due(&mut self) {
        match self.due {
            Some(due) => time::sleep_until(due).await,
            None => future::pending().await,
        }
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pause_grows_once_per_round_until_one_fits() {
        let mut retry = Retry::default();
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            // Two ports.
            retry.try_again();
            retry.try_again();
            assert_eq!(retry.pause, Duration::from_secs(seconds));
            retry.due = retry.due.map(|_| time::Instant::now());
            retry.due().await;
            assert_eq!(retry.due, None);
        }
        retry.reset_pause();
        retry.try_again();
        assert_eq!(retry.pause, 2 * FIRST_PAUSE);
    }
}
