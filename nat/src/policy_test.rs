use super::*;
use crate::testkit::{FakeHost, Lab, REMOTE, rst, syn};
use std::net::SocketAddr;

fn judge_all(
    policy: &Policy,
    host: &mut FakeHost,
    address: &str,
) -> Result<Destination, DropReason> {
    judge(
        policy,
        &Addressing::default(),
        host,
        address.parse().unwrap(),
    )
}

#[test]
fn the_world_is_open_and_the_host_is_not() {
    let mut host = FakeHost {
        own: vec!["198.51.100.1".parse().unwrap()],
        ..FakeHost::default()
    };
    let policy = Policy::default();
    for address in ["1.1.1.1", "192.168.1.1", "2001:db8::1", "100.64.0.1"] {
        let world = Destination::World(address.parse().unwrap());
        assert_eq!(judge_all(&policy, &mut host, address), Ok(world));
    }
    for address in [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "198.51.100.1",
    ] {
        assert_eq!(
            judge_all(&policy, &mut host, address),
            Err(DropReason::Policy),
            "{address}"
        );
    }
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "224.0.0.251",
        "240.0.0.1",
        "::",
        "ff02::1",
        "10.0.2.77",
        "fd00::99",
    ] {
        assert_eq!(
            judge_all(&policy, &mut host, address),
            Err(DropReason::BadDestination),
            "{address}"
        );
    }
    for address in ["10.0.2.2", "10.0.2.3", "fd00::2", "fd00::3"] {
        assert_eq!(
            judge_all(&policy, &mut host, address),
            Ok(Destination::Gateway)
        );
    }
}

#[test]
fn each_option_opens_what_it_says_and_no_more() {
    let mut host = FakeHost {
        own: vec!["198.51.100.1".parse().unwrap()],
        ..FakeHost::default()
    };
    let link_local = Policy {
        link_local: true,
        ..Policy::default()
    };
    assert!(judge_all(&link_local, &mut host, "169.254.169.254").is_ok());
    assert!(judge_all(&link_local, &mut host, "127.0.0.1").is_err());
    let own = Policy {
        host_addresses: true,
        ..Policy::default()
    };
    assert!(judge_all(&own, &mut host, "198.51.100.1").is_ok());
    assert!(judge_all(&own, &mut host, "127.0.0.1").is_err());
    let loopback = Policy {
        gateway_is_host_loopback: true,
        ..Policy::default()
    };
    assert!(judge_all(&loopback, &mut host, "127.0.0.1").is_err());
    let gateway = "10.0.2.2".parse().unwrap();
    assert_eq!(
        host_loopback(&loopback, gateway),
        Some("127.0.0.1".parse().unwrap())
    );
    assert_eq!(host_loopback(&Policy::default(), gateway), None);
}

#[test]
fn the_longest_prefix_decides() {
    let mut host = FakeHost::default();
    let lists = |allow: &[&str], deny: &[&str]| Policy {
        allow: allow.iter().map(|p| p.parse().unwrap()).collect(),
        deny: deny.iter().map(|p| p.parse().unwrap()).collect(),
        ..Policy::default()
    };
    let policy = lists(&["192.0.2.0/24"], &["192.0.2.128/25", "0.0.0.0/0"]);
    assert!(judge_all(&policy, &mut host, "192.0.2.1").is_ok());
    assert!(judge_all(&policy, &mut host, "192.0.2.200").is_err());
    assert!(judge_all(&policy, &mut host, "8.8.8.8").is_err());
    assert!(
        judge_all(&policy, &mut host, "2001:db8::1").is_err(),
        "not among those allowed"
    );
    let policy = lists(&[], &["10.0.0.0/8"]);
    assert!(judge_all(&policy, &mut host, "10.9.9.9").is_err());
    assert!(judge_all(&policy, &mut host, "11.0.0.1").is_ok());
    let policy = lists(&["8.8.8.8"], &["8.8.8.8"]);
    assert!(judge_all(&policy, &mut host, "8.8.8.8").is_err());
}

#[test]
fn a_restricted_guest_is_reset_and_no_socket_is_opened() {
    let mut lab = Lab::with(|config| config.policy.restrict = true);
    lab.tcp(&syn(5));
    lab.expect(&crate::testkit::Tcp {
        flags: "RA",
        ack: Some(6),
        ..rst(0).window(0)
    });
    assert!(lab.host().sockets.is_empty());
    assert_eq!(lab.gateway.counters().dropped(DropReason::Policy), 1);
}

#[test]
fn the_gateway_stands_for_the_hosts_loopback_only_if_it_is_told_to() {
    let gateway = SocketAddr::new(crate::testkit::GATEWAY, 8080);
    let mut lab = Lab::new();
    lab.tcp_from(crate::testkit::GUEST, gateway, &syn(5));
    assert!(lab.host().sockets.is_empty());
    let mut lab = Lab::with(|config| config.policy.gateway_is_host_loopback = true);
    lab.tcp_from(crate::testkit::GUEST, gateway, &syn(5));
    assert_eq!(
        lab.socket(0).remote,
        Some("127.0.0.1:8080".parse().unwrap())
    );
    lab.tcp_from(crate::testkit::GUEST, REMOTE, &syn(5));
    assert_eq!(lab.socket(1).remote, Some(REMOTE));
}
