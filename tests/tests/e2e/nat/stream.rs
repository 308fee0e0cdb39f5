//! The TCP sender of `benches`, a guest on a vhost-user port, through the gateway.
use super::world::{SERVER4, World, accept};
use benches::{Endpoint, Pattern, Role, StreamGuest, StreamLoad, StreamOptions, stream};
use std::io::Read;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::thread;
use std::time::Duration;
use tests::{needs_root, say};

/// Reads to the end and compares every byte; how many there were.
fn verify(mut stream: &TcpStream, pattern: &Pattern) -> u64 {
    let mut bytes = vec![0; 1 << 17];
    let mut total = 0;
    loop {
        match stream.read(&mut bytes).unwrap() {
            0 => return total,
            length => {
                assert!(pattern.matches(total, &bytes[..length]), "byte {total} on");
                total += length as u64;
            }
        }
    }
}

#[test]
fn nat_large_frames_of_a_vhost_user_guest_come_out_byte_by_byte() {
    if !needs_root("nat_large_frames_of_a_vhost_user_guest_come_out_byte_by_byte") {
        return;
    }
    // A port of its own beside the tap.
    let world = World::new("[networks.n.ports.v]");
    let (listener, to) = world.listen(SERVER4);
    let SocketAddr::V4(to) = to else {
        panic!("{to} is no IPv4 address");
    };
    let pattern = Pattern::new();
    for packed in [false, true] {
        let options = StreamOptions {
            packed,
            ..StreamOptions::default()
        };
        let (streamed, received) = thread::scope(|scope| {
            let sender = scope.spawn(|| send(&world, to, options));
            let (server, _) = accept(&listener);
            let received = verify(&server, &pattern);
            drop(server);
            (sender.join().unwrap(), received)
        });
        assert_eq!(streamed.total, received, "packed {packed}");
        assert!(received > 1 << 20, "only {received} bytes");
        // Large frames were large.
        let mean = streamed.total / streamed.frames.max(1);
        assert!(mean > 8 << 10, "frames of {mean} bytes: {streamed:?}");
        say(&format!(
            "nat: {received} bytes of a vhost-user guest verified, {mean} in a frame, {} of {} frames sent again, packed {packed}",
            streamed.again, streamed.frames
        ));
    }
    let ports = world.daemon.network("n").ports;
    let faulty: Vec<_> = ports
        .iter()
        .filter(|port| port.last_fault.is_some())
        .collect();
    assert!(faulty.is_empty(), "{faulty:?}");
}

fn send(world: &World, to: SocketAddrV4, options: StreamOptions) -> benches::Streamed {
    let socket = world.daemon.socket("n", "v");
    let endpoint = Endpoint::open(&socket, Role::Connect).expect("nothing to open yet");
    let mut guest = StreamGuest::meet(&endpoint, options).expect("the port is free");
    let load = StreamLoad {
        warm_up: Duration::ZERO,
        time: Duration::from_secs(1),
        ..StreamLoad::new(to)
    };
    stream(&mut guest, &load).unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn nat_a_refused_connection_of_a_vhost_user_guest_is_told() {
    if !needs_root("nat_a_refused_connection_of_a_vhost_user_guest_is_told") {
        return;
    }
    let world = World::new("[networks.n.ports.v]");
    let (listener, to) = world.listen(SERVER4);
    drop(listener);
    let SocketAddr::V4(to) = to else {
        panic!("{to} is no IPv4 address");
    };
    let endpoint = Endpoint::open(&world.daemon.socket("n", "v"), Role::Connect).unwrap();
    let mut guest = StreamGuest::meet(&endpoint, StreamOptions::default()).unwrap();
    let error = stream(&mut guest, &StreamLoad::new(to)).expect_err("nobody listens");
    assert!(error.to_string().contains("refused"), "{error:#}");
}
