use super::*;
use crate::MacAddr;
use crate::services::dns::message::tests::query;
use crate::services::dns::message::{Header, records};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const NOW: Duration = Duration::from_secs(10);

fn zone() -> Zone {
    let record = StaticRecord {
        name: "files.example".parse().unwrap(),
        addresses: vec![[192, 0, 2, 7].into(), "2001:db8::7".parse().unwrap()],
    };
    let subnets = vec!["10.0.2.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()];
    Zone::new("internal".parse().ok(), subnets, &[record])
}

fn hosts() -> Hosts {
    let mut hosts = Hosts::new(&[], 10);
    let until = Duration::from_secs(100);
    assert!(hosts.claim(NOW, "web", MAC, [10, 0, 2, 15].into(), until));
    assert!(hosts.claim(NOW, "web", MAC, "fd00::1000".parse().unwrap(), until));
    hosts
}

/// Code and data of the records of an answer; None: not of this network.
fn ask(name: &str, kind: u16) -> Option<(u16, Vec<Vec<u8>>)> {
    let mut message = query(7, name);
    let at = message.len() - 4;
    message[at..at + 2].copy_from_slice(&kind.to_be_bytes());
    let query = Query::parse(&message).unwrap();
    let answer = zone().answer(NOW, &query, &hosts())?;
    let header = Header::parse(&answer).unwrap();
    let records = records(&answer).unwrap();
    let data = records
        .into_iter()
        .map(|record| answer[record.data].to_vec());
    Some((header.rcode(), data.collect()))
}

fn name(text: &str) -> Vec<u8> {
    text.parse::<Name>().unwrap().wire().to_vec()
}

#[test]
fn guests_are_found_by_name_with_and_without_the_domain() {
    for text in ["web", "WEB.internal"] {
        assert_eq!(
            ask(text, kind::A),
            Some((0, vec![vec![10, 0, 2, 15]])),
            "{text}"
        );
    }
    let v6 = "fd00::1000".parse::<Ipv6Addr>().unwrap().octets().to_vec();
    assert_eq!(ask("web.internal", kind::AAAA), Some((0, vec![v6.clone()])));
    assert_eq!(
        ask("web", kind::ANY),
        Some((0, vec![v6, vec![10, 0, 2, 15]]))
    );
    assert_eq!(
        ask("web", 15),
        Some((0, vec![])),
        "there is the name, but no such type"
    );
}

#[test]
fn guests_are_found_by_address() {
    let answer = Some((0, vec![name("web.internal")]));
    assert_eq!(ask("15.2.0.10.in-addr.arpa", kind::PTR), answer);
    let nibbles = "0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    assert_eq!(ask(nibbles, kind::PTR), answer);
    assert_eq!(ask(nibbles, kind::A), Some((0, vec![])));
}

#[test]
fn static_records_are_found_both_ways() {
    assert_eq!(
        ask("files.example", kind::A),
        Some((0, vec![vec![192, 0, 2, 7]]))
    );
    assert_eq!(
        ask("7.2.0.192.in-addr.arpa", kind::PTR),
        Some((0, vec![name("files.example")]))
    );
}

#[test]
fn nobody_outside_is_asked_about_this_network() {
    assert_eq!(ask("nobody.internal", kind::A), Some((3, vec![])));
    assert_eq!(ask("a.web.internal", kind::A), Some((3, vec![])));
    assert_eq!(ask("99.2.0.10.in-addr.arpa", kind::PTR), Some((3, vec![])));
    assert_eq!(ask("internal", kind::A), Some((0, vec![])));
}

#[test]
fn the_rest_of_the_world_is_not_answered_for() {
    for text in [
        "example.com",
        "nobody",
        ".",
        "1.2.0.192.in-addr.arpa",
        "2.0.10.in-addr.arpa",
    ] {
        assert_eq!(ask(text, kind::A), None, "{text}");
    }
    let odd = [
        "300.2.0.10.in-addr.arpa",
        "x.2.0.10.in-addr.arpa",
        "in-addr.arpa",
        "ip6.arpa",
    ];
    for text in odd {
        assert_eq!(ask(text, kind::PTR), None, "{text}");
    }
    let wide = format!("{}ip6.arpa", "10.".repeat(32));
    assert_eq!(ask(&wide, kind::PTR), None, "two digits in one label");
}

#[test]
fn names_end_with_their_leases() {
    let query = Query::parse(&query(7, "web.internal")).unwrap();
    let answer = zone()
        .answer(Duration::from_secs(100), &query, &hosts())
        .unwrap();
    assert_eq!(Header::parse(&answer).unwrap().rcode(), rcode::NAME_ERROR);
}
