//! Who is put behind, and when it is their turn.
use super::*;
use switch::PortId;

const NOW: Duration = Duration::from_secs(1);

#[test]
fn unicast_and_now_and_then_a_broadcast_cost_nothing() {
    let mut conduct = Conduct::default();
    for millis in 0..10_000 {
        let now = NOW + Duration::from_millis(millis);
        conduct.note(now, 32, 0);
        // Twenty broadcasts in a second, to a thousand ports each.
        if millis % 50 == 0 {
            conduct.note(now, 32, 1000);
        }
        assert!(!conduct.behind);
        assert_eq!(conduct.burst(), BURST);
    }
}

#[test]
fn a_storm_puts_its_source_behind_until_it_has_ended_for_a_while() {
    let mut conduct = Conduct::default();
    let mut bursts = 0;
    while !conduct.behind {
        conduct.note(NOW, 32, 32 * 7);
        bursts += 1;
    }
    assert!(bursts <= 20, "{bursts}");
    assert_eq!(conduct.burst(), BURST / 8);
    conduct.note(NOW, 4, 4 * 1000);
    assert_eq!(conduct.burst(), 1);
    // A harmless frame in between does not buy it another full burst.
    conduct.note(NOW + Duration::from_millis(10), 1, 0);
    assert!(conduct.behind);
    assert_eq!(conduct.burst(), 1);
    // However large the storm was.
    conduct.note(NOW + Duration::from_millis(10), 1, 1_000_000);
    conduct.note(NOW + Duration::from_millis(400), 1, 0);
    assert!(!conduct.behind);
    assert_eq!(conduct.burst(), BURST);
}

#[test]
fn a_storm_with_harmless_bursts_in_between_stays_behind() {
    let mut conduct = Conduct::default();
    for millis in 0..1000 {
        let now = NOW + Duration::from_millis(millis);
        conduct.note(now, 1, 0);
        conduct.note(now, 1, 999);
        assert!(conduct.behind || millis < 10);
    }
}

#[test]
fn who_is_behind_gets_one_part_or_what_nobody_else_wants() {
    let source = |port| Source {
        port: PortId(port),
        queue: 0,
    };
    let mut behind = Behind::default();
    // The others had work a moment ago, or long ago.
    let long_ago = NOW.saturating_sub(CALM);
    assert_eq!(behind.turn(NOW, long_ago), None);
    behind.sources = vec![source(1), source(2)];
    let first = behind.turn(NOW, NOW).unwrap();
    behind.took(NOW, Duration::from_micros(10));
    assert_eq!(behind.turn(NOW + Duration::from_micros(199), NOW), None);
    let soon = NOW + Duration::from_micros(20);
    assert_eq!(behind.turn(soon, NOW), None);
    assert!(behind.turn(soon, long_ago).is_some());
    let due = NOW + Duration::from_micros(200);
    let third = behind.turn(due, NOW).unwrap();
    assert_eq!(first, third, "the two take turns");
}
