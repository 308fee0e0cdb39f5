use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pop_all(timers: &mut Timers, now: Duration) -> Vec<u32> {
    let mut all: Vec<_> = std::iter::from_fn(|| timers.pop(now)).collect();
    all.sort_unstable();
    all
}

#[test]
fn each_expires_once_and_not_before_its_time() {
    let mut timers = Timers::new();
    for (index, at) in [(0, 10), (1, 300), (2, 20_000), (3, 3_600_000), (4, 10)] {
        timers.arm(index, ms(at));
    }
    assert_eq!(pop_all(&mut timers, ms(9)), []);
    assert_eq!(pop_all(&mut timers, ms(12)), [0, 4]);
    assert_eq!(pop_all(&mut timers, ms(304)), [1]);
    timers.cancel(2);
    assert_eq!(pop_all(&mut timers, ms(3_599_990)), []);
    assert_eq!(pop_all(&mut timers, ms(3_600_000)), [3]);
    assert_eq!(timers.next(), None);
}

#[test]
fn a_later_deadline_leaves_the_earlier_one() {
    let mut timers = Timers::new();
    timers.arm(7, ms(100));
    timers.arm(7, ms(9000));
    assert_eq!(pop_all(&mut timers, ms(100)), [7]);
    timers.arm(7, ms(9000));
    timers.arm(7, ms(200));
    assert_eq!(pop_all(&mut timers, ms(200)), [7]);
    assert_eq!(pop_all(&mut timers, ms(10_000)), []);
}

#[test]
fn a_deadline_in_the_past_expires_at_once() {
    let mut timers = Timers::new();
    assert_eq!(timers.pop(ms(5000)), None);
    timers.arm(1, ms(100));
    assert_eq!(timers.next(), Some(Duration::ZERO));
    assert_eq!(timers.pop(ms(5000)), Some(1));
}

#[test]
fn days_ahead_expire_early_rather_than_never() {
    let mut timers = Timers::new();
    timers.arm(0, Duration::from_hours(1000));
    assert_eq!(timers.pop(Duration::from_hours(17)), None);
    assert_eq!(timers.pop(Duration::from_hours(1000)), Some(0));
}

proptest! {
    #[test]
    fn a_wheel_expires_what_a_map_would(steps: Vec<(u8, u32, u32)>) {
        let mut timers = Timers::new();
        let mut model: HashMap<u32, Duration> = HashMap::new();
        let mut now = Duration::ZERO;
        for (what, index, time) in steps {
            let index = index % 16;
            match what % 4 {
                0 | 1 => {
                    let at = now + ms(u64::from(time >> (what % 32)));
                    timers.arm(index, at);
                    let earlier = model.get(&index).map_or(at, |&old| old.min(at));
                    model.insert(index, earlier);
                }
                2 => {
                    timers.cancel(index);
                    model.remove(&index);
                }
                _ => {
                    if let Some(next) = timers.next() {
                        let due = model.values().min().copied().unwrap();
                        prop_assert!(next <= due + TICK, "{next:?} is after {due:?}");
                    } else {
                        prop_assert!(model.is_empty());
                    }
                    now += ms(u64::from(time >> (what / 4 % 32)));
                    while let Some(index) = timers.pop(now) {
                        let at = model.remove(&index);
                        let day = Duration::from_hours(18);
                        prop_assert!(at.is_some_and(|at| at <= now || at > day));
                    }
                    prop_assert!(model.values().all(|&at| at + TICK > now));
                }
            }
        }
    }
}

#[test]
fn what_is_due_never_expires_once_in_a_while_and_not_again_and_again() {
    let mut timers = Timers::new();
    // Well beyond the remainder of `Duration::MAX` by 2^64 ticks.
    let mut now = Duration::from_hours(1);
    assert_eq!(timers.pop(now), None);
    timers.arm(0, Duration::MAX);
    for _ in 0..10 {
        now += Duration::from_hours(18);
        let mut expired = 0;
        while timers.pop(now) == Some(0) {
            expired += 1;
            assert!(expired <= 2);
            timers.arm(0, Duration::MAX);
        }
    }
}
