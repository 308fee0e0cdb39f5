//! When a worker that died is started again.
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A network whose worker dies again and again still answers within a second each time.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A worker that lived this long was well: its death is the first of its kind again. No shorter than
/// the longest pause, so that one that crashes in a loop is started twice in it at most.
const HEALTHY: Duration = LONGEST_PAUSE;

/// Restarts at once, then after growing pauses.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    deaths: u32,
    started: Option<Instant>,
}

impl Backoff {
    /// A worker is started.
    pub(super) fn started(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// The worker died: how long to wait.
    pub(super) fn died(&mut self, now: Instant) -> Duration {
        let lived = self
            .started
            .take()
            .map(|started| now.duration_since(started));
        if lived.is_some_and(|lived| lived >= HEALTHY) {
            self.deaths = 0;
        }
        let pause = match self.deaths {
            0 => Duration::ZERO,
            deaths => {
                let factor = 1 << (deaths - 1).min(10);
                (FIRST_PAUSE * factor).min(LONGEST_PAUSE)
            }
        };
        self.deaths = self.deaths.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_quarter_of_a_second_and_reset_after_a_healthy_life() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut die_after = |life: Duration| {
            backoff.started(now);
            now += life;
            backoff.died(now).as_millis()
        };
        let quick = Duration::from_millis(1);
        let pauses: Vec<_> = (0..8).map(|_| die_after(quick)).collect();
        assert_eq!(pauses, [0, 50, 100, 200, 250, 250, 250, 250]);
        for _ in 0..2000 {
            assert_eq!(die_after(quick), 250);
        }
        assert_eq!(die_after(HEALTHY), 0);
        assert_eq!(die_after(quick), 50);
    }
}
