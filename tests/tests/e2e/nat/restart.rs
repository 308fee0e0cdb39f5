//! A worker that is killed, and a daemon that is: leases and forwards are there again.
use super::world::{PATIENCE, SERVER4, World, accept, read_all};
use control::{ForwardRequest, NetworkState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use tests::{needs_root, wait_until};

fn kill_worker(world: &World) {
    let before = world.daemon.network("n");
    let pid = i32::try_from(before.worker_pid.unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_until("another worker", PATIENCE, || {
        let now = world.daemon.network("n");
        let other = now.worker_pid.is_some() && now.worker_pid != before.worker_pid;
        (other && now.state == NetworkState::Running && now.responsive).then_some(())
    });
}

/// The world and a forward both work.
#[track_caller]
fn works(world: &World) {
    let (listener, to) = world.listen(SERVER4);
    let guest = world.connect(to).unwrap();
    let (mut server, _) = accept(&listener);
    server.write_all(b"hello").unwrap();
    drop(server);
    assert_eq!(read_all(&guest), b"hello");
    let (inside, _) = super::world::listen(&world.guest, (Ipv4Addr::UNSPECIFIED, 80).into());
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, 8080).into();
    let outside = world
        .host
        .enter(|| TcpStream::connect_timeout(&to, PATIENCE))
        .unwrap();
    outside.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut inside, _) = accept(&inside);
    inside.write_all(b"forwarded").unwrap();
    drop(inside);
    assert_eq!(read_all(&outside), b"forwarded");
}

#[test]
fn nat_survives_the_death_of_its_worker_and_of_the_daemon() {
    if !needs_root("nat_survives_the_death_of_its_worker_and_of_the_daemon") {
        return;
    }
    let mut world = World::leased("");
    let forward = ForwardRequest {
        forward: "tcp:8080=web:80".into(),
    };
    world.daemon.client().add_forward("n", &forward).unwrap();
    works(&world);
    let lease = || {
        let leases = world.daemon.client().leases("n").unwrap();
        leases
            .iter()
            .map(|lease| (lease.address, lease.hostname.clone()))
            .collect::<Vec<_>>()
    };
    let before = lease();
    assert_eq!(before, [("10.0.2.15".parse().unwrap(), Some("web".into()))]);
    // A connection of the old worker's is told that it is over as soon as it is used.
    let (listener, to) = world.listen(SERVER4);
    let orphan = world.connect(to).unwrap();
    let (_server, _) = accept(&listener);
    kill_worker(&world);
    assert_eq!(lease(), before);
    let ended = wait_until("the end of a connection", PATIENCE, || {
        let written = (&orphan).write_all(b"?");
        orphan.set_nonblocking(true).unwrap();
        let read = (&orphan).read(&mut [0; 1]);
        let over = |kind| kind != std::io::ErrorKind::WouldBlock;
        match (written, read) {
            (Err(error), _) | (_, Err(error)) if over(error.kind()) => Some(error.kind()),
            _ => None,
        }
    });
    assert_ne!(ended, std::io::ErrorKind::TimedOut);
    works(&world);
    // The whole daemon: its tap goes, and comes again without addresses.
    world.daemon.kill_and_start_again();
    world.guest.run("ip link set eth0 up");
    let leases = world.daemon.client().leases("n").unwrap();
    assert_eq!(leases[0].hostname.as_deref(), Some("web"));
    let told = world.lease();
    assert!(told.contains("ip=10.0.2.15"), "{told}");
    works(&world);
}
