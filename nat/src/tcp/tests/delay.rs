//! Acknowledgements that wait for an answer.
use crate::testkit::*;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const QUESTION: &[u8] = b"question";
const ANSWER: &[u8] = b"the answer";

/// A connection over which question `from` and its answer have gone `count` times, `pause` between the two; whether each question
/// was acknowledged on its own. The guest's next sequence number, and the gateway's.
fn talk(
    lab: &mut Lab,
    count: usize,
    pause: Duration,
    (seq, ours): (u32, u32),
) -> (u32, u32, Vec<bool>) {
    let (mut seq, mut ours) = (seq, ours);
    let mut alone = Vec::new();
    for _ in 0..count {
        lab.tcp(&data(seq, ours, QUESTION));
        seq += 8;
        lab.pass(pause);
        let first = lab.next_tcp();
        alone.push(first.is_some());
        if let Some(first) = first {
            assert_eq!((first.ack, first.payload.len()), (Some(seq), 0));
        }
        lab.world(0, ANSWER);
        lab.expect(&data(ours, seq, ANSWER));
        lab.expect_nothing();
        ours += 10;
    }
    (seq, ours, alone)
}

#[test]
fn questions_that_are_answered_at_once_are_acknowledged_by_their_answers() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let (.., alone) = talk(&mut lab, 4, MS, (1, ours));
    assert_eq!(alone, [true, false, false, false]);
}

#[test]
fn questions_whose_answers_take_long_are_acknowledged_at_once() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let (.., alone) = talk(&mut lab, 3, 20 * MS, (1, ours));
    assert_eq!(alone, [true; 3]);
}

#[test]
fn a_question_that_gets_no_answer_is_acknowledged_soon_and_the_next_one_at_once() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let (seq, ours, _) = talk(&mut lab, 2, MS, (1, ours));
    lab.tcp(&data(seq, ours, QUESTION));
    lab.expect_nothing();
    lab.pass(8 * MS);
    lab.expect(&ack(ours, seq + 8));
    lab.tcp(&data(seq + 8, ours, QUESTION));
    lab.expect(&ack(ours, seq + 16));
}

#[test]
fn two_segments_gaps_and_ends_are_acknowledged_at_once() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let (seq, ours, _) = talk(&mut lab, 2, MS, (1, ours));
    lab.tcp(&data(seq, ours, &[1; 1460]));
    lab.expect_nothing();
    lab.tcp(&data(seq + 1460, ours, &[2; 1460]));
    lab.expect(&ack(ours, seq + 2920));
    // The second segment, and then the first.
    lab.tcp(&data(seq + 2930, ours, &[4; 10]));
    assert_eq!(lab.next_tcp().unwrap().ack, Some(seq + 2920));
    lab.tcp(&data(seq + 2920, ours, &[3; 10]));
    lab.expect(&ack(ours, seq + 2940));
    lab.tcp(&fin(seq + 2940, ours));
    lab.expect(&ack(ours, seq + 2941));
}

#[test]
fn a_guest_that_sends_in_two_parts_waits_for_few_acknowledgements() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let (mut seq, mut ours, _) = talk(&mut lab, 2, MS, (1, ours));
    let mut waited = 0;
    for _ in 0..100 {
        // Nagle's algorithm: the second part is sent when the first one is acknowledged.
        lab.tcp(&data(seq, ours, QUESTION));
        seq += 8;
        let first = lab.next_tcp().unwrap_or_else(|| {
            waited += 1;
            lab.pass(8 * MS);
            lab.next_tcp().unwrap()
        });
        assert_eq!(first.ack, Some(seq));
        (seq, ours, _) = talk(&mut lab, 1, MS, (seq, ours));
    }
    // After the first, and then after 8, 16, 32 and more.
    assert!(waited <= 4, "{waited} times");
}

#[test]
fn what_fills_a_gap_or_a_part_of_one_is_acknowledged_at_once() {
    // The third of three parts, then the first; the second of two, then both in one segment.
    for (early, filled) in [(20, 10), (10, 20)] {
        let mut lab = Lab::new();
        let ours = lab.establish(&syn(0));
        let (seq, ours, _) = talk(&mut lab, 2, MS, (1, ours));
        lab.tcp(&data(seq + early, ours, &[2; 10]));
        assert_eq!(lab.next_tcp().unwrap().ack, Some(seq));
        lab.tcp(&data(seq, ours, &vec![1; filled]));
        let acknowledged = seq + u32::try_from(filled).unwrap();
        assert_eq!(lab.next_tcp().unwrap().ack, Some(acknowledged));
    }
}
