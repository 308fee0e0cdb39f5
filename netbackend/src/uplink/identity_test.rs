use super::*;

const RUN: &str = "/run/netbackend";

fn identity(network: &str, port: &str) -> Identity {
    Identity::new(Path::new(RUN), network, port)
}

#[test]
fn names_are_stable_and_fit_the_kernel() {
    let one = identity("lan", "web");
    assert_eq!(one, identity("lan", "web"));
    // Known from the first version: a later one must find what this one has left behind.
    assert_eq!(one.interface(), "nb8d87c31941a0");
    let (text, home) = split(one.alias());
    assert_eq!(text, "netbackend:/run/netbackend:lan/web");
    assert!(home.unwrap().starts_with(" from net:["), "{home:?}");
    assert_eq!(one.mac(), identity("lan", "web").mac());
}

#[test]
fn every_port_has_names_of_its_own() {
    let one = identity("lan", "web");
    let elsewhere = Identity::new(Path::new("/run/other"), "lan", "web");
    for other in [identity("lan", "web1"), identity("lan1", "web"), elsewhere] {
        assert_ne!(one.interface(), other.interface());
        assert_ne!(one.mac(), other.mac());
    }
}

#[test]
fn addresses_are_local_stations() {
    let mac = identity("lan", "web").mac();
    assert!(mac.is_station());
    assert_eq!(mac.0[0] & 2, 2);
}

#[test]
fn only_our_own_are_ours() {
    let run = Path::new(RUN);
    assert!(is_ours(run, identity("lan", "web").alias()));
    for foreign in [
        "",
        "netbackend",
        "netbackend:/run/other:lan/web",
        "uplink to the office",
    ] {
        assert!(!is_ours(run, foreign), "{foreign}");
    }
    // Of a version that did not tell where it ran; and of one that runs elsewhere.
    assert!(is_ours(run, "netbackend:/run/netbackend:lan/web"));
    let elsewhere = "netbackend:/run/netbackend:lan/web from net:[1]";
    assert!(!is_ours(run, elsewhere));
    // Not that of a directory whose name only starts alike.
    for other in ["/run/netbackend2", "/run/netbackend:b", "/run/netbackend:"] {
        let other = Identity::new(Path::new(other), "lan", "web");
        assert!(!is_ours(run, other.alias()), "{}", other.alias());
    }
}

#[test]
fn long_directories_are_abbreviated() {
    for length in 200..300 {
        let run = "/".repeat(length);
        let run = Path::new(&run);
        let identity = Identity::new(run, "lan", "web");
        assert!(identity.alias().len() <= LONGEST_ALIAS);
        assert!(is_ours(run, identity.alias()));
        assert!(!is_ours(Path::new(RUN), identity.alias()));
    }
}

#[test]
fn owner_is_found_whatever_has_colons() {
    for owner in [
        "direct-12-345-678",
        "/run/netbackend",
        "/run/a:b",
        "/run/a from b",
    ] {
        for (network, part) in [("eth1", "52:54:00:00:00:01"), ("lan", "web")] {
            let identity = Identity::new(Path::new(owner), network, part);
            assert_eq!(Identity::owner(identity.alias()), Some(owner));
        }
    }
    for foreign in ["", "netbackend:", "netbackend:x", "uplink: to/the office"] {
        assert_eq!(Identity::owner(foreign), None, "{foreign}");
    }
}
