//! Forwards: from a client of the world to a guest.
use super::*;
use crate::testkit::*;
use std::net::Ipv4Addr;
use std::time::Duration;

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5)), 51_000);

fn forward(transport: Transport, guest: GuestRef) -> Forward {
    Forward {
        transport,
        address: None,
        interface: None,
        first_port: 2222,
        last_port: 2222,
        guest,
        guest_port: 22,
        preserve_source: false,
    }
}

fn to_guest(transport: Transport) -> Forward {
    forward(transport, GuestRef::Address(GUEST.ip()))
}

/// The guest is heard, so that its MAC address is known.
fn hear_guest(lab: &mut Lab) {
    lab.tcp(&rst(0));
    lab.wire.frames.clear();
}

fn knock(lab: &mut Lab, index: usize, client: SocketAddr) {
    lab.socket(index).backlog.push_back(client);
    lab.event(index, READABLE);
}

/// The next segment to a guest, with who it says it is from.
#[track_caller]
fn next_from(lab: &mut Lab) -> (SocketAddr, Tcp) {
    let (frame, meta) = lab.next_frame().expect("a segment");
    let source = Ipv4Addr::from_octets(frame[26..30].try_into().unwrap());
    let port = u16::from_be_bytes([frame[34], frame[35]]);
    assert_eq!(frame[36..38], 22_u16.to_be_bytes(), "to the guest's port");
    (
        SocketAddr::new(source.into(), port),
        Tcp::read(&frame, meta),
    )
}

#[test]
fn a_client_reaches_the_guest_and_bytes_go_both_ways() {
    let mut lab = Lab::new();
    hear_guest(&mut lab);
    lab.gateway
        .forward_add(lab.now, &to_guest(Transport::Tcp))
        .unwrap();
    knock(&mut lab, 0, CLIENT);
    let (from, asked) = next_from(&mut lab);
    assert_eq!(
        (from, asked.flags),
        (SocketAddr::new(GATEWAY, CLIENT.port()), "S")
    );
    assert_eq!(
        (asked.mss, asked.shift, asked.sack),
        (Some(1460), Some(7), true)
    );
    let guest = SocketAddr::new(GUEST.ip(), 22);
    let ours = asked.seq + 1;
    lab.tcp_from(
        guest,
        from,
        &Tcp {
            flags: "SA",
            ack: Some(ours),
            ..syn(500)
        },
    );
    assert_eq!(next_from(&mut lab).1.ack, Some(501));
    lab.world(1, b"SSH-2.0-client");
    assert_eq!(next_from(&mut lab).1.payload, b"SSH-2.0-client");
    lab.tcp_from(guest, from, &data(501, ours + 14, b"SSH-2.0-server"));
    assert_eq!(lab.socket(1).outbox, b"SSH-2.0-server");
}

#[test]
fn a_guest_that_refuses_resets_the_client() {
    let mut lab = Lab::new();
    hear_guest(&mut lab);
    lab.gateway
        .forward_add(lab.now, &to_guest(Transport::Tcp))
        .unwrap();
    knock(&mut lab, 0, CLIENT);
    let (from, asked) = next_from(&mut lab);
    let guest = SocketAddr::new(GUEST.ip(), 22);
    lab.tcp_from(
        guest,
        from,
        &Tcp {
            flags: "RA",
            ack: Some(asked.seq + 9),
            ..rst(0)
        },
    );
    assert!(!lab.socket(1).reset, "a reset with another number");
    lab.wire.frames.clear();
    lab.tcp_from(
        guest,
        from,
        &Tcp {
            flags: "RA",
            ack: Some(asked.seq + 1),
            ..rst(0)
        },
    );
    assert!(lab.socket(1).reset);
    assert_eq!(lab.gateway.flows(lab.now).count(), 0);
}

#[test]
fn a_guest_that_is_not_there_is_asked_for_and_then_the_client_is_reset() {
    let mut lab = Lab::new();
    lab.gateway
        .forward_add(lab.now, &to_guest(Transport::Tcp))
        .unwrap();
    knock(&mut lab, 0, CLIENT);
    let (request, _) = lab.next_frame().expect("an ARP request");
    assert_eq!(request[12..14], [8, 6]);
    assert_eq!(request[38..42], [10, 0, 2, 15]);
    lab.pass(Duration::from_secs(4));
    assert_eq!(lab.socket(1).remote, Some(CLIENT));
    assert!(lab.socket(1).reset);
    assert_eq!(lab.gateway.counters().dropped(DropReason::NoGuest), 1);
    lab.wire.frames.clear();
    // One that answers meanwhile gets the client that waits.
    knock(&mut lab, 0, CLIENT);
    lab.pass(Duration::from_secs(1));
    lab.wire.frames.clear();
    lab.tcp(&rst(0));
    lab.pass(Duration::from_secs(1));
    assert_eq!(next_from(&mut lab).1.flags, "S");
}

