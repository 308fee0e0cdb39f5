use super::*;

const ISS: u32 = u32::MAX - 5;
const PERIOD: u64 = 1 << 20;
/// Sequence number of all that the peer sends: it has no payload.
const SEQ: u32 = 7;
/// Payload of a whole frame: 44 segments.
const FRAME: u32 = 44 * 1460;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn offer(window: u16) -> Offer {
    Offer {
        seq: SEQ,
        window,
        mss: Some(1460),
        shift: Some(7),
    }
}

/// One whose peer takes `window` times 128 bytes.
fn sender(window: u16) -> Sender {
    let mut sender = Sender::new(ISS, &offer(window), PERIOD, Duration::ZERO);
    assert_eq!(
        sender.take(SEQ, wire(0), window, Duration::ZERO),
        Ack::Taken
    );
    sender
}

/// Acknowledgement of `bytes`.
fn wire(bytes: u32) -> u32 {
    ISS.wrapping_add(1).wrapping_add(bytes)
}

/// Sends all that is due; its lengths.
fn send_all(sender: &mut Sender, now: Duration) -> Vec<u32> {
    let mut lens = Vec::new();
    while let Some(piece) = sender.due() {
        sender.sent(piece, now);
        lens.push(piece.len);
        assert!(lens.len() < 10_000, "an endless window");
    }
    lens
}

#[test]
fn frames_are_as_large_as_ipv4_holds_and_never_beyond_the_window() {
    let mut sender = sender(1255);
    // 160640 bytes: two whole frames, and what is left is less than half of the window.
    assert_eq!(send_all(&mut sender, ms(0)), [FRAME, FRAME]);
    assert_eq!(sender.take(SEQ, wire(FRAME), 1255, ms(1)), Ack::Taken);
    assert_eq!(send_all(&mut sender, ms(1)), [FRAME]);
    assert_eq!(sender.acked(), u64::from(FRAME));
}

#[test]
fn no_piece_goes_across_the_end_of_a_period() {
    let mut sender = sender(u16::MAX);
    let mut place = 0;
    for len in send_all(&mut sender, ms(0)) {
        assert!(place % PERIOD + u64::from(len) <= PERIOD);
        place += u64::from(len);
    }
    assert!(place > 3 * PERIOD);
}

#[test]
fn the_window_of_a_syn_is_not_scaled_and_a_large_shift_means_14() {
    let offer = Offer {
        shift: Some(200),
        ..offer(1000)
    };
    let mut sender = Sender::new(ISS, &offer, PERIOD, ms(0));
    assert_eq!(send_all(&mut sender, ms(0)), [1000]);
    assert_eq!(sender.take(SEQ, wire(1000), 1, ms(1)), Ack::Taken);
    assert_eq!(send_all(&mut sender, ms(1)), [1 << 14]);
}

#[test]
fn nonsense_as_segment_size_is_not_followed() {
    for (mss, followed) in [(Some(0), 88), (None, 536), (Some(u16::MAX), MOST)] {
        let offer = Offer {
            mss,
            ..offer(u16::MAX)
        };
        let mut sender = Sender::new(ISS, &offer, PERIOD, ms(0));
        assert_eq!(sender.mss(), followed);
        let whole = u32::from(MOST / followed * followed);
        assert_eq!(send_all(&mut sender, ms(0)).first(), Some(&whole));
    }
}

#[test]
fn what_was_never_sent_cannot_be_acknowledged() {
    let mut sender = sender(1255);
    send_all(&mut sender, ms(0));
    for beyond in [1, 1000, i32::MAX.cast_unsigned() - 2 * FRAME] {
        assert_eq!(
            sender.take(SEQ, wire(2 * FRAME + beyond), u16::MAX, ms(1)),
            Ack::Unsent
        );
    }
    assert_eq!(sender.acked(), 0);
    assert_eq!(sender.due(), None, "its window counts as little");
}

