//! Ports of the host that lead to guests.
use super::world::{HOST4, PATIENCE, World, accept, listen, read_all};
use control::{ClientError, ForwardRequest};
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use tests::{Namespace, needs_root};

fn localhost(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Asks what is behind a port and gives the answer; the guest end is served by whoever calls.
#[track_caller]
fn greeting(from: &Namespace, to: SocketAddr) -> Vec<u8> {
    let stream = from
        .enter(|| TcpStream::connect_timeout(&to, PATIENCE))
        .unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    read_all(&stream)
}

#[test]
fn nat_forwards_lead_to_guests_and_change_while_the_daemon_runs() {
    if !needs_root("nat_forwards_lead_to_guests_and_change_while_the_daemon_runs") {
        return;
    }
    let world = World::leased(
        "forwards = [\"tcp:8080=web:80\", \"tcp:127.0.0.1:81=10.0.2.15\", \"udp:5353=:53\"]",
    );
    for port in [80, 81] {
        let (listener, _) = listen(&world.guest, (Ipv4Addr::UNSPECIFIED, port).into());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = write!(stream, "port {port}");
            }
        });
    }
    // By name from the host itself and from elsewhere; a privileged port by address.
    assert_eq!(greeting(&world.host, localhost(8080)), b"port 80");
    assert_eq!(greeting(&world.server, (HOST4, 8080).into()), b"port 80");
    assert_eq!(greeting(&world.host, localhost(81)), b"port 81");
    // UDP, there and back.
    let inside = world
        .guest
        .enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)))
        .unwrap();
    let outside = world
        .server
        .enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
        .unwrap();
    for socket in [&inside, &outside] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    outside.send_to(b"question", (HOST4, 5353)).unwrap();
    let mut bytes = [0; 64];
    let (length, from) = inside.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"question");
    inside.send_to(b"answer", from).unwrap();
    let (length, from) = outside.recv_from(&mut bytes).unwrap();
    assert_eq!(
        (&bytes[..length], from),
        (&b"answer"[..], (HOST4, 5353).into())
    );
    // At run time.
    let client = world.daemon.client();
    let request = |forward: &str| ForwardRequest {
        forward: forward.into(),
    };
    let added = client
        .add_forward("n", &request("hostfwd=tcp::2222-:80"))
        .unwrap();
    assert_eq!(added.forward, "tcp:2222=:80");
    assert_eq!(greeting(&world.host, localhost(2222)), b"port 80");
    client.remove_forward("n", &added.forward).unwrap();
    let gone = world
        .host
        .enter(|| TcpStream::connect_timeout(&localhost(2222), PATIENCE));
    assert_eq!(
        gone.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    // A port that somebody has.
    let (_taken, taken) = listen(&world.host, localhost(0));
    let text = format!("tcp:127.0.0.1:{}=web:80", taken.port());
    let refused = client.add_forward("n", &request(&text)).unwrap_err();
    let ClientError::Api(error) = refused else {
        panic!("{refused}");
    };
    assert_eq!(error.code, "conflict");
    assert!(error.message.contains("is in use"), "{error}");
    let left: Vec<String> = client
        .forwards("n")
        .unwrap()
        .into_iter()
        .map(|f| f.forward)
        .collect();
    assert_eq!(
        left,
        [
            "tcp:8080=web:80",
            "tcp:127.0.0.1:81=10.0.2.15:81",
            "udp:5353=:53"
        ]
    );
}

