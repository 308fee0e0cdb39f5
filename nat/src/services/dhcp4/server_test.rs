use super::*;
use crate::services::cursor::Put;
use crate::services::dhcp4::message::Options;
use proptest::prelude::*;

pub(crate) const GUEST: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// A client's message in the making.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    mac: MacAddr,
    flags: u16,
    ciaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    options: Vec<u8>,
}

impl Ask {
    fn new(mac: MacAddr, kind: MessageType) -> Self {
        Self {
            mac,
            flags: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            options: vec![option::MESSAGE_TYPE, 1, kind as u8],
        }
    }

    pub(crate) fn discover() -> Self {
        Self::new(GUEST, MessageType::Discover)
    }

    /// SELECTING
    fn request(mac: MacAddr, address: Ipv4Addr) -> Self {
        let mut ask = Self::new(mac, MessageType::Request);
        ask.option(option::SERVER_ID, &GATEWAY.octets());
        ask.option(option::REQUESTED_ADDRESS, &address.octets());
        ask
    }

    pub(crate) fn option(&mut self, code: u8, value: &[u8]) -> &mut Self {
        self.options.put_u8(code);
        self.options.put_u8(u8::try_from(value.len()).unwrap());
        self.options.put(value);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![1, 1, 6, 0];
        bytes.put_u32(0x1234_5678);
        bytes.put_u16(0);
        bytes.put_u16(self.flags);
        bytes.put(&self.ciaddr.octets());
        bytes.put(&[0; 8]);
        bytes.put(&self.giaddr.octets());
        bytes.put(self.mac.as_bytes());
        bytes.resize(236, 0);
        bytes.put(&[99, 130, 83, 99]);
        bytes.put(&self.options);
        bytes.put_u8(option::END);
        bytes
    }
}

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
            address: GATEWAY,
            own: vec![GATEWAY, Ipv4Addr::new(10, 0, 2, 3)],
            prefix_len: 24,
            pool: Ipv4Addr::new(10, 0, 2, 15)..=Ipv4Addr::new(10, 0, 2, 30),
            router: true,
            dns: vec![Ipv4Addr::new(10, 0, 2, 3)],
            domain: "internal".parse().ok(),
            search: vec!["internal".parse().unwrap(), "lab.internal".parse().unwrap()],
            mtu: 1500,
            lease_time: Duration::from_hours(1),
            rapid_commit: true,
            boot: None,
        };
        change(&mut config);
        Self {
            hosts: Hosts::new(&reservations, 100),
            server: Server::new(config, reservations),
            now: Duration::from_secs(1000),
        }
    }

    fn ask(&mut self, ask: &Ask) -> Result<Outgoing, Silence> {
        let Self { server, hosts, now } = self;
        server.handle(*now, ask.mac, &ask.bytes(), hosts)
    }

    /// The four messages of a lease; the address.
    fn lease(&mut self, mac: MacAddr) -> Ipv4Addr {
        let offer = self.ask(&Ask::new(mac, MessageType::Discover)).unwrap();
        assert_eq!(kind(&offer), MessageType::Offer as u8);
        let ack = self.ask(&Ask::request(mac, yiaddr(&offer))).unwrap();
        assert_eq!(kind(&ack), MessageType::Ack as u8);
        yiaddr(&ack)
    }
}

fn options(reply: &Outgoing) -> Options<'_> {
    let bytes = &reply.payload;
    Options::parse(&bytes[240..], &bytes[108..236], &bytes[44..108]).unwrap()
}

fn kind(reply: &Outgoing) -> u8 {
    options(reply).u8(option::MESSAGE_TYPE).unwrap()
}

fn yiaddr(reply: &Outgoing) -> Ipv4Addr {
    let octets: [u8; 4] = reply.payload[16..20].try_into().unwrap();
    octets.into()
}

fn named(name: &str, mac: MacAddr, address: [u8; 4]) -> Reservation {
    Reservation {
        mac,
        addresses: vec![IpAddr::from(address)],
        hostname: Some(name.to_owned()),
    }
}

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

