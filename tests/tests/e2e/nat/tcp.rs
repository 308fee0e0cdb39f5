//! TCP through the gateway: every byte, every end, many at once.
use super::world::{SERVER4, SERVER6, World, accept, read_all};
use nix::sys::socket::{self, MsgFlags, setsockopt, sockopt};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use tests::{Impairment, needs_root, say};

/// Bytes in each direction, if the environment does not say how many MiB: enough for every window and buffer to wrap many times.
const MUCH: usize = 48 << 20;
const CHUNK: usize = 1 << 16;
/// Connections that are open together.
const AT_ONCE: usize = 2000;
/// Connections one after the other.
const IN_TURN: usize = 10_000;

/// Bytes in each direction.
fn much() -> usize {
    let told = std::env::var("NAT_TEST_MIB").ok();
    told.map_or(MUCH, |mib| {
        mib.parse::<usize>().expect("a number of MiB") << 20
    })
}

/// Bytes that depend on their place, and on who sends them.
fn chunk(seed: u8, index: usize) -> Vec<u8> {
    let index = u32::try_from(index).unwrap();
    let mut state = index.wrapping_mul(2_654_435_761) ^ u32::from(seed) << 24;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let [byte, ..] = state.to_le_bytes();
        byte
    };
    (0..CHUNK).map(|_| next()).collect()
}

/// Sends and ends; the digest of what was sent.
fn send(mut stream: &TcpStream, seed: u8) -> Vec<u8> {
    let mut digest = Sha256::new();
    for index in 0..much() / CHUNK {
        let bytes = chunk(seed, index);
        digest.update(&bytes);
        stream.write_all(&bytes).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    digest.finalize().to_vec()
}

/// Receives to the end; the digest of what came and how much that was.
fn receive(mut stream: &TcpStream) -> (Vec<u8>, usize) {
    let mut digest = Sha256::new();
    let mut bytes = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match stream.read(&mut bytes).unwrap() {
            0 => return (digest.finalize().to_vec(), total),
            length => {
                digest.update(&bytes[..length]);
                total += length;
            }
        }
    }
}

fn both_ways(world: &World, address: IpAddr) {
    if address.is_ipv6() {
        world.wait_ipv6();
    }
    let (listener, to) = world.listen(address);
    let guest = world.connect(to).unwrap();
    let (server, _) = accept(&listener);
    let (up, down) = thread::scope(|scope| {
        let sent_up = scope.spawn(|| send(&guest, 1));
        let sent_down = scope.spawn(|| send(&server, 2));
        let got_up = scope.spawn(|| receive(&server));
        let got_down = receive(&guest);
        let up = (sent_up.join().unwrap(), got_up.join().unwrap());
        (up, (sent_down.join().unwrap(), got_down))
    });
    for (direction, (sent, (got, total))) in [("guest to server", up), ("server to guest", down)] {
        assert_eq!(total, much(), "{direction}");
        assert_eq!(sent, got, "{direction}");
    }
    say(&format!(
        "nat: {} MiB each way at once with {address}, SHA-256 equal",
        much() >> 20
    ));
}

#[test]
fn nat_tcp_loses_and_alters_nothing() {
    if !needs_root("nat_tcp_loses_and_alters_nothing") {
        return;
    }
    both_ways(&World::leased(""), SERVER4);
}

#[test]
fn nat_tcp_loses_and_alters_nothing_over_ipv6() {
    if !needs_root("nat_tcp_loses_and_alters_nothing_over_ipv6") {
        return;
    }
    both_ways(&World::leased(""), SERVER6);
}

#[test]
fn nat_tcp_loses_and_alters_nothing_by_a_wire_that_does() {
    if !needs_root("nat_tcp_loses_and_alters_nothing_by_a_wire_that_does") {
        return;
    }
    let (world, wire) = World::behind_a_bad_wire(Impairment { lost: 10, late: 10 });
    both_ways(&world, SERVER4);
    let (carried, lost, late) = wire.counts();
    assert!(lost > carried / 200 && late > carried / 200, "a good wire");
    say(&format!(
        "nat: {lost} frames of {carried} were lost by the guest's wire, {late} were late"
    ));
}

