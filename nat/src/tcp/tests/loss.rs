//! What is lost, late or early.
use crate::testkit::*;
use std::time::Duration;

#[test]
fn what_comes_early_is_told_of_and_kept() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.tcp(&data(11, ours, b"0123456789"));
    lab.expect(&ack(ours, 1).sacks(&[(11, 21)]));
    lab.tcp(&data(31, ours, b"abcdefghij"));
    lab.expect(&ack(ours, 1).sacks(&[(31, 41), (11, 21)]));
    lab.tcp(&data(1, ours, b"9876543210"));
    lab.expect(&ack(ours, 21).sacks(&[(31, 41)]));
    lab.tcp(&data(15, ours, b"456789ABCDEFGHIJabcd"));
    lab.expect(&ack(ours, 41));
    assert_eq!(
        lab.socket(0).outbox,
        b"98765432100123456789ABCDEFGHIJabcdefghij"
    );
}

#[test]
fn a_guest_without_sack_gets_an_acknowledgement_for_each_that_comes_early() {
    let mut lab = Lab::new();
    let ours = lab.establish(&Tcp {
        sack: false,
        ..syn(0)
    });
    for n in 1..4 {
        let frame = lab.tcp_frame(GUEST, REMOTE, &data(1 + n * 10, ours, b"0123456789"));
        lab.input_only(&frame);
    }
    lab.poll();
    for _ in 0..3 {
        lab.expect(&ack(ours, 1));
    }
    lab.expect_nothing();
}

#[test]
fn a_hole_that_the_guest_tells_of_is_filled_at_once() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let bytes: Vec<u8> = (0..14_600_u32).map(|n| n.to_le_bytes()[0]).collect();
    lab.world(0, &bytes);
    while lab.next_tcp().is_some() {}
    // Of ten segments the third and fourth are missing.
    let held = (ours + 5840, ours + 14_600);
    lab.tcp(&ack(1, ours + 2920).sacks(&[held]));
    lab.expect(&data(ours + 2920, 1, &bytes[2920..5840]).gso(1460));
    lab.expect_nothing();
    // Told again, it is not sent again.
    lab.tcp(&ack(1, ours + 2920).sacks(&[held]));
    lab.expect_nothing();
    lab.tcp(&ack(1, ours + 14_600));
    assert_eq!(lab.gateway.flows(lab.now).next().unwrap().buffered, 0);
    assert_eq!(lab.gateway.counters().tcp_retransmits, 1);
}

#[test]
fn three_duplicates_of_a_guest_without_sack_mean_a_loss() {
    let mut lab = Lab::new();
    let ours = lab.establish(&Tcp {
        sack: false,
        ..syn(0)
    });
    lab.world(0, &[7; 7300]);
    while lab.next_tcp().is_some() {}
    lab.tcp(&ack(1, ours));
    lab.tcp(&ack(1, ours));
    lab.expect_nothing();
    lab.tcp(&ack(1, ours));
    lab.expect(&data(ours, 1, &[7; 1460]));
    // A partial acknowledgement: the next one is missing, too (RFC 6582).
    lab.tcp(&ack(1, ours + 2920));
    lab.expect(&data(ours + 2920, 1, &[7; 1460]));
    lab.tcp(&ack(1, ours + 7300));
    lab.expect_nothing();
}

#[test]
fn silence_is_answered_by_sending_again_ever_more_slowly() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.world(0, b"hello");
    lab.expect(&data(ours, 1, b"hello"));
    let mut gaps = Vec::new();
    let mut last = lab.now;
    while gaps.len() < 6 {
        lab.pass(Duration::from_millis(4));
        if let Some(tcp) = lab.next_tcp() {
            assert_eq!((tcp.seq, &tcp.payload[..]), (ours, &b"hello"[..]));
            gaps.push(lab.now.abs_diff(last));
            last = lab.now;
        }
    }
    // The first is the tail loss probe.
    assert!(gaps[0] < Duration::from_millis(100), "{gaps:?}");
    for pair in gaps[1..].windows(2) {
        assert!(pair[1] >= pair[0] * 19 / 10, "{gaps:?}");
    }
    lab.tcp(&ack(1, ours + 5));
    assert_eq!(lab.gateway.flows(lab.now).next().unwrap().buffered, 0);
}

#[test]
fn what_is_told_twice_or_beside_the_window_is_not_stored() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.tcp(&data(1, ours, b"abc"));
    lab.expect(&ack(ours, 4));
    lab.tcp(&data(1, ours, b"abc"));
    lab.expect(&ack(ours, 4));
    lab.tcp(&data(2, ours, b"bcd"));
    lab.expect(&ack(ours, 5));
    lab.tcp(&data(1_000_000, ours, b"far"));
    lab.expect(&ack(ours, 5));
    assert_eq!(lab.socket(0).outbox, b"abcd");
}

#[test]
fn more_gaps_than_are_remembered_are_dropped_and_come_again() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    for n in (1..100).rev() {
        lab.tcp(&data(1 + 20 * n, ours, &[1; 10]));
        assert_eq!(lab.next_tcp().unwrap().ack, Some(1));
    }
    for n in 0..200 {
        let value = u8::from(n % 2 == 0 && n > 0);
        lab.tcp(&data(1 + 10 * n, ours, &[value; 10]));
    }
    assert_eq!(lab.socket(0).outbox.len(), 2000);
    assert!(
        lab.socket(0)
            .outbox
            .chunks(10)
            .enumerate()
            .skip(1)
            .all(|(n, part)| part == [u8::from(n % 2 == 0); 10])
    );
}
