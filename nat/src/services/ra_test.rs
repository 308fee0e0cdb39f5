use super::*;
use crate::link_local;

const GATEWAY: MacAddr = MacAddr([0x52, 0x55, 10, 0, 2, 2]);
const GUEST: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

fn advertiser(change: impl FnOnce(&mut Config)) -> Advertiser {
    let mut config = Config {
        mac: GATEWAY,
        link_local: link_local(GATEWAY),
        prefix: "fd00::/64".parse().unwrap(),
        mtu: 1500,
        router: true,
        managed: true,
        other: true,
        dns: vec!["fd00::3".parse().unwrap()],
        search: vec!["internal".parse().unwrap()],
    };
    change(&mut config);
    Advertiser::new(config, 7)
}

const SOLICITATION: [u8; 16] = [133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0x52, 0x54, 0, 0, 0, 1];

fn ask(advertiser: &mut Advertiser, now: u64, source: &str, message: &[u8]) -> Option<Outgoing> {
    let ndp = Ndp {
        mac: GUEST,
        source: source.parse().unwrap(),
        destination: "ff02::2".parse().unwrap(),
        message,
    };
    advertiser.answer(Duration::from_secs(now), &ndp)
}

#[test]
fn a_solicitation_gets_the_whole_advertisement() {
    let mut advertiser = advertiser(|_| ());
    let answer = ask(&mut advertiser, 1, "fe80::1", &SOLICITATION).unwrap();
    assert_eq!(answer.mac, GUEST);
    assert_eq!(
        answer.source,
        "fe80::5055:aff:fe00:202".parse::<Ipv6Addr>().unwrap()
    );
    assert_eq!(answer.destination, "fe80::1".parse::<Ipv6Addr>().unwrap());
    #[rustfmt::skip]
    let expected = [
        // type, code, checksum, hop limit, M and O, lifetime 1800 s, times
        134, 0, 0, 0, 64, 0xc0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0,
        // source link-layer address
        1, 1, 0x52, 0x55, 10, 0, 2, 2,
        // MTU
        5, 1, 0, 0, 0, 0, 0x05, 0xdc,
        // prefix: length, L and A, valid 30 days, preferred 7 days
        3, 4, 64, 0xc0, 0x00, 0x27, 0x8d, 0x00, 0x00, 0x09, 0x3a, 0x80, 0, 0, 0, 0,
        0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        // RDNSS, 1800 s
        25, 3, 0, 0, 0, 0, 0x07, 0x08,
        0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3,
        // DNSSL, 1800 s, padded
        31, 3, 0, 0, 0, 0, 0x07, 0x08,
        8, b'i', b'n', b't', b'e', b'r', b'n', b'a', b'l', 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(answer.message, expected);
}

#[test]
fn without_a_default_route_the_router_has_no_lifetime() {
    let mut advertiser = advertiser(|config| {
        config.router = false;
        config.managed = false;
        config.dns.clear();
        config.search.clear();
    });
    let answer = ask(&mut advertiser, 1, "fe80::1", &SOLICITATION).unwrap();
    assert_eq!(answer.message[5..8], [0x40, 0, 0]);
    assert_eq!(answer.message.len(), 16 + 8 + 8 + 32, "no empty lists");
}

#[test]
fn who_has_no_address_yet_is_answered_by_multicast_at_most_every_three_seconds() {
    let mut advertiser = advertiser(|_| ());
    let bare = &SOLICITATION[..8];
    assert_eq!(
        ask(&mut advertiser, 10, "::", bare).unwrap().destination,
        ALL_NODES
    );
    assert_eq!(ask(&mut advertiser, 11, "::", bare), None);
    assert_eq!(
        advertiser.next(),
        Duration::from_secs(13),
        "they are answered together"
    );
    assert_eq!(advertiser.poll(Duration::from_secs(12)), None);
    assert!(advertiser.poll(Duration::from_secs(13)).is_some());
    assert!(advertiser.next() > Duration::from_secs(13));
}

#[test]
fn it_advertises_unasked_often_at_first_and_then_every_few_minutes() {
    let mut advertiser = advertiser(|_| ());
    let mut now = Duration::ZERO;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert!(advertiser.poll(now).is_some());
        assert_eq!(advertiser.poll(now), None, "once");
        pauses.push(advertiser.next().checked_sub(now).unwrap());
        now = advertiser.next();
    }
    assert!(
        pauses[..3].iter().all(|pause| *pause <= INITIAL_INTERVAL),
        "{pauses:?}"
    );
    let ranged = pauses[3..]
        .iter()
        .all(|pause| (MIN_INTERVAL..=MAX_INTERVAL).contains(pause));
    assert!(ranged, "{pauses:?}");
}

#[test]
fn malformed_solicitations_are_refused() {
    let mut advertiser = advertiser(|_| ());
    let mut zero = SOLICITATION;
    zero[9] = 0;
    assert_eq!(
        ask(&mut advertiser, 1, "fe80::1", &zero),
        None,
        "an option of length zero"
    );
    assert_eq!(
        ask(&mut advertiser, 1, "::", &SOLICITATION),
        None,
        "no address, but a MAC address"
    );
    for len in (0..SOLICITATION.len()).filter(|len| *len != 8) {
        assert_eq!(
            ask(&mut advertiser, 1, "fe80::1", &SOLICITATION[..len]),
            None,
            "{len} octets"
        );
    }
}

#[test]
fn a_huge_search_list_is_cut_to_what_an_option_holds() {
    let long: Name = [&"a".repeat(60); 4]
        .map(String::as_str)
        .join(".")
        .parse()
        .unwrap();
    let mut advertiser = advertiser(|config| config.search = vec![long; 20]);
    let answer = ask(&mut advertiser, 1, "fe80::1", &SOLICITATION).unwrap();
    let mut reader = Reader::new(&answer.message[16..]);
    let mut kinds = Vec::new();
    while !reader.is_empty() {
        let [kind, units] = reader.array().unwrap();
        reader.take(usize::from(units) * 8 - 2).unwrap();
        kinds.push(kind);
    }
    assert_eq!(
        kinds,
        [1, 5, 3, 25, 31],
        "the options end where the message does"
    );
}