#[test]
fn a_clients_address_is_kept_where_it_may_be() {
    let mut lab = Lab::new();
    hear_guest(&mut lab);
    let keep = Forward {
        preserve_source: true,
        ..to_guest(Transport::Tcp)
    };
    lab.gateway.forward_add(lab.now, &keep).unwrap();
    let gateway = |port| SocketAddr::new(GATEWAY, port);
    for (client, seen) in [
        ("203.0.113.5:51000", CLIENT),
        (
            "[::ffff:203.0.113.6]:51000",
            "203.0.113.6:51000".parse().unwrap(),
        ),
        ("127.0.0.1:51000", gateway(51_000)),
        ("10.0.2.77:51001", gateway(51_001)),
        ("[2001:db8::1]:51002", gateway(51_002)),
        // The gateway's port that this one had is taken.
        ("127.0.0.2:51000", gateway(FIRST_EPHEMERAL)),
    ] {
        knock(&mut lab, 0, client.parse().unwrap());
        assert_eq!(next_from(&mut lab).0, seen, "{client}");
    }
}

#[test]
fn datagrams_have_a_session_and_answers_leave_by_the_forwards_socket() {
    let mut lab = Lab::new();
    hear_guest(&mut lab);
    lab.gateway
        .forward_add(lab.now, &to_guest(Transport::Udp))
        .unwrap();
    lab.socket(0).arrived.push_back((CLIENT, b"ping".to_vec()));
    lab.event(0, READABLE);
    let (frame, _) = lab.next_frame().unwrap();
    assert_eq!(
        (&frame[36..38], &frame[42..]),
        (&22_u16.to_be_bytes()[..], &b"ping"[..])
    );
    let seen = SocketAddr::new(GATEWAY, u16::from_be_bytes([frame[34], frame[35]]));
    let mut answer = vec![0, 22];
    answer.extend(seen.port().to_be_bytes());
    answer.extend([0, 12, 0, 0, b'p', b'o', b'n', b'g']);
    lab.packet(
        GUEST.ip(),
        GATEWAY,
        smoltcp::wire::IpProtocol::Udp,
        12,
        |place| {
            place.copy_from_slice(&answer);
        },
    );
    let sent = &lab.socket(0).sent[0];
    assert_eq!((sent.to, &sent.payload[..]), (CLIENT, &b"pong"[..]));
    assert_eq!(lab.gateway.flows(lab.now).count(), 1);
    assert!(lab.gateway.forward_remove(&to_guest(Transport::Udp)));
    assert_eq!(lab.gateway.flows(lab.now).count(), 0);
    assert_eq!(lab.host().open_count(), 0);
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let mut lab = Lab::new();
    hear_guest(&mut lab);
    lab.gateway
        .forward_add(lab.now, &to_guest(Transport::Udp))
        .unwrap();
    let inside = SocketAddr::new(GUEST.ip(), 22);
    for asked in ["192.0.2.1", "192.0.2.9"] {
        let asked: IpAddr = asked.parse().unwrap();
        lab.socket(0).asked = Some(asked);
        arrive(&mut lab, 0, CLIENT, b"ping");
        let (frame, _) = lab.next_frame().unwrap();
        let port = u16::from_be_bytes([frame[34], frame[35]]);
        // One client at two addresses: the guest tells them apart, too.
        udp_from(&mut lab, inside, SocketAddr::new(GATEWAY, port), b"pong");
        let sent = lab.socket(0).sent.last().unwrap();
        assert_eq!((sent.to, sent.from), (CLIENT, Some(asked)));
    }
    assert_eq!(lab.gateway.flows(lab.now).count(), 2);
}

#[test]
fn a_datagram_waits_until_the_guest_is_found() {
    let mut lab = Lab::new();
    let forward = to_guest(Transport::Udp);
    lab.gateway.forward_add(lab.now, &forward).unwrap();
    lab.socket(0).arrived.push_back((CLIENT, b"?".to_vec()));
    lab.event(0, READABLE);
    let (frame, _) = lab.next_frame().unwrap();
    assert_eq!(frame[12..14], [8, 6], "who has that address?");
    assert_eq!(lab.socket(0).arrived.len(), 1);
    hear_guest(&mut lab);
    lab.pass(Duration::from_millis(250));
    let (frame, _) = lab.next_frame().unwrap();
    assert_eq!(frame[42..], *b"?");
}

