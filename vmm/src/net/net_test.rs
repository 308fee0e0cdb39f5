use super::{
    testing::{EchoBackend, Traits},
    *,
};
use crate::memory::GuestRam;
use control::PortPolicy;
use netbackend::network::{Lower, Network, NetworkSpec, PortSpec, PortTransport};
use std::{
    os::unix::net::UnixListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use switch::{Mode, Role};
use vhost::vhost_user::message::VhostUserProtocolFeatures;

fn connect(path: &Path, pairs: u16) -> Result<Link, SessionError> {
    let target = Target::Socket(path.into());
    Link::connect(&target, pairs, GuestRam::new(32 << 20, false).unwrap())
}

#[test]
fn says_what_is_wrong_with_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    drop(UnixListener::bind(path("stale")).unwrap());
    std::fs::write(path("file"), "").unwrap();
    let long = path(&"x".repeat(200));
    for (path, hint) in [
        (path("missing"), "start the back-end first"),
        (path("stale"), "stale socket"),
        (path("file"), "nobody listens"),
        (long, "connecting to"),
    ] {
        let error = connect(&path, 1).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn gives_up_on_a_socket_that_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deaf");
    let _listener = UnixListener::bind(&path).unwrap();
    let start = Instant::now();
    let error = connect(&path, 1).unwrap_err();
    assert!(matches!(error, SessionError::Busy(_)), "{error}");
    assert!(error.to_string().contains("another VM"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_back_end_that_hangs_up_is_not_taken_for_a_busy_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let hang_up = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let error = connect(&path, 1).unwrap_err();
    assert!(matches!(error, SessionError::Protocol { .. }), "{error}");
    hang_up.join().unwrap();
}

#[test]
fn refuses_back_ends_that_cannot_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let check = |traits: Traits, pairs: u16, hint: &str| {
        let _backend = EchoBackend::start(&path, traits);
        let error = connect(&path, pairs).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    };
    let good = Traits::default();
    let legacy = Traits {
        features: 0x3,
        ..good
    };
    check(legacy, 1, "too old");
    let few = Traits {
        queue_num: 2,
        rings: 2,
        ..good
    };
    check(few, 2, "does not serve 2 queue pairs");
    check(few, 4, "does not serve 4 queue pairs");
    let single = Traits {
        protocol: VhostUserProtocolFeatures::REPLY_ACK,
        ..good
    };
    check(single, 2, "does not serve 2");
}

#[test]
fn takes_queue_numbers_as_pairs_and_as_rings() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    for (queue_num, rings) in [(2, 4), (4, 4), (128, 256)] {
        let traits = Traits {
            queue_num,
            rings,
            ..Traits::default()
        };
        let backend = EchoBackend::start(&path, traits);
        let link = connect(&path, 2).unwrap();
        assert!(link.is_up());
        assert!(backend.asked("SET_OWNER"));
        drop(link);
    }
}

#[test]
fn lives_with_a_back_end_without_protocol_features() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let traits = Traits {
        features: crate::virtio::spec::F_VERSION_1 | 1,
        ..Traits::default()
    };
    let _backend = EchoBackend::start(&path, traits);
    let link = connect(&path, 1).unwrap();
    assert_eq!(link.features(), traits.features);
}

/// Of back-ends that tell of their link.
fn talkative() -> Traits {
    let good = Traits::default();
    Traits {
        features: good.features | 1 << 16,
        protocol: good.protocol
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::BACKEND_REQ,
        ..good
    }
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn follows_the_link_of_its_back_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let backend = EchoBackend::start(&path, talkative());
    let link = connect(&path, 1).unwrap();
    assert!(!link.is_up());
    let told = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&told);
    link.set_listener(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    for changes in 1..=4 {
        let up = changes % 2 == 1;
        backend.set_link(up);
        wait_until("change", || {
            link.is_up() == up && told.load(Ordering::Relaxed) == changes
        });
    }
    // What it is after a reconnection counts, though nobody has said it.
    backend.set_link(true);
    wait_until("change", || link.is_up());
    backend.lose_link();
    backend.disconnect();
    wait_until("change", || !link.is_up());
}

#[test]
fn takes_the_link_of_others_for_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let all = talkative();
    for traits in [
        Traits {
            features: all.features & !(1 << 16),
            ..all
        },
        Traits {
            protocol: all.protocol - VhostUserProtocolFeatures::CONFIG,
            ..all
        },
        Traits {
            protocol: all.protocol - VhostUserProtocolFeatures::BACKEND_REQ,
            ..all
        },
    ] {
        let _backend = EchoBackend::start(&path, traits);
        assert!(connect(&path, 1).unwrap().is_up());
    }
}

/// netbackend's own, and what it says when a NIC of the host loses its carrier.
#[test]
fn follows_the_nic_behind_netbackend() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let network = Network::start(NetworkSpec {
        name: "n".into(),
        mode: Mode::Bridge,
        mtu: 1500,
        ageing: Duration::from_mins(5),
        fdb_capacity_per_port: 1,
        poll_idle: Duration::ZERO,
        workers: 1,
        cpus: Vec::new(),
        require_sealed_memory: false,
        isolate: false,
    });
    let network = network.unwrap();
    let port = PortSpec {
        name: "p".into(),
        role: Role::Guest,
        mac: None,
        policy: PortPolicy::default(),
        queue_pairs: 1,
    };
    let listener = UnixListener::bind(&path).unwrap();
    let lower = Lower {
        link: Some(false),
        ..Lower::default()
    };
    network
        .add_port_above(port, PortTransport::VhostUser(listener), lower)
        .unwrap();
    let link = connect(&path, 1).unwrap();
    assert!(!link.is_up());
    for up in [true, false, true] {
        network.set_link(up);
        wait_until("change", || link.is_up() == up);
    }
}
