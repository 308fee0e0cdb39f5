use super::{
    testing::{EchoBackend, Traits},
    *,
};
use crate::memory::GuestRam;
use std::{
    os::unix::net::UnixListener,
    path::Path,
    time::{Duration, Instant},
};
use vhost::vhost_user::message::VhostUserProtocolFeatures;

fn connect(path: &Path, pairs: u16) -> Result<Link, SessionError> {
    Link::connect(path, pairs, GuestRam::new(32 << 20, false).unwrap())
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