#[test]
fn a_lease_tells_all_of_the_network() {
    let mut world = World::new();
    let offer = world.ask(&Ask::discover()).unwrap();
    assert_eq!((kind(&offer), yiaddr(&offer)), (2, FIRST));
    assert_eq!(offer.mac, GUEST);
    assert_eq!(
        offer.destination,
        SocketAddrV4::new(FIRST, 68),
        "unicast to who takes it"
    );
    let ack = world.ask(&Ask::request(GUEST, FIRST)).unwrap();
    assert_eq!((kind(&ack), yiaddr(&ack)), (5, FIRST));
    assert_eq!(ack.payload[..8], [2, 1, 6, 0, 0x12, 0x34, 0x56, 0x78]);
    let options = options(&ack);
    let get = |code| options.get(code).map(<[u8]>::to_vec);
    assert_eq!(get(option::SERVER_ID), Some(vec![10, 0, 2, 2]));
    assert_eq!(get(option::SUBNET_MASK), Some(vec![255, 255, 255, 0]));
    assert_eq!(get(option::ROUTER), Some(vec![10, 0, 2, 2]));
    assert_eq!(get(option::DNS), Some(vec![10, 0, 2, 3]));
    assert_eq!(get(option::BROADCAST), Some(vec![10, 0, 2, 255]));
    assert_eq!(get(option::INTERFACE_MTU), Some(vec![0x05, 0xdc]));
    assert_eq!(get(option::DOMAIN_NAME), Some(b"internal".to_vec()));
    let search = b"\x08internal\0\x03lab\xc0\x00".to_vec();
    assert_eq!(
        get(option::DOMAIN_SEARCH),
        Some(search),
        "compressed (RFC 3397)"
    );
    assert_eq!(
        get(option::LEASE_TIME),
        Some(3600u32.to_be_bytes().to_vec())
    );
    assert_eq!(
        get(option::RENEWAL_TIME),
        Some(1800u32.to_be_bytes().to_vec())
    );
    assert_eq!(
        get(option::REBINDING_TIME),
        Some(3150u32.to_be_bytes().to_vec())
    );
}

#[test]
fn who_cannot_take_unicast_gets_a_broadcast() {
    let mut world = World::new();
    let mut ask = Ask::discover();
    ask.flags = FLAG_BROADCAST;
    let offer = world.ask(&ask).unwrap();
    assert_eq!(offer.mac, MacAddr::BROADCAST);
    assert_eq!(
        offer.destination,
        SocketAddrV4::new(Ipv4Addr::BROADCAST, 68)
    );
}

#[test]
fn a_lease_is_renewed_by_unicast_and_ends_when_it_is_not() {
    let mut world = World::new();
    assert_eq!(world.lease(GUEST), FIRST);
    world.now += Duration::from_mins(30);
    let mut renew = Ask::new(GUEST, MessageType::Request);
    renew.ciaddr = FIRST;
    let ack = world.ask(&renew).unwrap();
    assert_eq!(
        (kind(&ack), ack.destination),
        (5, SocketAddrV4::new(FIRST, 68))
    );
    world.now += Duration::from_mins(59);
    assert_eq!(world.server.leases().export(world.now).len(), 1);
    world.now += Duration::from_mins(1);
    assert!(world.server.leases().export(world.now).is_empty());
}

#[test]
fn init_reboot_is_acknowledged_or_refused_with_a_broadcast() {
    let mut world = World::new();
    world.lease(GUEST);
    let mut reboot = Ask::new(GUEST, MessageType::Request);
    reboot.option(option::REQUESTED_ADDRESS, &FIRST.octets());
    assert_eq!(kind(&world.ask(&reboot).unwrap()), 5);
    for wrong in [
        Ipv4Addr::new(192, 168, 1, 9),
        Ipv4Addr::new(10, 0, 2, 2),
        FIRST,
    ] {
        let mut reboot = Ask::new(OTHER, MessageType::Request);
        reboot.option(option::REQUESTED_ADDRESS, &wrong.octets());
        let nak = world.ask(&reboot).unwrap();
        assert_eq!(
            (kind(&nak), yiaddr(&nak)),
            (6, Ipv4Addr::UNSPECIFIED),
            "{wrong}"
        );
        assert_eq!(nak.destination.ip(), &Ipv4Addr::BROADCAST);
    }
}

#[test]
fn an_offer_is_dropped_when_its_client_takes_another_servers() {
    let mut world = World::new();
    world.ask(&Ask::discover()).unwrap();
    let mut request = Ask::new(GUEST, MessageType::Request);
    request.option(option::SERVER_ID, &[10, 0, 2, 99]);
    request.option(option::REQUESTED_ADDRESS, &FIRST.octets());
    assert_eq!(world.ask(&request), Err(Silence::NotOurs));
    assert_eq!(world.server.leases().iter().count(), 0);
}

#[test]
fn release_and_decline_are_for_the_holder_only() {
    let mut world = World::new();
    let address = world.lease(GUEST);
    for (mac, left) in [(OTHER, 1), (GUEST, 0)] {
        let mut release = Ask::new(mac, MessageType::Release);
        release.ciaddr = address;
        release.option(option::SERVER_ID, &GATEWAY.octets());
        assert_eq!(world.ask(&release), Err(Silence::Done));
        assert_eq!(world.server.leases().export(world.now).len(), left);
    }
    let address = world.lease(GUEST);
    let mut decline = Ask::new(GUEST, MessageType::Decline);
    decline.option(option::SERVER_ID, &GATEWAY.octets());
    decline.option(option::REQUESTED_ADDRESS, &address.octets());
    assert_eq!(world.ask(&decline), Err(Silence::Done));
    assert_ne!(world.lease(GUEST), address, "it is in use by somebody");
}

