use super::*;
use crate::{
    Options,
    testing::{Defect, through},
};

fn load(frame: FrameKind) -> Load {
    Load {
        warm_up: Duration::ZERO,
        time: Duration::from_millis(300),
        verify: true,
        ..Load::new(frame)
    }
}

/// Measures 64-byte frames through a peer with `defect`; the message of the error.
#[track_caller]
fn complaint(defect: Defect) -> String {
    let frame = FrameKind::Plain(64);
    let measured = through(defect, Options::new(frame), &load(frame), 1);
    let error = measured.expect_err("the peer is bad");
    format!("{error:#}")
}

#[test]
fn nothing_is_missed_of_what_a_good_peer_carries() {
    for frame in [60, 1518, 9018]
        .map(FrameKind::Plain)
        .into_iter()
        .chain([FrameKind::Gso])
    {
        for mergeable in [false, true] {
            let options = Options {
                mergeable,
                ..Options::new(frame)
            };
            let both = Load {
                both_ways: true,
                ..load(frame)
            };
            let measured = through(Defect::None, options, &both, 1)
                .unwrap_or_else(|error| panic!("{frame}, mergeable {mergeable}: {error:#}"));
            assert!(measured.received > 0, "no frame of {frame} bytes came");
            assert_eq!(measured.dropped, 0, "{frame}, mergeable {mergeable}");
        }
    }
}

#[test]
fn stations_and_flows_take_turns_on_every_pair() {
    let frame = FrameKind::Plain(128);
    let many = Load {
        both_ways: true,
        flows: 100,
        stations: 1000,
        ..load(frame)
    };
    let measured = through(Defect::None, Options::new(frame), &many, 2).expect("a good peer");
    assert_eq!(measured.dropped, 0);
}

#[test]
fn a_window_holds_frames_back() {
    let frame = FrameKind::Plain(64);
    let narrow = Load {
        window: 1,
        ..load(frame)
    };
    let measured = through(Defect::None, Options::new(frame), &narrow, 1).expect("a good peer");
    assert!(measured.received > 0);
    assert_eq!(measured.dropped, 0);
}

#[test]
fn an_altered_frame_is_an_error_wherever_it_is_altered() {
    // Flags of the virtio-net header, destination, source port, payload.
    for at in [0, 12, 46, 75] {
        let message = complaint(Defect::Alter(at));
        assert!(message.contains("altered"), "byte {at}: {message}");
    }
}

#[test]
fn a_lost_frame_is_counted() {
    let frame = FrameKind::Plain(64);
    let measured = through(Defect::Drop, Options::new(frame), &load(frame), 1);
    assert_eq!(measured.expect("losses are no errors").dropped, 1);
}

#[test]
fn a_repeated_frame_is_an_error() {
    let message = complaint(Defect::Repeat);
    assert!(message.contains("came after frame"), "{message}");
}

#[test]
fn a_frame_that_overtakes_another_is_an_error() {
    let message = complaint(Defect::Swap);
    assert!(message.contains("came after frame"), "{message}");
}

#[test]
fn a_frame_that_was_not_sent_yet_is_an_error() {
    let message = complaint(Defect::Invent);
    assert!(message.contains("were sent"), "{message}");
}

#[test]
fn a_frame_cut_short_is_an_error() {
    let message = complaint(Defect::Cut);
    assert!(message.contains("a frame of 75 bytes"), "{message}");
}

#[test]
fn a_wrong_number_of_buffers_is_an_error() {
    let message = complaint(Defect::Miscount);
    assert!(
        message.contains("the number of buffers, which were 1,"),
        "{message}"
    );
    let frame = FrameKind::Plain(9000);
    let options = Options {
        mergeable: true,
        ..Options::new(frame)
    };
    let measured = through(Defect::Miscount, options, &load(frame), 1);
    let message = format!("{:#}", measured.expect_err("the peer is bad"));
    assert!(message.contains("a frame of"), "{message}");
}
