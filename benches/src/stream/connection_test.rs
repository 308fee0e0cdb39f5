use super::*;

const ISS: u32 = 100;
const PEER: u32 = u32::MAX - 1;
const PERIOD: u64 = 1 << 20;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn segment(control: TcpControl, seq: u32, ack: u32) -> Segment {
    Segment {
        control,
        seq,
        ack: Some(ack),
        // Scaled, it is less than what the SYN's lets us send at first: all else comes alone.
        window: 7,
        mss: None,
        shift: None,
        len: 0,
    }
}

fn syn_ack() -> Segment {
    Segment {
        window: 1000,
        mss: Some(1460),
        shift: Some(7),
        ..segment(TcpControl::Syn, PEER, ISS + 1)
    }
}

fn connecting() -> Connection {
    let mut connection = Connection::new(ISS, PERIOD, ms(0));
    let syn = connection.due(ms(0)).expect("a SYN");
    assert_eq!(syn.header.control, TcpControl::Syn);
    assert_eq!((syn.header.seq, syn.header.ack), (ISS, None));
    connection.sent(syn, ms(0));
    connection
}

fn open() -> Connection {
    let mut connection = connecting();
    connection.take(&syn_ack(), ms(1)).expect("a good answer");
    connection
}

/// Sends all that is due; the last of it.
fn send_all(connection: &mut Connection, now: Duration) -> Option<Due> {
    let mut last = None;
    while let Some(due) = connection.due(now) {
        connection.sent(due, now);
        last = Some(due);
    }
    last
}

/// What answers `segment`, all else being sent.
fn answer(connection: &mut Connection, segment: &Segment) -> Option<Header> {
    send_all(connection, ms(2));
    connection.take(segment, ms(3)).expect("no reset");
    connection.due(ms(3)).map(|due| {
        assert_eq!(due.piece, None);
        due.header
    })
}

#[test]
fn a_syn_is_sent_again_a_few_times_and_no_more() {
    let mut connection = connecting();
    assert_eq!(connection.due(ms(999)), None);
    let (mut now, mut syns) = (ms(0), 1);
    while connection.check(now).is_ok() {
        if let Some(due) = connection.due(now) {
            connection.sent(due, now);
            syns += 1;
        }
        now = connection.timer();
        assert!(now < Duration::from_mins(1), "no end");
    }
    assert_eq!(syns, SYNS);
}

