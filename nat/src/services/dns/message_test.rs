use super::*;
use proptest::prelude::*;

/// A query for A records of a name.
pub(crate) fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = Vec::new();
    message.put_u16(id);
    message.put_u16(flag::RD);
    for count in [1, 0, 0, 0] {
        message.put_u16(count);
    }
    message.put(name.parse::<Name>().unwrap().wire());
    message.put_u16(kind::A);
    message.put_u16(kind::IN);
    message
}

/// The same with EDNS.
pub(crate) fn edns_query(id: u16, name: &str, size: u16) -> Vec<u8> {
    let mut message = query(id, name);
    message[11] = 1;
    message.put(&[0, 0, 41]);
    message.put_u16(size);
    message.put(&[0, 0, 0x80, 0, 0, 0]);
    message
}

/// What an upstream server answers to a question of ours: records of a kind in a section, with a time to live.
pub(crate) fn answer(question: &[u8], flags: u16, records: &[(usize, u16, u32, &[u8])]) -> Vec<u8> {
    let (_, range) = Question::parse(question).unwrap();
    let mut message = question[..2].to_vec();
    message.put_u16(flag::QR | flag::RD | flag::RA | flags);
    message.put_u16(1);
    for section in 0..3 {
        let count = records.iter().filter(|record| record.0 == section).count();
        message.put_u16(u16::try_from(count).unwrap());
    }
    message.put(&question[range]);
    for (_, kind, ttl, data) in records {
        message.put_u16(0xc00c);
        message.put_u16(*kind);
        message.put_u16(kind::IN);
        message.put_u32(*ttl);
        message.put_u16(u16::try_from(data.len()).unwrap());
        message.put(data);
    }
    message
}

const ADDRESS: (usize, u16, u32, &[u8]) = (0, kind::A, 300, &[192, 0, 2, 1]);

/// An SOA record's data with a MINIMUM.
fn soa(minimum: u32) -> Vec<u8> {
    let mut data = vec![0, 0];
    for number in [1, 2, 3, 4, minimum] {
        data.put_u32(number);
    }
    data
}

#[test]
fn a_query_is_read_with_what_its_client_takes() {
    let plain = Query::parse(&query(7, "Example.com")).unwrap();
    assert_eq!(
        (plain.header.id, plain.udp_size, plain.edns, plain.dnssec_ok),
        (7, 512, false, false)
    );
    assert_eq!(plain.question.name.to_string(), "example.com");
    for (size, taken) in [(0, 512), (900, 900), (4096, 1232)] {
        let edns = Query::parse(&edns_query(7, "example.com", size)).unwrap();
        assert_eq!(
            (edns.udp_size, edns.edns, edns.dnssec_ok),
            (taken, true, true)
        );
    }
}

#[test]
fn messages_that_are_no_queries_are_refused_as_they_deserve() {
    let with_flags = |flags: u16| {
        let mut message = query(7, "example.com");
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        Query::parse(&message).unwrap_err()
    };
    assert_eq!(
        with_flags(flag::QR),
        Refusal::Ignore,
        "answers are never answered"
    );
    assert_eq!(with_flags(0x2000), Refusal::Answer(rcode::NOT_IMPLEMENTED));
    let mut transfer = query(7, "example.com");
    let at = transfer.len() - 3;
    transfer[at] = 252;
    assert_eq!(
        Query::parse(&transfer),
        Err(Refusal::Answer(rcode::REFUSED))
    );
    for count in [0, 2] {
        let mut message = query(7, "example.com");
        message[5] = count;
        assert_eq!(
            Query::parse(&message),
            Err(Refusal::Answer(rcode::FORMAT_ERROR))
        );
    }
}

#[test]
fn truncated_and_zero_length_messages_are_refused_at_every_length() {
    let message = edns_query(7, "example.com", 1232);
    for len in 0..message.len() {
        let expected = if len < HEADER {
            Refusal::Ignore
        } else {
            Refusal::Answer(rcode::FORMAT_ERROR)
        };
        assert_eq!(Query::parse(&message[..len]), Err(expected), "{len} octets");
    }
}

#[test]
fn a_question_with_a_pointer_is_refused() {
    let mut message = query(7, "a");
    message.truncate(HEADER);
    message.put(&[0xc0, 0x04, 0, 1, 0, 1]);
    assert_eq!(
        Query::parse(&message),
        Err(Refusal::Answer(rcode::FORMAT_ERROR))
    );
}

#[test]
fn more_records_than_anybody_needs_are_refused() {
    let mut message = query(7, "a");
    message[6..8].copy_from_slice(&[0xff, 0xff]);
    message.resize(message.len() + 11 * 65_535, 0);
    assert_eq!(records(&message), None);
}

