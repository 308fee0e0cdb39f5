//! Who is put behind, and when it is their turn.
use super::*;
use switch::PortId;

const NOW: Duration = Duration::from_secs(1);

#[test]
fn unicast_and_now_and_then_a_broadcast_cost_nothing() {
    let mut conduct = Conduct::default();
    for millis in 0..10_000 {
        let now = NOW + Duration::from_millis(millis);
        conduct.note(now, 32, 32);
        // Twenty broadcasts in a second, to a thousand ports each.
        if millis % 50 == 0 {
            conduct.note(now, 32, 31 + 1000);
        }
        assert!(!conduct.behind);
        assert_eq!(conduct.burst(), BURST);
    }
}

#[test]
fn a_storm_puts_its_source_behind_until_it_ends() {
    let mut conduct = Conduct::default();
    let mut bursts = 0;
    while !conduct.behind {
        conduct.note(NOW, 32, 32 * 8);
        bursts += 1;
    }
    assert!(bursts <= 20, "{bursts}");
    assert_eq!(conduct.burst(), BURST / 8);
    conduct.note(NOW, 4, 4 * 1000);
    assert_eq!(conduct.burst(), 1);
    conduct.note(NOW, 1, 1);
    assert!(!conduct.behind);
}

#[test]
fn who_is_behind_gets_one_part_or_what_nobody_else_wants() {
    let source = |port| Source {
        port: PortId(port),
        queue: 0,
    };
    let mut behind = Behind::default();
    assert_eq!(behind.turn(NOW, true), None);
    behind.sources = vec![source(1), source(2)];
    let first = behind.turn(NOW, false).unwrap();
    behind.took(NOW, Duration::from_micros(10));
    assert_eq!(behind.turn(NOW + Duration::from_micros(199), false), None);
    assert!(behind.turn(NOW + Duration::from_micros(20), true).is_some());
    let third = behind
        .turn(NOW + Duration::from_micros(200), false)
        .unwrap();
    assert_eq!(first, third, "the two take turns");
}