#[test]
fn an_answer_to_something_else_does_not_open_and_a_refusal_is_told() {
    let mut connection = connecting();
    for stray in [
        segment(TcpControl::Syn, PEER, ISS),
        segment(TcpControl::Syn, PEER, ISS + 2),
        segment(TcpControl::Rst, PEER, ISS + 7),
        segment(TcpControl::None, PEER, ISS + 1),
        Segment {
            ack: None,
            ..syn_ack()
        },
    ] {
        connection.take(&stray, ms(1)).expect("not for us");
        assert!(connection.sender().is_none());
    }
    let refusal = segment(TcpControl::Rst, 0, ISS + 1);
    let error = connection.take(&refusal, ms(1)).expect_err("a refusal");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn the_first_segment_acknowledges_the_syn_of_the_peer() {
    let connection = open();
    let due = connection.due(ms(1)).expect("the window is open");
    assert_eq!(due.header.seq, ISS + 1);
    assert_eq!(due.header.ack, Some(u32::MAX));
    // The window of a SYN is not scaled.
    assert_eq!(due.piece.map(|piece| piece.len), Some(1000));
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_answered_and_no_more() {
    let mut connection = open();
    let hostile = segment(TcpControl::None, u32::MAX, ISS + 1 + 1_000_000);
    let header = answer(&mut connection, &hostile).expect("an answer");
    assert_eq!(header.ack, Some(u32::MAX));
    assert_eq!(header.seq, ISS + 1 + 1000);
    assert_eq!(connection.acked(), 0);
}

#[test]
fn only_a_reset_at_the_right_place_is_one() {
    let mut connection = open();
    let at = |seq| segment(TcpControl::Rst, seq, ISS + 1);
    // RFC 5961, 3.2: within the window it is asked for, beyond it is nothing.
    assert!(answer(&mut connection, &at(1000)).is_some());
    assert!(answer(&mut connection, &at(1 << 30)).is_none());
    let error = connection.take(&at(u32::MAX), ms(4)).expect_err("a reset");
    assert!(error.to_string().contains("RST"), "{error}");
}

#[test]
fn a_syn_that_comes_again_is_acknowledged_again() {
    let mut connection = open();
    assert!(answer(&mut connection, &syn_ack()).is_some());
    let strange = segment(TcpControl::Syn, 5000, ISS + 1);
    assert!(answer(&mut connection, &strange).is_some());
    assert_eq!(connection.acked(), 0);
}

#[test]
fn what_the_peer_sends_is_acknowledged_in_order() {
    let mut connection = open();
    let data = |seq, len| Segment {
        len,
        ..segment(TcpControl::Psh, seq, ISS + 1)
    };
    let ack = |header: Option<Header>| header.and_then(|header| header.ack);
    assert_eq!(ack(answer(&mut connection, &data(9, 10))), Some(u32::MAX));
    assert_eq!(ack(answer(&mut connection, &data(u32::MAX, 10))), Some(9));
    assert_eq!(ack(answer(&mut connection, &data(u32::MAX, 10))), Some(9));
    assert_eq!(ack(answer(&mut connection, &data(9, 10))), Some(19));
}

#[test]
fn each_side_ends_by_itself() {
    for peer_first in [true, false] {
        let mut connection = open();
        send_all(&mut connection, ms(2));
        let fin = segment(TcpControl::Fin, u32::MAX, ISS + 1);
        if peer_first {
            assert_eq!(answer(&mut connection, &fin).and_then(|it| it.ack), Some(0));
        }
        connection.finish(ms(4));
        let acked = segment(
            TcpControl::None,
            if peer_first { 0 } else { u32::MAX },
            ISS + 1001,
        );
        connection.take(&acked, ms(5)).expect("good");
        let ours = send_all(&mut connection, ms(5)).expect("our FIN");
        assert_eq!(ours.header.control, TcpControl::Fin);
        let acked = Segment {
            ack: Some(ISS + 1002),
            ..acked
        };
        connection.take(&acked, ms(6)).expect("good");
        if !peer_first {
            assert!(!connection.is_over());
            let fin = Segment {
                ack: Some(ISS + 1002),
                ..fin
            };
            connection.take(&fin, ms(7)).expect("good");
            assert!(!connection.is_over(), "it is to be acknowledged");
            send_all(&mut connection, ms(7));
        }
        assert!(connection.is_over());
        assert_eq!(connection.acked(), 1000);
    }
}

#[test]
fn a_peer_that_does_not_end_is_told_of() {
    let mut connection = open();
    send_all(&mut connection, ms(2));
    connection.finish(ms(2));
    for ack in [1001, 1002] {
        let acked = segment(TcpControl::None, u32::MAX, ISS + ack);
        connection.take(&acked, ms(3)).expect("good");
        send_all(&mut connection, ms(3));
    }
    connection.check(ms(10_000)).expect("it may take a while");
    let error = connection.check(ms(30_000)).expect_err("no FIN");
    assert!(error.to_string().contains("has not ended"), "{error}");
}

/// All segments that a peer might make up, one after the other.
#[test]
fn no_segment_is_a_panic() {
    let numbers = [0, 1, ISS, ISS + 1, ISS + 1001, PEER, u32::MAX, 1 << 31];
    let controls = [
        TcpControl::None,
        TcpControl::Psh,
        TcpControl::Syn,
        TcpControl::Fin,
        TcpControl::Rst,
    ];
    for finish in [false, true] {
        let mut connection = open();
        for control in controls {
            for (seq, ack) in numbers
                .iter()
                .flat_map(|seq| numbers.map(|ack| (*seq, ack)))
            {
                for (window, len) in [(0, 0), (u16::MAX, u32::from(u16::MAX))] {
                    let made_up = Segment {
                        window,
                        len,
                        ..segment(control, seq, ack)
                    };
                    let _ = connection.take(&made_up, ms(5));
                    if let Some(due) = connection.due(ms(5)) {
                        connection.sent(due, ms(5));
                    }
                    if finish {
                        connection.finish(ms(5));
                    }
                }
            }
        }
    }
}
