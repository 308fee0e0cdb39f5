//! When a frame that found no room is tried again. Drivers give descriptors back without telling, so time has to.
use std::time::{Duration, Instant};

/// The longest pause between two tries, as a rule.
const LAST: Duration = Duration::from_millis(50);

/// Pauses that double with each try in vain.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// The first of them: about as long as a driver takes for half of its ring.
    first: Duration,
    last: Duration,
    pause: Duration,
    due: Option<Instant>,
}

impl Retry {
    /// Nothing to try.
    pub const fn new(first: Duration) -> Self {
        Self {
            first,
            last: LAST,
            pause: Duration::ZERO,
            due: None,
        }
    }

    /// With another longest pause.
    #[must_use]
    pub const fn up_to(self, last: Duration) -> Self {
        Self { last, ..self }
    }

    /// It was tried in vain. A try before it was due, for a register that was written, makes the driver no slower, so it puts the next
    /// one off no further.
    pub fn failed(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due <= now) {
            self.pause = (self.pause * 2).clamp(self.first, self.last);
            self.due = Some(now + self.pause);
        }
    }

    /// It was not in vain.
    pub fn succeeded(&mut self) {
        *self = Self::new(self.first).up_to(self.last);
    }

    /// When to try again.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_micros(100);

    #[test]
    fn pauses_double_up_to_the_last() {
        let mut retry = Retry::new(FIRST);
        let mut now = Instant::now();
        let pauses: Vec<_> = (0..12)
            .map(|_| {
                retry.failed(now);
                let due = retry.due().unwrap();
                let pause = due - now;
                now = due;
                pause
            })
            .collect();
        let doubled = (0..12).map(|doublings| (FIRST * (1 << doublings)).min(LAST));
        assert_eq!(pauses, doubled.collect::<Vec<_>>());
        retry.succeeded();
        assert_eq!(retry.due(), None);
        retry.failed(now);
        assert_eq!(retry.due(), Some(now + FIRST));
    }

    #[test]
    fn tries_in_between_do_not_put_the_next_one_off() {
        let begun = Instant::now();
        let mut retry = Retry::new(FIRST);
        retry.failed(begun);
        for _ in 0..10 {
            retry.failed(begun + FIRST / 2);
            assert_eq!(retry.due(), Some(begun + FIRST));
        }
        retry.failed(begun + FIRST);
        assert_eq!(retry.due(), Some(begun + 3 * FIRST));
    }
}
