//! What guests may not reach, and how they learn what cannot be reached.
use super::world::{HOST4, PATIENCE, SERVER4, World, accept, listen};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tests::needs_root;

/// How a connection from the guest fails; it must not take until it times out.
#[track_caller]
fn refusal(world: &World, to: SocketAddr) -> ErrorKind {
    let start = Instant::now();
    let error = world.connect(to).expect_err("nobody may answer").kind();
    assert!(
        start.elapsed() + Duration::from_secs(1) < PATIENCE,
        "{to}: {error:?} only after a timeout"
    );
    error
}

#[test]
fn nat_guest_learns_what_is_refused_and_what_cannot_be_reached() {
    if !needs_root("nat_guest_learns_what_is_refused_and_what_cannot_be_reached") {
        return;
    }
    let world = World::leased("");
    let (listener, closed) = world.listen(SERVER4);
    drop(listener);
    assert_eq!(refusal(&world, closed), ErrorKind::ConnectionRefused);
    // The host has no way there.
    let nowhere = (Ipv4Addr::new(198, 51, 100, 1), 80).into();
    let error = refusal(&world, nowhere);
    assert!(
        matches!(
            error,
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
        ),
        "{error:?}"
    );
}

#[test]
fn nat_guest_does_not_reach_the_host_unless_that_is_wanted() {
    if !needs_root("nat_guest_does_not_reach_the_host_unless_that_is_wanted") {
        return;
    }
    let gateway: IpAddr = Ipv4Addr::new(10, 0, 2, 2).into();
    let world = World::leased("");
    let (_secret, local) = listen(&world.host, (Ipv4Addr::LOCALHOST, 0).into());
    let (_own, own) = listen(&world.host, SocketAddr::new(HOST4, 0));
    assert_eq!(
        refusal(&world, (gateway, local.port()).into()),
        ErrorKind::ConnectionRefused
    );
    refusal(&world, own);
    drop(world);

    let world = World::leased("host_loopback = true\nhost_addresses = true");
    let (secret, local) = listen(&world.host, (Ipv4Addr::LOCALHOST, 0).into());
    let (own, address) = listen(&world.host, SocketAddr::new(HOST4, 0));
    let _stream = world.connect((gateway, local.port()).into()).unwrap();
    let (_, peer) = accept(&secret);
    assert!(peer.ip().is_loopback(), "{peer}");
    let _stream = world.connect(address).unwrap();
    accept(&own);
}

#[test]
fn nat_policy_decides_by_destination() {
    if !needs_root("nat_policy_decides_by_destination") {
        return;
    }
    let world = World::leased(
        "deny = [\"192.0.2.0/24\"]\nallow = [\"0.0.0.0/0\", \"192.0.2.1\"]\nhost_addresses = true",
    );
    let (_denied, denied) = world.listen(SERVER4);
    let (allowed, address) = listen(&world.host, SocketAddr::new(HOST4, 0));
    refusal(&world, denied);
    let _stream = world.connect(address).unwrap();
    accept(&allowed);
    drop(world);

    let world = World::new("restrict = true\nforwards = [\"tcp:8080=10.0.2.15:80\"]");
    // DHCP serves a restricted guest, but names no way out.
    world.guest.configure("eth0", "10.0.2.15/24");
    world.guest.run("ip route add default via 10.0.2.2");
    let (_denied, denied) = world.listen(SERVER4);
    refusal(&world, denied);
    let (inside, _) = listen(&world.guest, (Ipv4Addr::UNSPECIFIED, 80).into());
    let forwarded = (Ipv4Addr::LOCALHOST, 8080).into();
    let _stream = world
        .host
        .enter(|| std::net::TcpStream::connect_timeout(&forwarded, PATIENCE))
        .unwrap();
    accept(&inside);
    let dropped = world.daemon.network("n").nat.unwrap().counters.drops;
    assert!(
        dropped.get("policy").is_some_and(|count| *count > 0),
        "{dropped:?}"
    );
}

/// The kernel refuses the datagram long after the gateway has taken it from the guest.
#[test]
fn nat_guest_learns_that_a_datagram_cannot_be_sent() {
    if !needs_root("nat_guest_learns_that_a_datagram_cannot_be_sent") {
        return;
    }
    let world = World::leased("");
    world.wait_ipv6();
    // The host has no way to either.
    for (any, nowhere) in [
        ("0.0.0.0:0", "198.51.100.1:443"),
        ("[::]:0", "[2001:db8::1]:443"),
    ] {
        let nowhere: SocketAddr = nowhere.parse().unwrap();
        let socket = world.guest.enter(|| UdpSocket::bind(any)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // Otherwise an unreachable network is not told to who sends (udp(7)).
        if nowhere.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true).unwrap();
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true).unwrap();
        }
        socket.connect(nowhere).unwrap();
        socket.send(b"hello?").unwrap();
        let error = socket.recv(&mut [0; 16]).unwrap_err().kind();
        assert_eq!(error, ErrorKind::NetworkUnreachable, "{nowhere}");
    }
}
