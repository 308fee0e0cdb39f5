use proptest::prelude::*;

use super::*;

/// What passes when frames of `size` are offered every `every` for `seconds`.
fn passed(rate: Rate, size: u64, every: Duration, seconds: u64) -> u64 {
    let mut bucket = TokenBucket::new(rate, Duration::ZERO);
    let mut now = Duration::ZERO;
    let mut sum = 0;
    while now < Duration::from_secs(seconds) {
        if bucket.take(now, size) {
            sum += size;
        }
        now += every;
    }
    sum
}

#[test]
fn an_overload_passes_at_the_rate_within_two_percent() {
    // Frames of one MTU, small ones, and GSO frames larger than the burst.
    for (size, every) in [(1514, 10), (60, 1), (65_549, 100)] {
        for per_second in [125_000, 12_500_000, 125_000_000] {
            let rate = Rate {
                per_second,
                burst: 20_000,
            };
            let offered_per_second = size * 1_000_000 / every;
            if offered_per_second < per_second * 2 {
                continue;
            }
            let sum = passed(rate, size, Duration::from_micros(every), 10);
            let wanted = per_second * 10;
            let tolerance = wanted / 50 + rate.burst + size;
            assert!(
                sum.abs_diff(wanted) <= tolerance,
                "{size} B at {per_second}/s: {sum}"
            );
        }
    }
}

#[test]
fn an_idle_bucket_holds_its_burst_and_no_more() {
    let rate = Rate {
        per_second: 1000,
        burst: 10,
    };
    let mut bucket = TokenBucket::new(rate, Duration::ZERO);
    let an_hour = Duration::from_hours(1);
    assert_eq!((0..100).filter(|_| bucket.take(an_hour, 1)).count(), 10);
    // A hundredth of a second later there are ten more.
    let later = an_hour + Duration::from_millis(10);
    assert_eq!((0..100).filter(|_| bucket.take(later, 1)).count(), 10);
}

#[test]
fn a_clock_that_goes_back_gains_nothing() {
    let rate = Rate {
        per_second: 1000,
        burst: 1,
    };
    let mut bucket = TokenBucket::new(rate, Duration::from_secs(5));
    assert!(bucket.take(Duration::from_secs(5), 1));
    assert!(!bucket.take(Duration::from_secs(4), 1));
    assert!(!bucket.take(Duration::from_secs(5), 1));
    assert!(bucket.take(Duration::from_secs(6), 1));
}

#[test]
fn extreme_numbers_do_not_overflow() {
    let rate = Rate {
        per_second: u64::MAX,
        burst: u64::MAX,
    };
    let mut bucket = TokenBucket::new(rate, Duration::ZERO);
    assert!(bucket.take(Duration::ZERO, u64::MAX));
    assert!(bucket.take(Duration::MAX, u64::MAX));
}

#[test]
fn what_is_charged_beyond_the_credit_is_a_debt() {
    let rate = Rate {
        per_second: 1000,
        burst: 100,
    };
    let at = Duration::from_millis;
    let mut bucket = TokenBucket::new(rate, Duration::ZERO);
    assert_eq!(bucket.available(at(50)), 100, "no more than it holds");
    bucket.spend(150, 1000);
    assert_eq!(bucket.available(at(50)), 0);
    assert!(!bucket.take(at(100), 1));
    assert_eq!(bucket.available(at(110)), 10);
}

proptest! {
    /// However frames come, no more passes than the rate allows, plus the burst and the frame that used up the last credit.
    #[test]
    fn never_more_than_rate_and_burst(
        per_second in 1u64..1_000_000_000,
        burst in 1u64..1_000_000,
        frames in prop::collection::vec((0u64..5_000_000, 1u64..70_000), 1..200),
    ) {
        let mut bucket = TokenBucket::new(Rate { per_second, burst }, Duration::ZERO);
        let (mut now, mut sum) = (Duration::ZERO, 0u128);
        for (gap, size) in frames {
            now += Duration::from_nanos(gap);
            if bucket.take(now, size) {
                sum += u128::from(size);
            }
        }
        let allowed = now.as_nanos() * u128::from(per_second) / 1_000_000_000;
        prop_assert!(sum <= allowed + u128::from(burst) + 70_000);
    }
}

#[test]
fn what_has_passed_already_is_owed_but_no_more_than_a_burst() {
    let rate = Rate {
        per_second: 1000,
        burst: 100,
    };
    let mut bucket = TokenBucket::new(rate, Duration::ZERO);
    assert!(bucket.charge(Duration::ZERO, 99));
    assert!(!bucket.charge(Duration::ZERO, 1_000_000));
    assert!(!bucket.take(Duration::from_millis(99), 1));
    assert!(!bucket.holds(Duration::from_millis(149), 50));
    assert!(bucket.holds(Duration::from_millis(150), 50));
}

#[test]
fn who_comes_second_leaves_a_reserve() {
    let rate = Rate {
        per_second: 1,
        burst: 100,
    };
    let mut bucket = TokenBucket::new(rate, Duration::ZERO);
    while bucket.take_above(Duration::ZERO, 10, 50) {}
    assert!(bucket.holds(Duration::ZERO, 50));
    assert!(bucket.take(Duration::ZERO, 50));
}
