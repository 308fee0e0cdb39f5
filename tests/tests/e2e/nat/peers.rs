//! Peers that are slow, and peers that are gone.
use super::world::{SERVER4, World, accept, listen, read_all};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::thread;
use std::time::Duration;
use tests::needs_root;

/// Bytes of a fast one.
const MUCH: usize = 8 << 20;
/// Bytes of a slow writer, one at a time.
const DRIPS: u8 = 100;
/// From one to the next: longer than an acknowledgement waits.
const PACE: Duration = Duration::from_millis(60);

/// Writes a byte now and then; each comes before the next is written, as none is kept back until there are more.
fn drip(mut from: &TcpStream, mut to: &TcpStream) {
    from.set_nodelay(true).unwrap();
    for byte in 0..DRIPS {
        // This is what makes it slow; nobody waits for it to be over.
        thread::sleep(PACE);
        from.write_all(&[byte]).unwrap();
        let mut came = [0; 1];
        to.read_exact(&mut came).unwrap();
        assert_eq!(came, [byte]);
    }
}

#[test]
fn nat_slow_writers_are_heard_byte_by_byte_and_hold_up_nobody() {
    if !needs_root("nat_slow_writers_are_heard_byte_by_byte_and_hold_up_nobody") {
        return;
    }
    let world = World::leased("");
    let (listener, to) = world.listen(SERVER4);
    let guest = world.connect(to).unwrap();
    let (server, _) = accept(&listener);
    let other = world.connect(to).unwrap();
    let (peer, _) = accept(&listener);
    thread::scope(|scope| {
        scope.spawn(|| drip(&guest, &server));
        scope.spawn(|| drip(&server, &guest));
        // Beside the whole of that another connection is as fast as ever.
        scope.spawn(|| {
            (&peer).write_all(&vec![7; MUCH]).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_all(&other) == vec![7; MUCH]);
    });
    drop(guest);
    assert_eq!(read_all(&server), b"");
}

/// How a connection ends.
fn end(mut stream: &TcpStream) -> ErrorKind {
    let error = stream.read(&mut [0; 16]).unwrap_err();
    error.kind()
}

#[test]
fn nat_guest_learns_that_its_peer_is_gone() {
    if !needs_root("nat_guest_learns_that_its_peer_is_gone") {
        return;
    }
    let world = World::leased("host_loopback = true");
    // The host gives up within seconds, not after a quarter of an hour.
    world
        .host
        .script("echo 3 > /proc/sys/net/ipv4/tcp_retries2");
    let (listener, to) = world.listen(SERVER4);
    let mut guest = world.connect(to).unwrap();
    let (server, _) = accept(&listener);
    let (own, local) = listen(&world.host, (Ipv4Addr::LOCALHOST, 0).into());
    let mut stays = world
        .connect((Ipv4Addr::new(10, 0, 2, 2), local.port()).into())
        .unwrap();
    let (inside, _) = accept(&own);
    guest.write_all(b"hello").unwrap();
    let mut came = [0; 5];
    (&server).read_exact(&mut came).unwrap();
    // Its cable, and the host's end of that.
    world.server.run("ip link del in");
    guest.write_all(b"anybody there?").unwrap();
    let told = end(&guest);
    // A reset; what the guest's kernel heard before it may be what it tells instead.
    let may = [
        ErrorKind::ConnectionReset,
        ErrorKind::BrokenPipe,
        ErrorKind::NetworkUnreachable,
        ErrorKind::HostUnreachable,
    ];
    assert!(may.contains(&told), "{told:?}");
    // Nobody else is concerned, and who asks for that peer now is told at once.
    stays.write_all(b"still here").unwrap();
    drop(stays);
    assert_eq!(read_all(&inside), b"still here");
    let refused = world.connect(to).unwrap_err().kind();
    assert_eq!(refused, ErrorKind::NetworkUnreachable);
    let flows = world.daemon.client().flows("n").unwrap();
    assert!(flows.iter().all(|flow| flow.remote != to), "{flows:?}");
}

#[test]
fn nat_world_learns_that_a_port_is_gone() {
    if !needs_root("nat_world_learns_that_a_port_is_gone") {
        return;
    }
    let world = World::leased("");
    let (listener, to) = world.listen(SERVER4);
    let _guest = world.connect(to).unwrap();
    let (server, _) = accept(&listener);
    world.daemon.client().remove_port("n", "g").unwrap();
    assert_eq!(end(&server), ErrorKind::ConnectionReset);
    assert_eq!(world.daemon.network("n").nat.unwrap().flows, 0);
}
