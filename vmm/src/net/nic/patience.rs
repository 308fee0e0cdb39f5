//! How long a NIC's thread looks for work before it sleeps.
use std::{
    hint,
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

/// How long looks find nothing before the CPU is offered to others: what comes within this time does not wait for system calls.
const SPIN: Duration = Duration::from_micros(2);

/// Whoever takes the CPU that is offered for so long has more to do than answer: a slice of the scheduler's takes some milliseconds. Who
/// sleeps is let in as soon as something wakes them. The daemon's workers do the same (`netbackend`, `network::datapath::courtesy`).
const SLICE: Duration = Duration::from_micros(500);
/// For so long nothing is looked for then.
const CROWDED: Duration = Duration::from_millis(50);

/// Looks go on for a time after the last work.
#[derive(Debug)]
pub(super) struct Patience {
    poll_idle: Duration,
    spin: Duration,
    last_work: Option<Instant>,
    slice: Duration,
    /// Another thread has kept the CPU, and may want it again until then.
    crowded_until: Option<Instant>,
}

impl Patience {
    /// Of `poll_idle` after the last work.
    pub(super) fn new(poll_idle: Duration) -> Self {
        let cpus = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            poll_idle,
            // On the only CPU whom we wait for cannot run meanwhile.
            spin: if cpus > 1 { SPIN } else { Duration::ZERO },
            last_work: None,
            slice: SLICE,
            crowded_until: None,
        }
    }

    /// There was work.
    pub(super) fn worked(&mut self, now: Instant) {
        self.last_work = Some(now);
    }

    /// Looks until there is `news`, or it is `deadline`; false: it is time to sleep.
    pub(super) fn look(
        &mut self,
        deadline: Option<Instant>,
        mut news: impl FnMut() -> bool,
    ) -> bool {
        let begun = Instant::now();
        let mut now = begun;
        while self.lasts(now) {
            if news() || deadline.is_some_and(|deadline| deadline <= now) {
                return true;
            }
            if now.saturating_duration_since(begun) < self.spin {
                hint::spin_loop();
            } else {
                // A vCPU may need this very CPU.
                let before = Instant::now();
                thread::yield_now();
                self.offered(before, Instant::now());
            }
            now = Instant::now();
        }
        false
    }

    /// The CPU was offered, and is back.
    fn offered(&mut self, before: Instant, after: Instant) {
        if after.saturating_duration_since(before) >= self.slice {
            self.crowded_until = after.checked_add(CROWDED);
        }
    }

    fn lasts(&self, now: Instant) -> bool {
        if self.crowded_until.is_some_and(|until| now < until) {
            return false;
        }
        let idle = self.last_work.map(|at| now.saturating_duration_since(at));
        idle.is_some_and(|idle| idle < self.poll_idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    fn after_work(poll_idle: Duration) -> Patience {
        let mut patience = Patience::new(poll_idle);
        patience.worked(Instant::now());
        // Whatever else the machine does.
        patience.slice = LONG;
        patience
    }

    #[test]
    fn looks_go_on_until_there_is_news_or_something_is_due() {
        let mut patience = after_work(LONG);
        let mut looks = 0;
        assert!(patience.look(None, || {
            looks += 1;
            looks == 10_000
        }));
        let due = Instant::now() + Duration::from_millis(1);
        assert!(patience.look(Some(due), || false));
        assert!(Instant::now() >= due);
    }

    #[test]
    fn looks_end_with_the_time_since_the_last_work() {
        let begun = Instant::now();
        let poll_idle = Duration::from_millis(5);
        let mut patience = after_work(poll_idle);
        assert!(!patience.look(None, || false));
        assert!(begun.elapsed() >= poll_idle);
        // Even for what is due at once, time after time.
        assert!(!patience.look(Some(begun), || true));
    }

    #[test]
    fn who_never_worked_or_shall_not_poll_does_not_look() {
        for mut patience in [Patience::new(LONG), after_work(Duration::ZERO)] {
            assert!(!patience.look(None, || panic!("a look")));
        }
    }

    #[test]
    fn who_has_lost_the_cpu_does_not_look_for_a_while() {
        let mut patience = after_work(LONG);
        patience.slice = SLICE;
        let before = Instant::now();
        patience.offered(before, before + SLICE / 2);
        assert!(patience.lasts(before + SLICE));
        let back = before + SLICE;
        patience.offered(before, back);
        assert!(!patience.lasts(back) && !patience.lasts(back + CROWDED / 2));
        assert!(patience.lasts(back + CROWDED));
    }
}