#[test]
fn datagrams_of_a_forward_wait_for_room_in_the_network() {
    let mut lab = Lab::new();
    hear_guest(&mut lab);
    let forward = to_guest(Transport::Udp);
    lab.gateway.forward_add(lab.now, &forward).unwrap();
    lab.wire.room = 3;
    for number in 0..8u8 {
        lab.socket(0).arrived.push_back((CLIENT, vec![number]));
    }
    lab.event(0, READABLE);
    let mut taken = Vec::new();
    while taken.len() < 8 {
        assert_eq!(lab.wire.frames.len(), (8 - taken.len()).min(3));
        while let Some((frame, _)) = lab.next_frame() {
            taken.extend_from_slice(&frame[42..]);
        }
        lab.poll();
    }
    assert_eq!(taken, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(lab.gateway.counters().dropped(DropReason::NoRoom), 0);
}

#[test]
fn sessions_that_the_guest_does_not_answer_are_short_and_take_no_turn_of_its_own() {
    let mut lab = Lab::with(|config| config.quotas.flows_per_guest = 400);
    hear_guest(&mut lab);
    let forward = to_guest(Transport::Udp);
    lab.gateway.forward_add(lab.now, &forward).unwrap();
    for port in 1000..1300 {
        let client = SocketAddr::new(CLIENT.ip(), port);
        lab.socket(0).arrived.push_back((client, b"?".to_vec()));
        lab.event(0, READABLE);
        lab.wire.frames.clear();
    }
    assert_eq!(
        lab.gateway.flows(lab.now).count(),
        100,
        "a quarter of what it may have"
    );
    let opened = lab.host().sockets.len();
    for port in 0..300_u16 {
        let from = SocketAddr::new(GUEST.ip(), 2000 + port);
        lab.tcp_from(from, REMOTE, &syn(u32::from(port)));
    }
    assert_eq!(
        lab.host().sockets.len(),
        opened + 300,
        "the rest is the guest's"
    );
    lab.pass(Duration::from_secs(31));
    let left = lab.gateway.flows(lab.now);
    assert_eq!(
        left.filter(|flow| flow.protocol == crate::Protocol::Udp)
            .count(),
        0
    );
    assert_eq!(lab.gateway.guest_of(GUEST_MAC).unwrap().unanswered, 0);
}

#[test]
fn a_client_at_a_services_port_is_not_shown_as_that_service() {
    let mut lab = Lab::new();
    hear_guest(&mut lab);
    lab.gateway
        .forward_add(lab.now, &to_guest(Transport::Udp))
        .unwrap();
    for port in [53, 67, 69, 547] {
        let client = SocketAddr::new(CLIENT.ip(), port);
        lab.socket(0).arrived.push_back((client, b"?".to_vec()));
        lab.event(0, READABLE);
        let (frame, _) = lab.next_frame().unwrap();
        assert!(u16::from_be_bytes([frame[34], frame[35]]) >= 49_152);
    }
}

#[test]
fn all_ports_of_a_range_or_none() {
    let mut lab = Lab::new();
    hear_guest(&mut lab);
    let range = Forward {
        last_port: 2225,
        ..to_guest(Transport::Tcp)
    };
    lab.gateway.forward_add(lab.now, &range).unwrap();
    assert_eq!(
        lab.gateway.forward_add(lab.now, &range),
        Err(HostError::AddressInUse)
    );
    let ports: Vec<u16> = lab
        .host()
        .sockets
        .iter()
        .map(|s| s.listen.as_ref().unwrap().port)
        .collect();
    assert_eq!(ports, [2222, 2223, 2224, 2225]);
    knock(&mut lab, 3, CLIENT);
    let (frame, _) = lab.next_frame().unwrap();
    assert_eq!(frame[36..38], 25_u16.to_be_bytes());
    assert!(lab.gateway.forward_remove(&range));
    assert!(!lab.gateway.forward_remove(&range));
    // The connection stays.
    assert_eq!(lab.host().open_count(), 1);
    lab.host().refuse = Some(HostError::AddressInUse);
    assert_eq!(
        lab.gateway.forward_add(lab.now, &range),
        Err(HostError::AddressInUse)
    );
    assert_eq!(
        (lab.host().open_count(), lab.gateway.forwards().count()),
        (1, 0)
    );
}

#[test]
fn a_host_without_descriptors_leaves_the_client_waiting() {
    let mut lab = Lab::new();
    hear_guest(&mut lab);
    lab.gateway
        .forward_add(lab.now, &forward(Transport::Tcp, GuestRef::Any))
        .unwrap();
    lab.host().refuse = Some(HostError::NoResources);
    lab.socket(0).backlog.push_back(CLIENT);
    lab.event(0, READABLE);
    assert!(lab.next_frame().is_none());
    lab.host().refuse = None;
    // The fake host has forgotten the client that it could not hand out.
    lab.socket(0).backlog.push_back(CLIENT);
    lab.pass(Duration::from_secs(1));
    assert_eq!(next_from(&mut lab).1.flags, "S");
}