#[test]
fn an_answer_must_be_to_what_was_asked() {
    let query = Query::parse(&query(7, "example.com")).unwrap();
    let sent = query.forwarded(99);
    let good = answer(&sent, 0, &[ADDRESS]);
    assert!(Answer::parse(&good, 99, &query).is_some());
    assert!(Answer::parse(&good, 98, &query).is_none(), "another id");
    assert!(Answer::parse(&sent, 99, &query).is_none(), "no answer");
    let forged = answer(&super::tests::query(99, "example.org"), 0, &[ADDRESS]);
    assert!(
        Answer::parse(&forged, 99, &query).is_none(),
        "another question"
    );
    assert!(
        Answer::parse(&good[..good.len() - 1], 99, &query).is_none(),
        "a record that is cut"
    );
}

#[test]
fn what_goes_upstream_has_nothing_of_the_guest_but_its_question() {
    let query = Query::parse(&edns_query(7, "eXample.com", 4096)).unwrap();
    let sent = query.forwarded(99);
    assert_eq!(sent[..12], [0, 99, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    let reread = Query::parse(&sent).unwrap();
    assert_eq!(
        reread.question_bytes, query.question_bytes,
        "with its letters as they were"
    );
    assert!(reread.edns && reread.dnssec_ok);
}

#[test]
fn an_answer_goes_to_the_guest_under_its_own_id_and_older() {
    let asked = query(7, "eXample.com");
    let query = Query::parse(&asked).unwrap();
    let mut upstream = answer(&query.forwarded(99), flag::AA, &[ADDRESS]);
    upstream[11] = 1;
    upstream.put(&[0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    let answer = Answer::parse(&upstream, 99, &query).unwrap();
    let told = answer.to(&query, Duration::from_secs(100));
    assert_eq!(
        told[..4],
        [0, 7, 0x81, 0x80],
        "its id; recursion, not authority"
    );
    assert_eq!(told[HEADER..asked.len()], asked[HEADER..]);
    let records = records(&told).unwrap();
    assert_eq!(records.len(), 1, "no OPT record for who sent none");
    assert_eq!(records[0].ttl, 200);
    let much_later = answer.to(&query, Duration::from_hours(99));
    assert_eq!(super::records(&much_later).unwrap()[0].ttl, 0);
}

#[test]
fn answers_live_as_long_as_their_shortest_record() {
    let query = Query::parse(&query(7, "example.com")).unwrap();
    let sent = query.forwarded(1);
    let lifetime = |flags, records: &[_]| {
        let message = answer(&sent, flags, records);
        let answer = Answer::parse(&message, 1, &query).unwrap();
        answer.lifetime().map(|lifetime| lifetime.as_secs())
    };
    let shorter: (usize, u16, u32, &[u8]) = (2, kind::A, 60, &[192, 0, 2, 2]);
    assert_eq!(lifetime(0, &[ADDRESS, shorter]), Some(60));
    assert_eq!(lifetime(0, &[]), None);
    assert_eq!(lifetime(flag::TC, &[ADDRESS]), None, "truncated");
    assert_eq!(lifetime(rcode::SERVER_FAILURE, &[ADDRESS]), None);
    let (long, short) = (soa(500), soa(20));
    assert_eq!(
        lifetime(rcode::NAME_ERROR, &[(1, kind::SOA, 100, &long)]),
        Some(100)
    );
    assert_eq!(
        lifetime(rcode::NAME_ERROR, &[(1, kind::SOA, 100, &short)]),
        Some(20)
    );
    assert_eq!(
        lifetime(0, &[(1, kind::SOA, 100, &short)]),
        Some(20),
        "no such type"
    );
    assert_eq!(
        lifetime(rcode::NAME_ERROR, &[(1, kind::SOA, 100, &[0, 1])]),
        None,
        "cut short"
    );
    assert_eq!(lifetime(rcode::NAME_ERROR, &[]), None, "no SOA record");
}

#[test]
fn an_answer_that_does_not_fit_is_cut_to_its_question() {
    let plain = Query::parse(&query(7, "example.com")).unwrap();
    let small = answer(&plain.forwarded(7), 0, &[ADDRESS]);
    assert_eq!(plain.truncated(small.clone()), small);
    let large = answer(&plain.forwarded(7), 0, &[ADDRESS; 40]);
    let cut = plain.truncated(large.clone());
    assert_eq!(Header::parse(&cut).unwrap().counts, [1, 0, 0, 0]);
    assert_ne!(Header::parse(&cut).unwrap().flags & flag::TC, 0);
    let edns = Query::parse(&edns_query(7, "example.com", 1232)).unwrap();
    assert_eq!(edns.truncated(large.clone()), large);
}

proptest! {
    #[test]
    fn any_octets_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        keep in 0..60usize,
    ) {
        let query = Query::parse(&query(7, "example.com")).unwrap();
        let mut message = answer(&query.forwarded(1), 0, &[ADDRESS, ADDRESS]);
        message.truncate(keep);
        message.extend(&bytes);
        for message in [&bytes, &message] {
            let _ = Query::parse(message);
            if let Some(answer) = Answer::parse(message, 1, &query) {
                answer.lifetime();
                answer.to(&query, Duration::from_secs(1));
            }
        }
    }
}
