use super::*;

const STREAM: StreamId = StreamId(1);
const BY: Station = station(1);

const fn station(port: u16) -> Station {
    Station {
        port: PortId(port),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn open() -> Streams {
    let mut streams = Streams::default();
    assert!(streams.open(at(0), STREAM, BY));
    streams
}

/// How many octets were taken, and the questions among them.
fn input(streams: &mut Streams, bytes: &[u8]) -> (usize, Vec<Vec<u8>>) {
    let mut questions = Vec::new();
    let taken = streams.input(at(1), STREAM, bytes, &mut |question| {
        questions.push(question);
    });
    (taken, questions)
}

fn output(streams: &mut Streams) -> Option<Vec<u8>> {
    let mut buffer = [0; 100];
    let len = streams.output(STREAM, &mut buffer)?;
    Some(buffer[..len].to_vec())
}

#[test]
fn questions_come_in_any_pieces() {
    let mut streams = open();
    let bytes = [0, 3, b'a', b'b', b'c', 0, 1, b'd', 0, 0];
    let mut questions = Vec::new();
    for byte in bytes {
        let (taken, found) = input(&mut streams, &[byte]);
        assert_eq!(taken, 1);
        questions.extend(found);
    }
    assert_eq!(questions, [b"abc".to_vec(), b"d".to_vec(), Vec::new()]);
    let (taken, together) = input(&mut open(), &bytes);
    assert_eq!((taken, together), (bytes.len(), questions));
}

#[test]
fn answers_go_out_with_their_lengths_and_are_announced_once() {
    let mut streams = open();
    input(&mut streams, &[0, 1, b'a', 0, 1, b'b']);
    assert_eq!(streams.next_ready(), None);
    streams.answer(STREAM, Some(b"xyz"));
    streams.answer(STREAM, Some(b""));
    assert_eq!(streams.next_ready(), Some(STREAM));
    assert_eq!(streams.next_ready(), None);
    assert_eq!(
        output(&mut streams),
        Some(vec![0, 3, b'x', b'y', b'z', 0, 0])
    );
    assert_eq!(output(&mut streams), Some(Vec::new()));
}

#[test]
fn a_guest_that_asks_without_reading_is_held_back() {
    let mut streams = open();
    let flood = [0, 1, b'a'].repeat(100);
    let (taken, questions) = input(&mut streams, &flood);
    assert_eq!((taken, questions.len()), (3 * MAX_WAITING, MAX_WAITING));
    assert_eq!(input(&mut streams, &flood).0, 0);
    streams.answer(STREAM, Some(&vec![0; 40_000]));
    assert_eq!(input(&mut streams, &flood).1.len(), 1, "one was answered");
    streams.answer(STREAM, Some(&vec![0; 40_000]));
    assert_eq!(input(&mut streams, &flood).0, 0, "it shall read first");
}

#[test]
fn a_message_that_is_no_question_ends_the_stream() {
    let mut streams = open();
    input(&mut streams, &[0, 1, b'a']);
    streams.answer(STREAM, None);
    assert_eq!(streams.next_ready(), Some(STREAM));
    assert_eq!(output(&mut streams), None);
}

#[test]
fn streams_are_bounded_for_all_and_for_one_port() {
    let mut streams = Streams::default();
    let opened = (0..100).filter(|number| streams.open(at(0), StreamId(*number), BY));
    assert_eq!(opened.count(), PER_PORT);
    assert!(streams.open(at(0), StreamId(1000), station(2)));
    for number in 2000..3000u32 {
        let [.., last] = number.to_be_bytes();
        streams.open(at(0), StreamId(number.into()), station(last.into()));
    }
    assert_eq!(streams.streams.len(), MAX_STREAMS);
    streams.close(StreamId(1000));
    assert!(streams.open(at(0), StreamId(1000), station(2)));
}

#[test]
fn a_port_has_no_more_by_guests_that_come_to_it() {
    let mut streams = Streams::default();
    let open = |streams: &mut Streams, first: u64, by| {
        (first..first + 16).all(|number| streams.open(at(0), StreamId(number), by))
    };
    assert!(open(&mut streams, 0, station(1)));
    assert!(open(&mut streams, 100, station(2)));
    streams.follow(StreamId(0), PortId(2));
    assert!(!streams.open(at(0), StreamId(50), station(1)));
    streams.close(StreamId(100));
    streams.follow(StreamId(0), PortId(2));
    assert!(streams.open(at(0), StreamId(50), station(1)));
    assert!(!streams.open(at(0), StreamId(100), station(2)));
    // Its port goes, and there is room for one more where its guest is.
    streams.close(StreamId(0));
    streams.forget_port(PortId(1), &|_| Some(PortId(2)));
    assert_eq!(streams.streams.len(), 16);
    assert!(streams.streams.values().all(|it| it.by == station(2)));
    let ended = std::iter::from_fn(|| streams.next_ready());
    assert_eq!(ended.count(), 15);
    assert!(open(&mut streams, 200, station(1)));
}

#[test]
fn an_idle_stream_is_closed_but_not_while_an_answer_is_awaited() {
    let mut streams = open();
    assert_eq!(streams.poll(at(29)), Some(at(30)));
    input(&mut streams, &[0, 1, b'a']);
    assert_eq!(streams.poll(at(100)), None);
    streams.answer(STREAM, Some(b"x"));
    streams.next_ready();
    output(&mut streams);
    streams.poll(at(100));
    assert_eq!(streams.next_ready(), Some(STREAM));
    assert_eq!(output(&mut streams), None);
}

#[test]
fn a_stream_that_is_gone_is_gone() {
    let mut streams = open();
    input(&mut streams, &[0, 1, b'a']);
    streams.answer(STREAM, Some(b"x"));
    streams.close(STREAM);
    assert_eq!(streams.next_ready(), None);
    assert_eq!(output(&mut streams), None);
    assert_eq!(input(&mut streams, b"abc").0, 3);
    streams.answer(STREAM, Some(b"late"));
    assert_eq!(streams.next_ready(), None);
}
