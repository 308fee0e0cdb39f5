use super::*;
use crate::network::gateway::events::Events;
use nat::{TokenClass, forward::Transport};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    events: Events,
    host: HostSockets,
}

impl Bench {
    fn new() -> Self {
        let events = Events::new().unwrap();
        let host = HostSockets::new(events.watch(), Vec::new());
        Self { events, host }
    }

    /// Does it again with every event until it does not block any more.
    #[track_caller]
    fn until<T>(
        &mut self,
        mut act: impl FnMut(&mut HostSockets) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        let start = Instant::now();
        loop {
            match act(&mut self.host) {
                Err(HostError::WouldBlock) => {}
                result => return result,
            }
            assert!(start.elapsed() < PATIENCE, "it blocks for ever");
            self.events.wait(Some(Duration::from_millis(100)));
            while self.events.take().is_some() {}
        }
    }
}

fn token(index: u32) -> Token {
    Token::new(TokenClass::Tcp, index, 0)
}

fn localhost(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[test]
fn a_peer_is_probed_after_hours_or_soon_if_asked_for() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind(localhost(0)).unwrap();
    let address = listener.local_addr().unwrap();
    let connected = bench.host.tcp_connect(token(1), address).unwrap();
    let _peer = listener.accept().unwrap();
    bench.until(|host| host.tcp_connected(connected)).unwrap();
    let at = ListenAt {
        address: Some(Ipv4Addr::LOCALHOST.into()),
        interface: None,
        port: 0,
    };
    let forward = bench.host.tcp_listen(token(2), &at).unwrap();
    let fd = bench.host.table.fd(forward).unwrap();
    let port = socket2::SockRef::from(&fd).local_addr().unwrap();
    let _client = TcpStream::connect(port.as_socket().unwrap()).unwrap();
    let accepted = bench.until(|host| host.tcp_accept(forward, token(3)));
    for socket in [connected, accepted.unwrap().0] {
        let times = |bench: &Bench| {
            let fd = bench.host.table.fd(socket).unwrap();
            let socket = socket2::SockRef::from(&fd);
            (
                socket.keepalive().unwrap(),
                socket.tcp_keepalive_time().unwrap(),
            )
        };
        let (is_on, long) = times(&bench);
        assert!(is_on && long > Duration::from_mins(1), "{long:?}");
        bench.host.keep_alive(socket);
        assert_eq!(times(&bench), (true, Duration::from_mins(1)));
    }
}

#[test]
fn a_connection_carries_bytes_and_half_closes() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind(localhost(0)).unwrap();
    let socket = bench
        .host
        .tcp_connect(token(1), listener.local_addr().unwrap())
        .unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    bench.until(|host| host.tcp_connected(socket)).unwrap();
    let sent = bench
        .host
        .write(socket, &[IoSlice::new(b"he"), IoSlice::new(b"llo")]);
    assert_eq!(sent, Ok(5));
    bench.host.shutdown_write(socket);
    let mut got = String::new();
    peer.read_to_string(&mut got).unwrap();
    assert_eq!(got, "hello");
    peer.write_all(b"bye").unwrap();
    let mut bytes = [0; 8];
    let read = bench.until(|host| host.read(socket, &mut [IoSliceMut::new(&mut bytes)]));
    assert_eq!(read, Ok(3));
    drop(peer);
    let end = bench.until(|host| host.read(socket, &mut [IoSliceMut::new(&mut [0; 8])]));
    assert_eq!(end, Ok(0));
    bench.host.close(socket);
    assert_eq!(bench.host.count(), 0);
    assert_eq!(bench.host.write(socket, &[]), Err(HostError::Reset));
}

#[test]
fn a_refused_connection_is_told_as_such() {
    let mut bench = Bench::new();
    let free = TcpListener::bind(localhost(0))
        .unwrap()
        .local_addr()
        .unwrap();
    let outcome = match bench.host.tcp_connect(token(1), free) {
        Ok(socket) => bench.until(|host| host.tcp_connected(socket)),
        Err(error) => Err(error),
    };
    assert_eq!(outcome, Err(HostError::Refused));
}

#[test]
fn a_reset_reaches_the_peer() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind(localhost(0)).unwrap();
    let socket = bench
        .host
        .tcp_connect(token(1), listener.local_addr().unwrap())
        .unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    bench.until(|host| host.tcp_connected(socket)).unwrap();
    bench.host.reset(socket);
    let error = peer.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn forwards_accept_and_a_given_socket_is_used() {
    let mut bench = Bench::new();
    let given = listen::open_listener(
        Transport::Tcp,
        &ListenAt {
            address: Some(Ipv4Addr::LOCALHOST.into()),
            interface: None,
            port: 0,
        },
    );
    let given = given.unwrap();
    let port = socket2::SockRef::from(&given)
        .local_addr()
        .unwrap()
        .as_socket()
        .unwrap()
        .port();
    let at = ListenAt {
        address: Some(Ipv4Addr::LOCALHOST.into()),
        interface: None,
        port,
    };
    // Whoever tries to open it himself finds it busy.
    let busy = bench.host.tcp_listen(token(1), &at);
    assert_eq!(busy, Err(HostError::AddressInUse));
    bench.host.give(GivenSocket {
        transport: Transport::Tcp,
        at: at.clone(),
        socket: given,
    });
    let listener = bench.host.tcp_listen(token(1), &at).unwrap();
    let client = TcpStream::connect(localhost(port)).unwrap();
    let (_, peer) = bench
        .until(|host| host.tcp_accept(listener, token(2)))
        .unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

fn datagram(to: SocketAddr, payload: &[u8]) -> Outgoing<'_> {
    Outgoing {
        to,
        from: None,
        payload,
        segment: None,
        hop_limit: Some(64),
        dont_fragment: false,
        traffic_class: 0,
    }
}

