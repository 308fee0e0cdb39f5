use super::super::segment::Options;
use super::*;

const MSS: u16 = 1000;
/// After a router said that there is less room.
const SMALL: u16 = 700;
const START: Seq = Seq(u32::MAX - 5000);
const RTT: Duration = Duration::from_millis(10);

/// A sender with much to send, to a guest with room for it.
fn sender() -> Sender {
    let mut sender = Sender::new(START, MSS, 2, 1 << 18);
    sender.reserve(&mut Pool::default(), 1 << 17);
    sender.filled(100_000);
    sender.sample_rtt(RTT);
    sender
}

/// Sends what may be sent; where each part began and ended, and whether it was sent again.
fn send(sender: &mut Sender, now: Duration) -> Vec<(usize, usize, bool)> {
    let next = || {
        let plan = sender.plan()?;
        sender.sent(&plan, now);
        let from = plan.seq.distance(START);
        Some((from, from + plan.len, plan.again))
    };
    std::iter::from_fn(next).collect()
}

/// Sends one part, with which the link to the guest is full; where it began and ended.
fn send_one(sender: &mut Sender, now: Duration) -> (usize, usize) {
    let plan = sender.plan().expect("something to send");
    sender.sent(&plan, now);
    let from = plan.seq.distance(START);
    (from, from + plan.len)
}

fn acknowledge(sender: &mut Sender, upto: usize) {
    let segment = Segment {
        source_port: 1,
        destination_port: 2,
        seq: Seq(1),
        ack: Some(START + upto),
        syn: false,
        fin: false,
        rst: false,
        window: u16::MAX,
        options: Options::default(),
        payload: &[],
    };
    assert!(sender.acknowledge(&segment, Duration::ZERO));
}

/// A guest without SACK has something behind a gap: recovery begins, or goes on.
fn three_duplicates(sender: &mut Sender, at: usize) {
    // The first tells the window.
    for _ in 0..=DUPLICATES {
        acknowledge(sender, at);
    }
    assert!(sender.recover.is_some());
}

#[test]
fn what_was_sent_in_recovery_and_was_too_big_comes_again_when_that_is_over() {
    let mut sender = sender();
    assert_eq!(send(&mut sender, Duration::ZERO).last().unwrap().1, 65_000);
    three_duplicates(&mut sender, 0);
    assert_eq!(send(&mut sender, Duration::ZERO), [(0, 1000, true)]);
    acknowledge(&mut sender, 30_000);
    let parts = send(&mut sender, Duration::ZERO);
    assert_eq!(parts, [(30_000, 31_000, true), (65_000, 75_000, false)]);
    sender.shrink(SMALL, START + 68_000, Duration::ZERO);
    // Before the link has room again, all has come that had been sent when recovery began.
    acknowledge(&mut sender, 65_000);
    assert_eq!(sender.recover, None);
    let again = send_one(&mut sender, Duration::ZERO);
    assert_eq!(again, (68_000, 75_000));
}

#[test]
fn what_was_sent_in_recovery_and_has_come_is_not_sent_again() {
    let mut sender = sender();
    send(&mut sender, Duration::ZERO);
    three_duplicates(&mut sender, 0);
    send(&mut sender, Duration::ZERO);
    acknowledge(&mut sender, 30_000);
    send(&mut sender, Duration::ZERO);
    acknowledge(&mut sender, 65_000);
    let parts = send(&mut sender, Duration::ZERO);
    assert!(parts.iter().all(|(_, _, again)| !again), "{parts:?}");
}

/// A flight of which more than one frame was too big; one is sent again.
fn half_sent_again() -> Sender {
    let mut sender = sender();
    send(&mut sender, Duration::ZERO);
    sender.shrink(SMALL, START + 1000, Duration::ZERO);
    assert_eq!(send_one(&mut sender, Duration::ZERO), (1000, 45_800));
    sender
}

#[test]
fn a_tail_probe_does_not_replace_what_is_to_be_sent_again() {
    let mut sender = half_sent_again();
    let at = sender.deadline().unwrap();
    assert!(matches!(sender.timer, Some((_, Timer::TailProbe))));
    assert_eq!(sender.expire(at), Expired::Again);
    assert_eq!(send(&mut sender, at), [(45_800, 65_000, true)]);
}

#[test]
fn a_loss_does_not_replace_what_is_to_be_sent_again() {
    let mut sender = half_sent_again();
    three_duplicates(&mut sender, 0);
    acknowledge(&mut sender, 45_800);
    assert_eq!(send(&mut sender, Duration::ZERO)[0], (45_800, 65_000, true));
}

#[test]
fn what_is_sent_again_in_smaller_segments_has_the_whole_time_to_be_acknowledged() {
    for in_recovery in [false, true] {
        let mut sender = sender();
        send(&mut sender, Duration::ZERO);
        if in_recovery {
            three_duplicates(&mut sender, 0);
            acknowledge(&mut sender, 2000);
        }
        let before = sender.deadline().unwrap();
        let now = before.saturating_sub(Duration::from_millis(1));
        sender.shrink(SMALL, START + 3000, now);
        send(&mut sender, now);
        assert_eq!(sender.deadline(), Some(now + before));
        assert_eq!(sender.expire(before), Expired::Nothing);
        // The same told again is no news, and puts nothing off.
        sender.shrink(SMALL, START + 3000, before);
        assert_eq!(sender.deadline(), Some(now + before));
    }
}

#[test]
fn after_a_timeout_the_window_grows_while_all_is_sent_again() {
    let mut sender = sender();
    send(&mut sender, Duration::ZERO);
    let mut at = Duration::ZERO;
    while sender.recover.is_none() {
        at = sender.deadline().unwrap();
        assert_eq!(sender.expire(at), Expired::Again);
    }
    for part in [(0, 2000), (2000, 6000), (6000, 14_000), (14_000, 30_000)] {
        assert_eq!(send(&mut sender, at), [(part.0, part.1, true)]);
        acknowledge(&mut sender, part.1);
    }
}
