//! Forwards that keep the address of their clients: the guest sees it, answers it, and the answer finds its way.
use super::spec::{Forward, GuestRef, Transport};
use crate::testkit::*;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A gateway with a forward to a guest's port 22.
fn lab(transport: Transport, guest: IpAddr) -> Lab {
    let mut lab = Lab::new();
    let far = if guest.is_ipv4() { REMOTE } else { REMOTE_V6 };
    lab.tcp_from(SocketAddr::new(guest, 40_000), far, &rst(0));
    lab.wire.frames.clear();
    let forward = Forward {
        transport,
        address: None,
        interface: None,
        first_port: 2222,
        last_port: 2222,
        guest: GuestRef::Address(guest),
        guest_port: 22,
        preserve_source: true,
    };
    lab.gateway.forward_add(lab.now, &forward).unwrap();
    lab
}

/// A client, and the guest's end, of both families.
fn ends() -> [(SocketAddr, SocketAddr); 2] {
    let end = |text: &str| text.parse().unwrap();
    [
        (end("203.0.113.5:51000"), SocketAddr::new(GUEST.ip(), 22)),
        (
            end("[2001:db8::5]:51000"),
            SocketAddr::new(GUEST_V6.ip(), 22),
        ),
    ]
}

/// Where a frame came from and where it goes to.
fn ends_of(frame: &[u8]) -> (SocketAddr, SocketAddr) {
    let v4 = frame[14] >> 4 == 4;
    let address = |at: usize| -> IpAddr {
        if v4 {
            <[u8; 4]>::try_from(&frame[at..at + 4]).unwrap().into()
        } else {
            Ipv6Addr::from_octets(frame[at..at + 16].try_into().unwrap()).into()
        }
    };
    let (source, destination, ports) = if v4 { (26, 30, 34) } else { (22, 38, 54) };
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    (
        SocketAddr::new(address(source), port(ports)),
        SocketAddr::new(address(destination), port(ports + 2)),
    )
}

#[test]
fn a_connection_comes_from_its_client() {
    for (client, guest) in ends() {
        let mut lab = lab(Transport::Tcp, guest.ip());
        lab.socket(0).backlog.push_back(client);
        lab.event(0, READABLE);
        let (frame, meta) = lab.next_frame().unwrap();
        assert_eq!(ends_of(&frame), (client, guest));
        let ours = Tcp::read(&frame, meta).seq + 1;
        let answer = Tcp {
            flags: "SA",
            ack: Some(ours),
            ..syn(500)
        };
        lab.tcp_from(guest, client, &answer);
        assert_eq!(lab.next_tcp().unwrap().ack, Some(501));
        lab.world(1, b"who is there?");
        let (frame, meta) = lab.next_frame().unwrap();
        assert_eq!(ends_of(&frame), (client, guest));
        assert_eq!(Tcp::read(&frame, meta).payload, b"who is there?");
        lab.tcp_from(guest, client, &data(501, ours + 13, b"me"));
        assert_eq!(lab.socket(1).outbox, b"me");
        let flow = lab.gateway.flows(lab.now).next().unwrap();
        assert_eq!((flow.remote, flow.guest), (client, guest));
    }
}

#[test]
fn a_datagram_comes_from_its_client_and_the_answer_leaves_by_the_forwards_socket() {
    for (client, guest) in ends() {
        let mut lab = lab(Transport::Udp, guest.ip());
        arrive(&mut lab, 0, client, b"ping");
        let (frame, _) = lab.next_frame().unwrap();
        assert_eq!(ends_of(&frame), (client, guest));
        assert!(frame.ends_with(b"ping"));
        udp_from(&mut lab, guest, client, b"pong");
        let sent = lab.socket(0).sent.last().unwrap();
        assert_eq!((sent.to, &sent.payload[..]), (client, &b"pong"[..]));
        // To whom it is not an answer goes by a socket of the guest's own.
        let stranger = SocketAddr::new(client.ip(), 51_001);
        udp_from(&mut lab, guest, stranger, b"hello");
        assert_eq!(lab.socket(0).sent.len(), 1);
        assert_eq!(lab.socket(1).sent[0].to, stranger);
    }
}

#[test]
fn an_address_of_ipv6_is_kept_where_the_guest_has_a_way_back_to_it() {
    let gateway = |port| SocketAddr::new("fd00::2".parse().unwrap(), port);
    let mut lab = lab(Transport::Tcp, GUEST_V6.ip());
    for (client, seen) in [
        (
            "[2001:db8::5]:51000",
            "[2001:db8::5]:51000".parse().unwrap(),
        ),
        // This host itself, the guests' network, a link of the host's, and the other family.
        ("[::1]:51001", gateway(51_001)),
        ("[fd00::77]:51002", gateway(51_002)),
        ("[fe80::5]:51003", gateway(51_003)),
        ("203.0.113.5:51004", gateway(51_004)),
        ("[::ffff:203.0.113.5]:51005", gateway(51_005)),
    ] {
        lab.socket(0).backlog.push_back(client.parse().unwrap());
        lab.event(0, READABLE);
        let (frame, _) = lab.next_frame().unwrap();
        assert_eq!(ends_of(&frame).0, seen, "{client}");
    }
}