#[test]
fn datagrams_of_a_burst_arrive_one_by_one_and_in_order() {
    let mut bench = Bench::new();
    let peer = UdpSocket::bind(localhost(0)).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = peer.local_addr().unwrap();
    let socket = bench.host.udp_open(token(1), Family::V4).unwrap();
    let sizes = [100, 100, 100, 40, 100, 7, 7, 200, 0, 1];
    for (index, size) in (0u8..).zip(&sizes) {
        let payload = vec![index; *size];
        bench.host.send(socket, &datagram(to, &payload)).unwrap();
    }
    bench.host.flush();
    let mut bytes = [0; 300];
    for (index, size) in (0u8..).zip(&sizes) {
        let (length, from) = peer.recv_from(&mut bytes).unwrap();
        assert_eq!(bytes[..length], vec![index; *size], "datagram {index}");
        peer.send_to(&bytes[..length], from).unwrap();
    }
    let mut back = Vec::new();
    while back.len() < sizes.len() {
        bench
            .until(|host| {
                let got = host.receive(socket, 64, &mut |incoming| {
                    assert_eq!(incoming.from, to);
                    assert_eq!(incoming.hop_limit, Some(64));
                    let size = incoming
                        .segment
                        .map_or(incoming.payload.len().max(1), usize::from);
                    let count = incoming.payload.len().div_ceil(size).max(1);
                    back.extend(
                        (0..count).map(|part| incoming.payload[part * size..].len().min(size)),
                    );
                })?;
                if got == 0 {
                    Err(HostError::WouldBlock)
                } else {
                    Ok(())
                }
            })
            .unwrap();
    }
    assert_eq!(back, sizes);
}

#[test]
fn a_port_that_nobody_has_is_told_by_the_error_queue() {
    let mut bench = Bench::new();
    let to = UdpSocket::bind(localhost(0)).unwrap().local_addr().unwrap();
    let socket = bench.host.udp_open(token(1), Family::V4).unwrap();
    bench.host.send(socket, &datagram(to, b"anybody?")).unwrap();
    bench.host.flush();
    let error = bench.until(|host| host.receive_error(socket).ok_or(HostError::WouldBlock));
    let error = error.unwrap();
    assert_eq!((error.icmp_type, error.icmp_code), (3, 3));
    assert_eq!(error.destination, to);
    assert_eq!(error.offender, Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(error.quoted, b"anybody?");
}

#[test]
fn what_the_kernel_refuses_after_it_was_held_back_is_told() {
    let mut bench = Bench::new();
    let socket = bench.host.udp_open(token(7), Family::V4).unwrap();
    // Nobody asked for SO_BROADCAST: EACCES on any host.
    let to = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
    for payload in [&b"one"[..], b"two", b"3"] {
        bench.host.send(socket, &datagram(to, payload)).unwrap();
    }
    bench.host.flush();
    let unsent = bench.host.take_unsent().expect("it was refused");
    assert_eq!((unsent.token, unsent.socket), (token(7), socket));
    assert_eq!((unsent.to, unsent.count), (to, 3));
    assert_eq!(unsent.error, HostError::NotPermitted);
    assert_eq!(unsent.quoted, b"one");
    assert_eq!(bench.host.take_unsent(), None);
    bench.host.send(socket, &datagram(to, b"last")).unwrap();
    bench.host.close(socket);
    assert_eq!(bench.host.take_unsent().unwrap().quoted, b"last");
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let mut bench = Bench::new();
    let at = ListenAt {
        address: None,
        interface: None,
        port: 0,
    };
    let socket = bench.host.udp_listen(token(1), &at).unwrap();
    let own = bench.host.table.fd(socket).unwrap();
    let port = socket2::SockRef::from(&own).local_addr().unwrap();
    let port = port.as_socket().unwrap().port();
    for asked in ["127.0.0.1", "127.0.0.2", "::1"] {
        let asked: IpAddr = asked.parse().unwrap();
        let any = match asked {
            IpAddr::V4(_) => "0.0.0.0:0",
            IpAddr::V6(_) => "[::]:0",
        };
        let peer = UdpSocket::bind(any).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.send_to(b"question", (asked, port)).unwrap();
        let mut found = None;
        bench
            .until(|host| {
                host.receive(socket, 1, &mut |incoming| {
                    found = Some((incoming.from, incoming.to));
                })?;
                found.map(drop).ok_or(HostError::WouldBlock)
            })
            .unwrap();
        let (client, to) = found.unwrap();
        assert_eq!(to, Some(asked));
        // Several: with UDP_SEGMENT beside the address.
        for payload in [b"one", b"two"] {
            let answer = Outgoing {
                from: to,
                ..datagram(client, payload)
            };
            bench.host.send(socket, &answer).unwrap();
        }
        bench.host.flush();
        assert_eq!(bench.host.take_unsent(), None);
        for expected in [b"one", b"two"] {
            let mut bytes = [0; 8];
            let (length, from) = peer.recv_from(&mut bytes).unwrap();
            assert_eq!(
                (&bytes[..length], from),
                (&expected[..], (asked, port).into())
            );
        }
    }
}

#[test]
fn own_addresses_are_known() {
    let mut bench = Bench::new();
    assert!(bench.host.is_own_address(Ipv4Addr::LOCALHOST.into()));
    assert!(bench.host.is_own_address("::1".parse().unwrap()));
    assert!(
        bench
            .host
            .is_own_address("::ffff:127.9.9.9".parse().unwrap())
    );
    assert!(!bench.host.is_own_address("192.0.2.77".parse().unwrap()));
}
