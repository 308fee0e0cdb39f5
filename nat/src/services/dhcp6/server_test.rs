use super::*;
use proptest::prelude::*;

const GATEWAY: MacAddr = MacAddr([0x52, 0x55, 10, 0, 2, 2]);
const GUEST: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
const DUID: [u8; 10] = [0, 3, 0, 1, 0x52, 0x54, 0, 0, 0, 1];
const SERVER: [u8; 10] = [0, 3, 0, 1, 0x52, 0x55, 10, 0, 2, 2];

struct World {
    server: Server,
    hosts: Hosts,
    now: Duration,
}

impl World {
    fn new() -> Self {
        Self::with(|_| (), Vec::new())
    }

    fn with(change: impl FnOnce(&mut Config), reservations: Vec<Reservation>) -> Self {
        let mut config = Config {
            mac: GATEWAY,
            prefix: "fd00::/64".parse().unwrap(),
            own: vec![v6("fd00::2"), v6("fd00::3")],
            pool: Some(v6("fd00::1000")..=v6("fd00::100f")),
            dns: vec![v6("fd00::3")],
            search: vec!["internal".parse().unwrap()],
            lease_time: Duration::from_secs(1000),
            rapid_commit: true,
            boot_url: None,
        };
        change(&mut config);
        Self {
            hosts: Hosts::new(&reservations, 100),
            server: Server::new(config, reservations),
            now: Duration::from_secs(50),
        }
    }

    fn ask(&mut self, mac: MacAddr, ask: &Ask) -> Result<Vec<u8>, Silence> {
        let Self { server, hosts, now } = self;
        server.handle(*now, mac, true, &ask.bytes(), hosts)
    }
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

#[derive(Debug, Clone)]
struct Ask {
    kind: u8,
    options: Vec<u8>,
}

impl Ask {
    fn new(kind: u8) -> Self {
        let mut ask = Self {
            kind,
            options: Vec::new(),
        };
        ask.option(option::CLIENT_ID, &DUID);
        let to_us = [kind::REQUEST, kind::RENEW, kind::RELEASE, kind::DECLINE].contains(&kind);
        if to_us {
            ask.option(option::SERVER_ID, &SERVER);
        }
        ask
    }

    fn option(&mut self, code: u16, value: &[u8]) -> &mut Self {
        put_option(&mut self.options, code, value);
        self
    }

