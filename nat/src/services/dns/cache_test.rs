use super::*;
use crate::services::dns::message::tests::{answer, edns_query, query};

fn asked(name: &str) -> Query {
    Query::parse(&query(7, name)).unwrap()
}

fn told(query: &Query, ttl: u32) -> Answer {
    let message = answer(&query.forwarded(1), 0, &[(0, 1, ttl, &[192, 0, 2, 1])]);
    Answer::parse(&message, 1, query).unwrap()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cache(entries: usize, bytes: usize) -> Cache {
    Cache::new(Limits {
        entries,
        bytes,
        max_ttl: at(1000),
        max_negative_ttl: at(10),
    })
}

#[test]
fn an_answer_is_kept_for_its_time_and_no_longer() {
    let mut cache = cache(10, 10_000);
    let query = asked("example.com");
    cache.insert(at(0), &query, told(&query, 60));
    assert!(
        cache.get(at(59), &asked("EXAMPLE.com")).is_some(),
        "letters do not matter"
    );
    assert!(cache.get(at(60), &query).is_none());
    assert_eq!((cache.len(), cache.bytes), (0, 0));
    cache.insert(at(0), &query, told(&query, u32::MAX));
    assert!(cache.get(at(999), &query).is_some());
    assert!(
        cache.get(at(1000), &query).is_none(),
        "however long it says"
    );
    cache.insert(at(0), &query, told(&query, 0));
    assert_eq!(cache.len(), 0);
}

#[test]
fn what_is_not_there_is_kept_for_less() {
    let mut cache = cache(10, 10_000);
    let query = asked("example.com");
    let soa = [&[0, 0][..], &[0; 16], &1000u32.to_be_bytes()].concat();
    let message = answer(&query.forwarded(1), 3, &[(1, 6, 1000, &soa)]);
    cache.insert(at(0), &query, Answer::parse(&message, 1, &query).unwrap());
    assert!(cache.get(at(9), &query).is_some());
    assert!(cache.get(at(10), &query).is_none());
}

#[test]
fn answers_with_and_without_dnssec_are_told_apart() {
    let mut cache = cache(10, 10_000);
    let query = asked("example.com");
    cache.insert(at(0), &query, told(&query, 60));
    let secure = Query::parse(&edns_query(7, "example.com", 1232)).unwrap();
    assert!(cache.get(at(1), &secure).is_none());
}

#[test]
fn entries_are_bounded_and_the_least_used_goes_first() {
    let mut cache = cache(3, 10_000);
    let queries: Vec<_> = (0..4)
        .map(|number| asked(&format!("host{number}.example")))
        .collect();
    for query in &queries[..3] {
        cache.insert(at(0), query, told(query, 60));
    }
    assert!(cache.get(at(1), &queries[0]).is_some());
    cache.insert(at(1), &queries[3], told(&queries[3], 60));
    let left: Vec<_> = queries
        .iter()
        .map(|query| cache.get(at(2), query).is_some())
        .collect();
    assert_eq!(left, [true, false, true, true]);
}

#[test]
fn octets_are_bounded() {
    let mut cache = cache(10_000, 500);
    for number in 0..1000 {
        let query = asked(&format!("host{number}.example"));
        cache.insert(at(0), &query, told(&query, 60));
        assert!(cache.bytes <= 500);
        assert_eq!(cache.order.len(), cache.entries.len());
    }
    assert!(cache.len() > 5);
    cache.clear();
    assert_eq!((cache.len(), cache.bytes), (0, 0));
}
