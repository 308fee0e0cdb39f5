use super::*;
use crate::{
    config::{Config, Overrides},
    supervisor::{absence::Absent, activation::Inherited},
};
use std::path::Path;

const OTHER: &str = "52:54:00:00:00:09";

fn group(last: usize) -> String {
    format!("01:00:5e:00:00:{last:02x}")
}

fn of_groups(groups: impl IntoIterator<Item = String>) -> PortFilter {
    PortFilter {
        groups: Some(groups.into_iter().collect()),
        ..PortFilter::default()
    }
}

fn of_address(address: &str) -> PortFilter {
    PortFilter {
        address: Some(address.to_owned()),
        ..PortFilter::default()
    }
}

#[test]
fn what_makes_sense_is_shown_as_it_was_asked_for() {
    let most = (0..PortFilter::MOST_GROUPS).map(group);
    let whole = PortFilter {
        promiscuous: true,
        address: Some(OTHER.into()),
        ..of_groups(most)
    };
    for asked in [PortFilter::default(), of_groups([]), whole] {
        assert_eq!(Wanted::read(&asked).unwrap().shown(), asked);
    }
    let unusual = of_address("52-54-0-0-0-9");
    assert_eq!(Wanted::read(&unusual).unwrap().shown(), of_address(OTHER));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let too_many = (0..=PortFilter::MOST_GROUPS).map(group);
    for (asked, says) in [
        (of_groups(too_many), "65 groups"),
        (of_groups([group(1), OTHER.into()]), "of a station"),
        (of_groups(["00:00:00:00:00:00".into()]), "of a station"),
        (of_groups(["01:00:5e:00:00".into()]), "not a MAC address"),
        (of_address(&group(1)), "multicast or zero"),
        (of_address("ff:ff:ff:ff:ff:ff"), "multicast or zero"),
        (of_address("00:00:00:00:00:00"), "multicast or zero"),
        (of_address("eth0"), "not a MAC address"),
    ] {
        let refused = Wanted::read(&asked).unwrap_err();
        assert_eq!(refused.code, "bad-request", "{asked:?}");
        assert!(refused.message.contains(says), "{refused}");
        assert!(refused.remedy.is_some(), "{refused}");
    }
}

/// A network with a port `g`, on a NIC that this host does not have.
fn network(keys: &str, of_port: &str) -> NetworkConfig {
    attached("macvtap", keys, of_port)
}

fn attached(attach: &str, keys: &str, of_port: &str) -> NetworkConfig {
    let text = format!(
        "[networks.n]\n{keys}\n[networks.n.uplink]\nnic = \"no-such-nic\"\nattach = \"{attach}\"\n\
         [networks.n.ports.g]\n{of_port}"
    );
    let config = Config::parse(Path::new("nb.toml"), &text, &Overrides::default());
    config.unwrap().networks.remove(0)
}

/// The network's port, whose macvtap waits for its NIC.
fn open(network: &NetworkConfig, dir: &tempfile::TempDir) -> Port {
    let mut ports = network.ports.iter();
    let mut config = ports.find(|port| port.name == "g").unwrap().clone();
    let socket = dir.path().join("g.sock");
    config.transport = crate::config::TransportConfig::VhostUser { socket };
    let (inherited, wanted) = (Inherited::default(), Wanted::default());
    Port::open(
        network,
        &config,
        &inherited,
        dir.path(),
        Absent::Awaited,
        wanted,
    )
    .unwrap()
}

#[test]
fn only_trusted_guests_have_a_say() {
    let dir = tempfile::tempdir().unwrap();
    for (keys, of_port, is_trusted) in [
        ("", "", false),
        ("trust_filters = true", "", true),
        ("trust_filters = true", "trust_filters = false", false),
        ("trust_filters = false", "trust_filters = true", true),
    ] {
        let mut port = open(&network(keys, of_port), &dir);
        let shown = port.status().filter;
        assert_eq!(
            shown,
            is_trusted.then(PortFilter::default),
            "{keys} {of_port}"
        );
        let wanted = Wanted::read(&of_address(OTHER)).unwrap();
        let done = port.set_filter("n", wanted);
        assert_eq!(done.is_ok(), is_trusted, "{keys} {of_port}");
        if let Err(refused) = done {
            assert_eq!(refused.code, "forbidden");
            assert!(
                refused.to_string().contains("trust_filters = true"),
                "{refused}"
            );
        }
        let chosen = is_trusted.then(|| of_address(OTHER));
        assert_eq!(port.status().filter, chosen, "{keys} {of_port}");
    }
}

#[test]
fn trust_comes_and_goes_with_the_settings_of_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let (trusting, other) = (network("trust_filters = true", ""), network("", ""));
    let mut port = open(&trusting, &dir);
    let wanted = Wanted::read(&of_groups([group(1)])).unwrap();
    port.set_filter("n", wanted.clone()).unwrap();
    // Another macvtap: the guest is the same.
    let mut larger = trusting.clone();
    larger.mtu = 9000;
    port.adapt_wire(&larger, dir.path());
    assert_eq!(port.filter, Some(wanted));
    port.adapt_wire(&other, dir.path());
    assert_eq!(port.filter, None);
    port.adapt_wire(&trusting, dir.path());
    assert_eq!(port.filter, Some(Wanted::default()));
}

#[test]
fn without_a_macvtap_there_is_nothing_to_choose() {
    let dir = tempfile::tempdir().unwrap();
    let mut port = open(&attached("switch", "", ""), &dir);
    let refused = port.set_filter("n", Wanted::default()).unwrap_err();
    assert_eq!(refused.code, "conflict");
    assert!(
        refused.to_string().contains("attach = \"macvtap\""),
        "{refused}"
    );
}

#[test]
fn a_guest_that_must_not_pretend_keeps_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let of_port = "mac = \"52:54:00:00:00:01\"\nanti_spoofing = true";
    let mut port = open(&network("trust_filters = true", of_port), &dir);
    let refused = port.set_filter("n", Wanted::read(&of_address(OTHER)).unwrap());
    assert_eq!(refused.unwrap_err().code, "forbidden");
    for allowed in [of_address("52:54:00:00:00:01"), of_groups([group(1)])] {
        let wanted = Wanted::read(&allowed).unwrap();
        port.set_filter("n", wanted).unwrap();
        assert_eq!(port.status().filter, Some(allowed));
    }
}