#[test]
fn what_is_old_moves_nothing_back() {
    let mut sender = sender(1255);
    send_all(&mut sender, ms(0));
    assert_eq!(sender.take(SEQ, wire(FRAME), 1255, ms(1)), Ack::Taken);
    assert_eq!(sender.take(SEQ, wire(0), 0, ms(1)), Ack::Old);
    assert_eq!(
        sender.take(SEQ, wire(i32::MAX.cast_unsigned() + FRAME + 2), 0, ms(1)),
        Ack::Old
    );
    assert_eq!(sender.acked(), u64::from(FRAME));
    // Overtaken by the segment that told the window: it does not tell one.
    assert_eq!(sender.take(SEQ - 1, wire(FRAME), 0, ms(1)), Ack::Taken);
    assert_eq!(send_all(&mut sender, ms(1)), [FRAME]);
}

#[test]
fn a_lost_frame_and_all_behind_it_are_sent_again() {
    let mut sender = sender(2000);
    let first = send_all(&mut sender, ms(0));
    assert_eq!(first.len(), 3);
    assert_eq!(sender.take(SEQ, wire(FRAME), 2000, ms(10)), Ack::Taken);
    send_all(&mut sender, ms(10));
    sender.check(ms(9) + TIMEOUT).expect("in time");
    assert_eq!(sender.due(), None);
    sender.check(ms(10) + TIMEOUT).expect("not for long");
    let again = sender.due().expect("the lost frame");
    assert_eq!((again.at, again.len), (FRAME.into(), FRAME));
    sender.sent(again, ms(210));
    assert_eq!(sender.frames().1, 1);
    // The others were there: nothing of them is sent once more.
    let high = u32::try_from(sender.high).expect("little");
    assert_eq!(sender.take(SEQ, wire(high), 2000, ms(211)), Ack::Taken);
    assert_eq!(sender.due().map(|piece| piece.at), Some(high.into()));
}

#[test]
fn a_closed_window_is_probed_with_one_byte_and_opens_again() {
    let mut sender = sender(500);
    assert_eq!(send_all(&mut sender, ms(0)), [64_000]);
    assert_eq!(sender.take(SEQ, wire(64_000), 0, ms(1)), Ack::Taken);
    assert_eq!(sender.due(), None);
    sender.check(ms(1) + TIMEOUT).expect("not for long");
    assert_eq!(send_all(&mut sender, ms(201)), [1]);
    // Refused, probed again, later.
    assert_eq!(sender.take(SEQ, wire(64_000), 0, ms(202)), Ack::Taken);
    sender.check(ms(500)).expect("not for long");
    assert_eq!(sender.due(), None);
    sender.check(ms(201) + 2 * TIMEOUT).expect("not for long");
    assert_eq!(send_all(&mut sender, ms(601)), [1]);
    assert_eq!(sender.take(SEQ, wire(64_001), 500, ms(602)), Ack::Taken);
    assert_eq!(send_all(&mut sender, ms(602)), [64_000]);
}

#[test]
fn a_peer_that_acknowledges_nothing_is_given_up_and_told_of() {
    let mut sender = sender(500);
    let mut now = ms(0);
    let error = loop {
        send_all(&mut sender, now);
        now = sender.timer();
        if let Err(error) = sender.check(now) {
            break error;
        }
        assert!(now < 2 * STUCK, "it is waited for without end");
    };
    assert!(now >= STUCK);
    let message = error.to_string();
    assert!(
        message.contains("acknowledged nothing for 10s"),
        "{message}"
    );
}

#[test]
fn the_end_follows_the_last_byte_and_is_sent_again_if_lost() {
    let mut sender = sender(500);
    send_all(&mut sender, ms(0));
    sender.finish();
    assert_eq!(sender.due(), None, "bytes are on their way");
    assert_eq!(sender.take(SEQ, wire(64_000), 500, ms(1)), Ack::Taken);
    let fin = sender.due().expect("the end");
    assert!(fin.fin && fin.len == 0);
    sender.sent(fin, ms(1));
    assert_eq!(sender.due(), None);
    assert!(!sender.is_finished());
    sender.check(ms(1) + TIMEOUT).expect("not for long");
    assert_eq!(sender.due(), Some(fin));
    sender.sent(fin, ms(201));
    assert_eq!(sender.take(SEQ, wire(64_001), 500, ms(202)), Ack::Taken);
    assert!(sender.is_finished());
    assert_eq!(sender.acked(), 64_000);
    sender.check(ms(1 << 20)).expect("nothing is waited for");
}