#[test]
fn inform_tells_of_the_network_and_leases_nothing() {
    let mut world = World::new();
    let mut inform = Ask::new(GUEST, MessageType::Inform);
    inform.ciaddr = Ipv4Addr::new(10, 0, 2, 200);
    let ack = world.ask(&inform).unwrap();
    assert_eq!((kind(&ack), yiaddr(&ack)), (5, Ipv4Addr::UNSPECIFIED));
    assert_eq!(ack.destination, SocketAddrV4::new(inform.ciaddr, 68));
    assert_eq!(options(&ack).get(option::LEASE_TIME), None);
    assert!(options(&ack).get(option::DNS).is_some());
    assert_eq!(world.server.leases().iter().count(), 0);
}

#[test]
fn rapid_commit_makes_two_messages_of_four_if_both_want_it() {
    let mut ask = Ask::discover();
    ask.option(option::RAPID_COMMIT, &[]);
    let mut world = World::new();
    let ack = world.ask(&ask).unwrap();
    assert_eq!(kind(&ack), 5);
    assert_eq!(options(&ack).get(option::RAPID_COMMIT), Some(&[][..]));
    assert_eq!(world.server.leases().export(world.now).len(), 1);
    let mut world = World::with(|config| config.rapid_commit = false, Vec::new());
    assert_eq!(kind(&world.ask(&ask).unwrap()), 2);
}

#[test]
fn a_reservation_gives_address_and_name() {
    let mut world = World::with(|_| (), vec![named("db", GUEST, [10, 0, 2, 100])]);
    let mut ask = Ask::discover();
    ask.option(option::HOST_NAME, b"something-else");
    let offer = world.ask(&ask).unwrap();
    assert_eq!(yiaddr(&offer), Ipv4Addr::new(10, 0, 2, 100));
    assert_eq!(options(&offer).get(option::HOST_NAME), Some(&b"db"[..]));
    let mut thief = Ask::request(OTHER, Ipv4Addr::new(10, 0, 2, 100));
    thief.option(option::HOST_NAME, b"db");
    assert_eq!(kind(&world.ask(&thief).unwrap()), 6);
}

#[test]
fn guests_are_known_by_what_they_call_themselves() {
    let fqdn = |flags: u8, name: &[u8]| [&[flags, 0, 0], name].concat();
    let cases: [(u8, Vec<u8>); 4] = [
        (option::HOST_NAME, b"Web.example.com".to_vec()),
        (option::HOST_NAME, b"web\0".to_vec()),
        (option::CLIENT_FQDN, fqdn(4, b"\x03web\x07example\0")),
        (option::CLIENT_FQDN, fqdn(0, b"web.example")),
    ];
    for (code, value) in cases {
        let mut world = World::new();
        let mut request = Ask::request(GUEST, FIRST);
        request.option(code, &value);
        world.ask(&request).unwrap();
        assert_eq!(
            world.hosts.name(world.now, FIRST.into()),
            Some("web"),
            "{value:?}"
        );
    }
}

#[test]
fn huge_hostname_and_other_impossible_ones_are_not_taken() {
    for name in [
        &[b'a'; 255][..],
        &[b'a'; 64],
        b"",
        b"\xff\xfe",
        b"a b",
        b"-",
    ] {
        let mut world = World::new();
        let mut request = Ask::request(GUEST, FIRST);
        request.option(option::HOST_NAME, name);
        assert_eq!(
            kind(&world.ask(&request).unwrap()),
            5,
            "the lease is given all the same"
        );
        assert_eq!(world.hosts.name(world.now, FIRST.into()), None);
    }
    let mut world = World::new();
    let mut request = Ask::request(GUEST, FIRST);
    request.option(option::CLIENT_FQDN, &[4, 0, 0, 63, b'a']);
    assert_eq!(
        kind(&world.ask(&request).unwrap()),
        5,
        "a label that overruns the option"
    );
}

#[test]
fn network_boot_is_told_in_fields_and_options() {
    let boot = Boot {
        server: GATEWAY,
        server_name: "10.0.2.2".to_owned(),
        file: "pxelinux.0".to_owned(),
    };
    let mut world = World::with(|config| config.boot = Some(boot), Vec::new());
    let mut ask = Ask::discover();
    ask.option(option::PARAMETER_REQUEST, &[66, 67]);
    let offer = world.ask(&ask).unwrap();
    assert_eq!(offer.payload[20..24], [10, 0, 2, 2], "siaddr");
    assert_eq!(offer.payload[108..119], *b"pxelinux.0\0", "file");
    assert_eq!(
        options(&offer).get(option::TFTP_SERVER_NAME),
        Some(&b"10.0.2.2"[..])
    );
    assert_eq!(
        options(&offer).get(option::BOOT_FILE),
        Some(&b"pxelinux.0"[..])
    );
    assert_eq!(
        options(&offer).get(option::INTERFACE_MTU),
        None,
        "not asked for"
    );
}