    fn association(mut self, iaid: u32, addresses: &[&str]) -> Self {
        let mut value = iaid.to_be_bytes().to_vec();
        value.put(&[0; 8]);
        for address in addresses {
            let mut inner = v6(address).octets().to_vec();
            inner.put(&[0; 8]);
            put_option(&mut value, option::IA_ADDRESS, &inner);
        }
        self.option(option::IA_NA, &value);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        [&[self.kind, 1, 2, 3], self.options.as_slice()].concat()
    }
}

/// The value of an option of a message, or of an association behind its fixed part.
fn find(options: &[u8], code: u16) -> Option<Vec<u8>> {
    let mut rest = options;
    while let [c0, c1, l0, l1, tail @ ..] = rest {
        let (value, next) = tail.split_at(u16::from_be_bytes([*l0, *l1]).into());
        if u16::from_be_bytes([*c0, *c1]) == code {
            return Some(value.to_vec());
        }
        rest = next;
    }
    None
}

/// The address, with its lifetime, of the first association of a reply.
fn leased(reply: &[u8]) -> Option<(Ipv6Addr, u32)> {
    let association = find(&reply[4..], option::IA_NA)?;
    let address = find(&association[12..], option::IA_ADDRESS)?;
    let octets: [u8; 16] = address[..16].try_into().unwrap();
    let valid: [u8; 4] = address[20..24].try_into().unwrap();
    Some((octets.into(), u32::from_be_bytes(valid)))
}

fn status_of(reply: &[u8]) -> Option<u16> {
    let value = find(&reply[4..], option::STATUS)?;
    Some(u16::from_be_bytes([value[0], value[1]]))
}

#[test]
fn four_messages_make_a_lease() {
    let mut world = World::new();
    let advertise = world
        .ask(GUEST, &Ask::new(kind::SOLICIT).association(1, &[]))
        .unwrap();
    assert_eq!(advertise[..4], [kind::ADVERTISE, 1, 2, 3]);
    assert_eq!(leased(&advertise), Some((v6("fd00::1000"), 1000)));
    assert!(world.server.leases().unwrap().export(world.now).is_empty());
    let request = Ask::new(kind::REQUEST).association(1, &["fd00::1000"]);
    let reply = world.ask(GUEST, &request).unwrap();
    assert_eq!(reply[0], kind::REPLY);
    assert_eq!(leased(&reply), Some((v6("fd00::1000"), 1000)));
    assert_eq!(find(&reply[4..], option::CLIENT_ID), Some(DUID.to_vec()));
    assert_eq!(find(&reply[4..], option::SERVER_ID), Some(SERVER.to_vec()));
    assert_eq!(
        find(&reply[4..], option::DNS),
        Some(v6("fd00::3").octets().to_vec())
    );
    assert_eq!(
        find(&reply[4..], option::DOMAIN_LIST),
        Some(b"\x08internal\0".to_vec())
    );
    let association = find(&reply[4..], option::IA_NA).unwrap();
    assert_eq!(association[4..12], [0, 0, 1, 0xf4, 0, 0, 3, 0x20], "T1, T2");
    assert_eq!(world.server.leases().unwrap().export(world.now).len(), 1);
}

#[test]
fn rapid_commit_makes_it_two() {
    let mut solicit = Ask::new(kind::SOLICIT).association(1, &[]);
    solicit.option(option::RAPID_COMMIT, &[]);
    let mut world = World::new();
    let reply = world.ask(GUEST, &solicit).unwrap();
    assert_eq!(reply[0], kind::REPLY);
    assert!(find(&reply[4..], option::RAPID_COMMIT).is_some());
    assert_eq!(world.server.leases().unwrap().export(world.now).len(), 1);
    let mut world = World::with(|config| config.rapid_commit = false, Vec::new());
    assert_eq!(world.ask(GUEST, &solicit).unwrap()[0], kind::ADVERTISE);
}

#[test]
fn information_is_for_everybody_also_without_a_pool_or_an_identifier() {
    let mut world = World::with(|config| config.pool = None, Vec::new());
    let ask = Ask {
        kind: kind::INFORMATION_REQUEST,
        options: Vec::new(),
    };
    let reply = world.ask(GUEST, &ask).unwrap();
    assert_eq!(reply[0], kind::REPLY);
    assert!(find(&reply[4..], option::DNS).is_some());
    assert_eq!(find(&reply[4..], option::CLIENT_ID), None);
    let solicit = Ask::new(kind::SOLICIT).association(1, &[]);
    let advertise = world.ask(GUEST, &solicit).unwrap();
    let association = find(&advertise[4..], option::IA_NA).unwrap();
    let status = find(&association[12..], option::STATUS).unwrap();
    assert_eq!(status[..2], [0, 2], "no addresses here");
}

#[test]
fn renew_and_rebind_extend_the_lease_and_end_addresses_that_are_not_the_clients() {
    let mut world = World::new();
    world
        .ask(GUEST, &Ask::new(kind::REQUEST).association(1, &[]))
        .unwrap();
    for kind in [kind::RENEW, kind::REBIND] {
        world.now += Duration::from_mins(15);
        let ask = Ask::new(kind).association(1, &["fd00::1000", "2001:db8::1"]);
        let reply = world.ask(GUEST, &ask).unwrap();
        assert_eq!(leased(&reply), Some((v6("fd00::1000"), 1000)));
        let association = find(&reply[4..], option::IA_NA).unwrap();
        let ended = [v6("2001:db8::1").octets().as_slice(), &[0; 8]].concat();
        assert!(association.ends_with(&ended), "with lifetimes of zero");
    }
}

#[test]
fn a_lease_is_the_stations_alone() {
    let mut world = World::new();
    let request = Ask::new(kind::REQUEST).association(1, &["fd00::1000"]);
    assert_eq!(
        leased(&world.ask(GUEST, &request).unwrap()),
        Some((v6("fd00::1000"), 1000))
    );
    let stolen = world.ask(OTHER, &request).unwrap();
    assert_eq!(
        leased(&stolen),
        Some((v6("fd00::1001"), 1000)),
        "the same DUID, a clone"
    );
    let release = Ask::new(kind::RELEASE).association(1, &["fd00::1000"]);
    let reply = world.ask(OTHER, &release).unwrap();
    assert!(find(&reply[4..], option::IA_NA).is_some(), "no binding");
    assert_eq!(world.server.leases().unwrap().export(world.now).len(), 2);
}

#[test]
fn confirm_says_whether_addresses_are_of_this_network() {
    let mut world = World::new();
    let confirm = |addresses: &[&str]| Ask::new(kind::CONFIRM).association(1, addresses);
    let here = world.ask(GUEST, &confirm(&["fd00::1000"])).unwrap();
    assert_eq!(status_of(&here), Some(0));
    let there = world
        .ask(GUEST, &confirm(&["fd00::1000", "2001:db8::1"]))
        .unwrap();
    assert_eq!(status_of(&there), Some(4));
    assert_eq!(world.ask(GUEST, &confirm(&[])), Err(Silence::Done));
}

#[test]
fn release_and_decline_end_a_lease() {
    for kind in [kind::RELEASE, kind::DECLINE] {
        let mut world = World::new();
        world
            .ask(GUEST, &Ask::new(kind::REQUEST).association(1, &[]))
            .unwrap();
        let ask = Ask::new(kind).association(1, &["fd00::1000"]);
        let reply = world.ask(GUEST, &ask).unwrap();
        assert_eq!(status_of(&reply), Some(0));
        assert!(world.server.leases().unwrap().export(world.now).is_empty());
        let next = world
            .ask(GUEST, &Ask::new(kind::REQUEST).association(1, &[]))
            .unwrap();
        assert_eq!(leased(&next).unwrap().0, v6("fd00::1001"));
    }
}

#[test]
fn prefixes_are_not_delegated_and_that_is_said() {
    let mut world = World::new();
    let mut solicit = Ask::new(kind::SOLICIT);
    solicit.option(option::IA_PD, &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    let reply = world.ask(GUEST, &solicit).unwrap();
    let delegation = find(&reply[4..], option::IA_PD).unwrap();
    assert_eq!(delegation[..4], [0, 0, 0, 9]);
    assert_eq!(
        find(&delegation[12..], option::STATUS).unwrap()[..2],
        [0, 6]
    );
}

#[test]
fn a_reservation_gives_address_and_name() {
    let reservation = Reservation {
        mac: GUEST,
        addresses: vec![[10, 0, 2, 50].into(), v6("fd00::50").into()],
        hostname: Some("db".to_owned()),
    };
    let mut world = World::with(|_| (), vec![reservation]);
    let request = Ask::new(kind::REQUEST).association(1, &[]);
    let reply = world.ask(GUEST, &request).unwrap();
    assert_eq!(leased(&reply), Some((v6("fd00::50"), 1000)));
    assert_eq!(
        world.hosts.name(world.now, v6("fd00::50").into()),
        Some("db")
    );
}

#[test]
fn a_guest_is_known_by_the_name_it_gives() {
    let mut world = World::new();
    let mut request = Ask::new(kind::REQUEST).association(1, &[]);
    request.option(option::CLIENT_FQDN, b"\x01\x03Web\x07example\0");
    world.ask(GUEST, &request).unwrap();
    assert_eq!(
        world.hosts.name(world.now, v6("fd00::1000").into()),
        Some("web")
    );
    let mut bad = Ask::new(kind::REQUEST).association(2, &[]);
    bad.option(option::CLIENT_FQDN, &[0, 63, b'a']);
    assert!(
        world.ask(OTHER, &bad).is_ok(),
        "a label that overruns is no name"
    );
}

#[test]
fn messages_without_the_identifiers_they_must_have_are_refused() {
    let mut world = World::new();
    for kind in [
        kind::SOLICIT,
        kind::REQUEST,
        kind::CONFIRM,
        kind::RENEW,
        kind::REBIND,
    ] {
        let bare = Ask {
            kind,
            options: Vec::new(),
        };
        assert_eq!(world.ask(GUEST, &bare), Err(Silence::Malformed), "{kind}");
    }
    let mut solicit = Ask::new(kind::SOLICIT);
    solicit.option(option::SERVER_ID, &SERVER);
    assert_eq!(world.ask(GUEST, &solicit), Err(Silence::Malformed));
    let mut request = Ask::new(kind::SOLICIT);
    request.kind = kind::REQUEST;
    request.option(option::SERVER_ID, &[0, 3, 0, 1, 9, 9, 9, 9, 9, 9]);
    assert_eq!(world.ask(GUEST, &request), Err(Silence::NotOurs));
    for kind in [kind::ADVERTISE, kind::REPLY, 12, 13, 0, 255] {
        assert_eq!(
            world.ask(GUEST, &Ask::new(kind)),
            Err(Silence::Malformed),
            "{kind}"
        );
    }
}

#[test]
fn unicast_is_refused() {
    let mut world = World::new();
    let mut unicast = |ask: &Ask| {
        let World { server, hosts, now } = &mut world;
        server.handle(*now, GUEST, false, &ask.bytes(), hosts)
    };
    let reply = unicast(&Ask::new(kind::REQUEST).association(1, &[])).unwrap();
    assert_eq!(status_of(&reply), Some(5));
    assert_eq!(unicast(&Ask::new(kind::SOLICIT)), Err(Silence::Malformed));
}

#[test]
fn starvation_one_station_has_a_share() {
    let mut world = World::new();
    for iaid in 0..500 {
        let reply = world
            .ask(GUEST, &Ask::new(kind::REQUEST).association(iaid, &[]))
            .unwrap();
        assert!(leased(&reply).is_some());
        assert!(world.server.leases().unwrap().iter().count() <= crate::services::PER_STATION);
    }
    let reply = world
        .ask(OTHER, &Ask::new(kind::REQUEST).association(1, &[]))
        .unwrap();
    assert!(leased(&reply).is_some());
}

proptest! {
    #[test]
    fn any_message_is_survived(
        kind in 0..14u8,
        keep in 0..90usize,
        garbage in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut world = World::new();
        let mut bytes = Ask::new(kind).association(1, &["fd00::1000"]).bytes();
        bytes.truncate(keep);
        bytes.extend(garbage);
        let World { server, hosts, now } = &mut world;
        if let Ok(reply) = server.handle(*now, GUEST, true, &bytes, hosts) {
            prop_assert!(reply.len() > 4);
        }
    }
}
