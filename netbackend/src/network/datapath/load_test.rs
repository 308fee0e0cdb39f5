//! Shares of time.
use super::*;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_share_is_that_of_rounds_with_work() {
    let (mut meter, load) = (Meter::default(), Load::default());
    assert!(!meter.begin_round(ms(10), false));
    assert!(!meter.begin_round(ms(60), true));
    assert!(!meter.begin_round(ms(160), false));
    assert!(meter.begin_round(ms(200), true));
    meter.end_window(ms(200), &load);
    assert_eq!(load.share(ms(200)), 450);
    assert!(!meter.begin_round(ms(399), true));
    assert!(meter.begin_round(ms(400), true));
    meter.end_window(ms(400), &load);
    assert_eq!(load.share(ms(600)), 1000);
}

#[test]
fn who_sleeps_is_not_busy() {
    let (mut meter, load) = (Meter::default(), Load::default());
    meter.begin_round(ms(0), false);
    meter.begin_round(ms(200), true);
    meter.end_window(ms(200), &load);
    assert_eq!(load.share(ms(600)), 1000);
    assert_eq!(load.share(ms(601)), 0);
}

#[test]
fn glances_before_frames_are_no_work() {
    let (load, mut meter) = (Load::default(), Meter::default());
    let at = Duration::from_micros;
    // In vain, twice: 8 glances in 16 us, then in 8 us, which is what they take.
    meter.note_glances(8);
    meter.begin_round(at(16), false);
    meter.note_glances(8);
    meter.begin_round(at(24), false);
    // Five of them, then frames.
    meter.note_glances(5);
    meter.begin_round(at(34), true);
    // Without any.
    meter.begin_round(at(39), true);
    meter.end_window(at(100), &load);
    assert_eq!(load.share(at(100)), 100);
}