#[test]
fn who_claims_to_be_a_relay_gets_nothing() {
    let mut world = World::new();
    let address = world.lease(GUEST);
    for giaddr in [Ipv4Addr::new(10, 0, 2, 77), Ipv4Addr::new(192, 168, 9, 1)] {
        for kind in [MessageType::Discover, MessageType::Release] {
            let mut ask = Ask::new(GUEST, kind);
            ask.giaddr = giaddr;
            ask.ciaddr = address;
            let answer = world
                .server
                .handle(world.now, OTHER, &ask.bytes(), &mut world.hosts);
            assert_eq!(answer, Err(Silence::NotOurs));
        }
    }
    let holders = world.server.leases().iter().map(|lease| lease.mac);
    assert_eq!(
        holders.collect::<Vec<_>>(),
        [GUEST],
        "nothing taken, nothing ended"
    );
}

#[test]
fn nobody_is_served_in_another_ones_name() {
    let mut world = World::new();
    let mut answer = |mac: MacAddr, ask: &Ask| {
        world
            .server
            .handle(world.now, mac, &ask.bytes(), &mut world.hosts)
    };
    assert_eq!(answer(OTHER, &Ask::discover()), Err(Silence::Spoofed));
    let group = Ask::new(MacAddr::BROADCAST, MessageType::Discover);
    assert_eq!(answer(MacAddr::BROADCAST, &group), Err(Silence::Spoofed));
}

#[test]
fn starvation_ends_with_silence_and_harms_no_lease() {
    let mut world = World::new();
    let address = world.lease(GUEST);
    for number in 0..2000u16 {
        let [high, low] = number.to_be_bytes();
        let mac = MacAddr([0x02, 0, 0, 0, high, low]);
        match world.ask(&Ask::new(mac, MessageType::Discover)) {
            Ok(offer) => assert_ne!(yiaddr(&offer), address),
            Err(silence) => assert_eq!(silence, Silence::Exhausted),
        }
        assert!(world.server.leases().iter().count() <= 16);
    }
    let mut renew = Ask::new(GUEST, MessageType::Request);
    renew.ciaddr = address;
    assert_eq!(kind(&world.ask(&renew).unwrap()), 5);
}

#[test]
fn bootp_min_size_and_truncated_messages_are_refused_at_every_length() {
    let mut world = World::new();
    let bytes = Ask::discover().bytes();
    // All but the end mark are needed.
    for len in 0..bytes.len() - 1 {
        let answer = world
            .server
            .handle(world.now, GUEST, &bytes[..len], &mut world.hosts);
        assert_eq!(answer, Err(Silence::Malformed), "{len} octets");
    }
}

#[test]
fn what_is_no_request_of_an_ethernet_client_is_refused() {
    let mut world = World::new();
    let changes: [(usize, u8); 5] = [(0, 2), (1, 6), (2, 16), (236, 0), (242, 2)];
    for (at, value) in changes {
        let mut bytes = Ask::discover().bytes();
        bytes[at] = value;
        let answer = world
            .server
            .handle(world.now, GUEST, &bytes, &mut world.hosts);
        assert_eq!(answer, Err(Silence::Malformed), "octet {at}");
    }
}

#[test]
fn names_come_back_with_the_leases_after_a_restart() {
    let mut before = World::new();
    let mut request = Ask::request(GUEST, FIRST);
    request.option(option::HOST_NAME, b"web");
    before.ask(&request).unwrap();
    let kept = before.server.leases().export(before.now);
    let mut after = World::new();
    let World { server, hosts, now } = &mut after;
    server.import(*now, &kept, Duration::from_secs(5), hosts);
    assert_eq!(hosts.name(*now, FIRST.into()), Some("web"));
    assert_ne!(after.lease(OTHER), FIRST);
}

proptest! {
    /// Any octets, at any place of a message that is well-formed but for them: never a panic, and answers are well-formed.
    #[test]
    fn any_message_is_survived(
        at in 0..300usize,
        garbage in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut world = World::new();
        let mut bytes = Ask::discover().bytes();
        let end = bytes.len().min(at);
        bytes.truncate(end);
        bytes.extend(garbage);
        if let Ok(reply) = world.server.handle(world.now, GUEST, &bytes, &mut world.hosts) {
            prop_assert!((300..=1472).contains(&reply.payload.len()));
            kind(&reply);
        }
    }
}