#[test]
fn nat_half_closed_connections_go_on() {
    if !needs_root("nat_half_closed_connections_go_on") {
        return;
    }
    let world = World::leased("");
    let (listener, to) = world.listen(SERVER4);
    // The guest ends first, the answer still comes.
    let guest = world.connect(to).unwrap();
    let (mut server, _) = accept(&listener);
    (&guest).write_all(b"question").unwrap();
    guest.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&server), b"question");
    server.write_all(&vec![7; 1 << 20]).unwrap();
    drop(server);
    assert_eq!(read_all(&guest), vec![7; 1 << 20]);
    // The server ends first.
    let guest = world.connect(to).unwrap();
    let (server, _) = accept(&listener);
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&guest), b"");
    (&guest).write_all(b"still here").unwrap();
    drop(guest);
    assert_eq!(read_all(&server), b"still here");
    // Somebody resets.
    let guest = world.connect(to).unwrap();
    let (server, _) = accept(&listener);
    (&guest).write_all(b"unread").unwrap();
    let mut first = [0; 1];
    (&server).read_exact(&mut first).unwrap();
    // With bytes that nobody has read, closing is a reset (RFC 2525, 2.17).
    drop(server);
    let error = (&guest).read(&mut first).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// TCP's urgent pointer (RFC 6093) marks a byte of the stream; it does not take it out of the stream.
#[test]
fn nat_urgent_data_keeps_its_place() {
    if !needs_root("nat_urgent_data_keeps_its_place") {
        return;
    }
    let world = World::leased("");
    let (listener, to) = world.listen(SERVER4);
    let guest = world.connect(to).unwrap();
    let (server, _) = accept(&listener);
    for stream in [&guest, &server] {
        setsockopt(stream, sockopt::OobInline, &true).unwrap();
    }
    for (from, at) in [(&server, &guest), (&guest, &server)] {
        let send = |bytes: &[u8], flags| {
            assert_eq!(
                socket::send(from.as_raw_fd(), bytes, flags),
                Ok(bytes.len())
            );
        };
        // The urgent byte alone, too: then nothing else tells the gateway that something has come.
        for (bytes, flags) in [
            (&b"before"[..], MsgFlags::empty()),
            (b"!", MsgFlags::MSG_OOB),
            (b"after", MsgFlags::empty()),
            (b"?", MsgFlags::MSG_OOB),
        ] {
            send(bytes, flags);
            let mut came = vec![0; bytes.len()];
            let mut reader = at;
            reader.read_exact(&mut came).unwrap();
            assert_eq!(came, bytes);
        }
    }
    drop(server);
    assert_eq!(read_all(&guest), b"");
}

#[test]
fn nat_slow_reader_holds_up_its_own_flow_only() {
    if !needs_root("nat_slow_reader_holds_up_its_own_flow_only") {
        return;
    }
    let world = World::leased("");
    let (listener, to) = world.listen(SERVER4);
    let slow = world.connect(to).unwrap();
    let (server, _) = accept(&listener);
    // The server sends as long as somebody takes it.
    server.set_nonblocking(true).unwrap();
    let mut queued = 0;
    let bytes = vec![9; CHUNK];
    let mut idle = 0;
    while idle < 25 {
        if let Ok(length) = (&server).write(&bytes) {
            queued += length;
            idle = 0;
        } else {
            idle += 1;
            thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    // Bounded: what the gateway holds, and both kernels' buffers.
    assert!(
        queued < 64 << 20,
        "{queued} bytes are buffered for a reader that reads nothing"
    );
    let other = world.connect(to).unwrap();
    let (mut peer, _) = accept(&listener);
    peer.write_all(b"fast").unwrap();
    drop(peer);
    assert_eq!(read_all(&other), b"fast");
    // Nothing of it is lost.
    server.set_nonblocking(false).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let (_, total) = receive(&slow);
    assert_eq!(total, queued);
}

#[test]
fn nat_many_connections_at_once_and_one_after_the_other() {
    if !needs_root("nat_many_connections_at_once_and_one_after_the_other") {
        return;
    }
    let world = World::leased("new_flows_per_second = 100000");
    let (listener, to) = world.listen(SERVER4);
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).unwrap();
            stream.write_all(&byte).unwrap();
            if byte == [b'k'] {
                open.push(stream);
            }
        }
    });
    let echo = |mut stream: &TcpStream, byte: u8| {
        stream.write_all(&[byte]).unwrap();
        let mut back = [0; 1];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, [byte]);
    };
    // Within one thread: entering a namespace costs more than a connection.
    world.guest.enter(|| {
        let kept: Vec<TcpStream> = (0..AT_ONCE)
            .map(|_| {
                let stream = TcpStream::connect(to).unwrap();
                echo(&stream, b'k');
                stream
            })
            .collect();
        let flows = world.daemon.network("n").nat.unwrap().flows;
        assert!(flows >= AT_ONCE as u64, "{flows}");
        for number in 0..IN_TURN {
            let stream = TcpStream::connect(to).unwrap_or_else(|error| panic!("{number}: {error}"));
            echo(&stream, b'c');
        }
        drop(kept);
    });
    let nat = world.daemon.network("n").nat.unwrap();
    assert!(nat.counters.tcp_opened >= (AT_ONCE + IN_TURN) as u64);
    say(&format!(
        "nat: {AT_ONCE} connections at once, {IN_TURN} one after the other"
    ));
}