/// An answer to a client that is gone comes back as an error of the socket that all clients of the forward share.
#[test]
fn nat_forward_goes_on_after_clients_that_are_gone() {
    if !needs_root("nat_forward_goes_on_after_clients_that_are_gone") {
        return;
    }
    let world = World::leased("forwards = [\"udp:5353=:53\"]");
    let bind = |namespace: &Namespace, port: u16| {
        let socket = namespace.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)));
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let inside = bind(&world.guest, 53);
    let mut bytes = [0; 64];
    for number in 0..3u8 {
        let outside = bind(&world.server, 0);
        outside.send_to(&[number], (HOST4, 5353)).unwrap();
        let (length, from) = inside.recv_from(&mut bytes).unwrap();
        assert_eq!(bytes[..length], [number]);
        inside.send_to(&[number; 2], from).unwrap();
        let (length, _) = outside.recv_from(&mut bytes).unwrap();
        assert_eq!(bytes[..length], [number; 2]);
        drop(outside);
        // Each of them is refused.
        for _ in 0..3 {
            inside.send_to(b"late", from).unwrap();
        }
    }
}

#[test]
fn nat_forward_waits_for_its_guest() {
    if !needs_root("nat_forward_waits_for_its_guest") {
        return;
    }
    let world = World::new("forwards = [\"tcp:8080=10.0.2.15:80\"]");
    // Nobody is there: a connection ends instead of hanging for ever.
    let early = world
        .host
        .enter(|| TcpStream::connect_timeout(&localhost(8080), PATIENCE))
        .unwrap();
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut ended = Vec::new();
    let end = std::io::Read::read_to_end(&mut &early, &mut ended);
    assert!(
        ended.is_empty()
            && end.map_or_else(
                |error| error.kind() != std::io::ErrorKind::WouldBlock,
                |_| true
            )
    );
    world.lease();
    let (listener, _) = listen(&world.guest, (Ipv4Addr::UNSPECIFIED, 80).into());
    let stream = world
        .host
        .enter(|| TcpStream::connect_timeout(&localhost(8080), PATIENCE))
        .unwrap();
    let (inside, _) = accept(&listener);
    (&stream).write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&inside), b"hello");
}

/// A client drops answers from an address that it has not asked.
#[test]
fn nat_forward_answers_from_the_address_that_was_asked() {
    if !needs_root("nat_forward_answers_from_the_address_that_was_asked") {
        return;
    }
    let world = World::leased("forwards = [\"udp:5353=:53\"]");
    world.host.run("ip addr add 192.0.2.9/24 dev out");
    world.host.run("ip addr add fd99::9/64 dev out nodad");
    let bind = |namespace: &Namespace, at: &str| {
        let socket = namespace.enter(|| UdpSocket::bind(at)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let inside = bind(&world.guest, "0.0.0.0:53");
    // One client, so that it is the same port of the forward that is asked at several addresses.
    let clients = ["0.0.0.0:0", "[::]:0"].map(|any| bind(&world.server, any));
    let [v4, v6] = &clients;
    for (client, asked) in [
        (v4, "192.0.2.1:5353"),
        (v4, "192.0.2.9:5353"),
        (v6, "[fd99::1]:5353"),
        (v6, "[fd99::9]:5353"),
    ] {
        let asked: SocketAddr = asked.parse().unwrap();
        client.send_to(b"question", asked).unwrap();
        let mut bytes = [0; 64];
        let (length, from) = inside.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"question");
        inside.send_to(b"answer", from).unwrap();
        let (length, from) = client.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..length], from), (&b"answer"[..], asked));
    }
}

#[test]
fn nat_forward_is_open_on_its_interface_only() {
    if !needs_root("nat_forward_is_open_on_its_interface_only") {
        return;
    }
    let world = World::leased("forwards = [\"tcp:%out:8080=10.0.2.15:80\"]");
    let (listener, _) = listen(&world.guest, (Ipv4Addr::UNSPECIFIED, 80).into());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"inside");
        }
    });
    assert_eq!(greeting(&world.server, (HOST4, 8080).into()), b"inside");
    // By another interface nobody listens.
    let refused = world
        .host
        .enter(|| TcpStream::connect_timeout(&localhost(8080), PATIENCE));
    let kind = refused.unwrap_err().kind();
    assert_eq!(kind, std::io::ErrorKind::ConnectionRefused);
}
