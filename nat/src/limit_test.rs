//! Limits: who gets how much of one.
use super::*;

const RATE: u64 = 125_000;
const SEGMENT: usize = 1460;

/// Ten seconds in steps of a millisecond: a connection that always has something, and a datagram of so many bytes every so many steps.
/// Bytes of both, and datagrams lost, of the last nine.
fn share(datagram: usize, every: u32) -> (u64, u64, u32) {
    let at = Duration::from_millis;
    let mut limit = Limit::new(RATE, at(0));
    let (mut streams, mut datagrams, mut lost) = (0, 0, 0);
    for step in 0..10_000 {
        let now = at(step.into());
        let counts = step >= 1000;
        let room = limit.room(now);
        if room >= SEGMENT {
            limit.passed(room);
            streams += if counts { room as u64 } else { 0 };
        }
        if step % every == 0 {
            let admitted = limit.admit(now, datagram);
            let counted = if counts && admitted { datagram } else { 0 };
            datagrams += counted as u64;
            lost += u32::from(counts && !admitted);
        }
    }
    (streams, datagrams, lost)
}

#[test]
fn a_connection_loses_no_datagram_of_somebody_modest() {
    let (streams, datagrams, lost) = share(200, 20);
    assert_eq!((datagrams, lost), (90_000, 0));
    let all = streams + datagrams;
    assert!((9 * RATE - 5000..=9 * RATE + 5000).contains(&all), "{all}");
}

#[test]
fn datagrams_without_end_leave_half_to_connections() {
    let (streams, datagrams, _) = share(1400, 1);
    let half = 9 * RATE / 2;
    for got in [streams, datagrams] {
        assert!(got.abs_diff(half) < half / 10, "{got} of {half}");
    }
}

#[test]
fn a_connection_that_had_all_for_long_still_has_its_half_when_datagrams_come() {
    let mut limit = Limit::new(RATE, Duration::ZERO);
    let mut streams = 0;
    for step in 0..20_000u64 {
        let now = Duration::from_millis(step);
        if step >= 10_000 {
            limit.admit(now, 1400);
        }
        let room = limit.room(now);
        if room >= SEGMENT {
            limit.passed(room);
            streams += if step >= 11_000 { room as u64 } else { 0 };
        }
    }
    let half = 9 * RATE / 2;
    assert!(streams.abs_diff(half) < half / 10, "{streams} of {half}");
}
