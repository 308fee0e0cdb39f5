//! The keys of mode `nat`.
use super::{Dhcp6Mode, NatConfig, parse, problems};
use std::net::Ipv4Addr;

fn nat(keys: &str) -> NatConfig {
    let config = parse(&format!("[networks.n]\nmode = \"nat\"\n{keys}"));
    config.unwrap().networks.remove(0).nat.unwrap()
}

#[test]
fn addresses_follow_the_subnet() {
    let config = nat("subnet = \"192.168.7.0/24\"");
    assert_eq!(config.gateway.to_string(), "192.168.7.2");
    assert_eq!(config.dns_address.to_string(), "192.168.7.3");
    let (first, last) = config.dhcp_range.unwrap();
    assert_eq!(
        [first, last].map(|ip| ip.to_string()),
        ["192.168.7.15", "192.168.7.254"]
    );
    let small = nat("subnet = \"10.1.0.16/28\"");
    let (first, last) = small.dhcp_range.unwrap();
    assert_eq!(
        [first, last].map(|ip| ip.to_string()),
        ["10.1.0.20", "10.1.0.30"]
    );
    let without = nat("subnet = false");
    assert_eq!((without.subnet, without.dhcp_range), (None, None));
}

#[test]
fn every_key_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let config = nat(&format!(
        r#"
        gateway = "10.0.2.1"
        dns_address = "10.0.2.1"
        ipv6_prefix = "fd12:3456::/64"
        dhcp_range = "10.0.2.100-10.0.2.199"
        dhcp_lease = "2m"
        dhcp6 = "stateful"
        dns = ["9.9.9.9", "[2620:fe::fe]:5353"]
        search = ["Example.org."]
        domain = "vm.example.org"
        records = {{ "db.example.org" = "10.0.2.9", "both" = ["10.0.2.8", "fd12:3456::8"] }}
        isolate = true
        restrict = true
        allow = ["192.0.2.0/24"]
        deny = ["192.0.2.7", "2001:db8::/32"]
        host_loopback = true
        host_addresses = true
        link_local = true
        udp_filtering = "endpoint-independent"
        flows_per_guest = 10
        new_flows_per_second = 20
        buffer_per_guest = 1048576
        limit_to_world = "8Mbit"
        limit_from_world = "80Mbit"
        boot_server = "10.0.2.1"
        boot_file = "pxelinux.0"
        tftp_root = "{root}"
        forwards = ["tcp:8080=web:80", "hostfwd=udp::5353-:53", "-t 22,443:8443"]
        [networks.n.hosts.web]
        mac = "52:54:00:00:00:01"
        address = "10.0.2.20"
        address6 = "fd12:3456::20"
        "#
    ));
    let forwards: Vec<String> = config.forwards.iter().map(ToString::to_string).collect();
    assert_eq!(
        forwards,
        [
            "tcp:8080=web:80",
            "udp:5353=:53",
            "tcp:22=:22",
            "tcp:443=:8443"
        ]
    );
    assert_eq!(config.dns[0].to_string(), "9.9.9.9:53");
    assert_eq!(config.dns[1].to_string(), "[2620:fe::fe]:5353");
    assert_eq!(config.search, ["example.org"]);
    assert_eq!(config.records["both"].len(), 2);
    assert_eq!(config.deny[0].to_string(), "192.0.2.7/32");
    assert_eq!(config.hosts[0].name, "web");
    assert_eq!(config.limit_to_world, Some(8_000_000));
    assert!(config.isolate && config.restrict && config.host_loopback && config.link_local);
    // It goes to its worker as JSON and comes back as it was.
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<NatConfig>(&json).unwrap(), config);
}

#[test]
fn dhcp6_is_as_the_word_says() {
    for (keys, expected) in [
        ("", Dhcp6Mode::Stateful),
        ("dhcp6 = \"stateful\"", Dhcp6Mode::Stateful),
        ("dhcp6 = \"stateless\"", Dhcp6Mode::Stateless),
        ("dhcp6 = \"off\"", Dhcp6Mode::Off),
    ] {
        assert_eq!(nat(keys).dhcp6, expected, "{keys}");
    }
}

#[test]
fn keys_of_other_modes_are_told_apart() {
    let found = problems("[networks.n]\nsubnet = \"10.0.0.0/24\"");
    assert_eq!(found[0].key, "networks.n.subnet");
    assert!(
        found[0].message.contains("of networks in mode \"nat\""),
        "{}",
        found[0]
    );
}

/// Keys; the one that is wrong; words of the message; words of the remedy.
type Case = (&'static str, &'static str, &'static str, &'static str);

const WRONG: &[Case] = &[
    (
        "subnet = \"10.0.2.0/29\"",
        "subnet",
        "room for guests",
        "/8 to /28",
    ),
    (
        "subnet = \"fd00::/64\"",
        "subnet",
        "not a subnet of IPv4",
        "10.0.2.0/24",
    ),
    (
        "subnet = \"10.0.2\"",
        "subnet",
        "not an address prefix",
        "10.0.2.0/24",
    ),
    (
        "gateway = \"10.0.3.1\"",
        "gateway",
        "not an address in the subnet",
        "10.0.2.0/24",
    ),
    (
        "gateway = \"10.0.2.255\"",
        "gateway",
        "not an address in the subnet",
        "first or last",
    ),
    (
        "ipv6_prefix = \"fd00::/48\"",
        "ipv6_prefix",
        "64 bits",
        "fd00::/64",
    ),
    (
        "subnet = false\nipv6_prefix = false",
        "subnet",
        "neither IPv4 nor IPv6",
        "remove",
    ),
    (
        "dhcp_range = \"10.0.2.9-10.0.2.1\"",
        "dhcp_range",
        "not a range in the subnet",
        "or false",
    ),
    (
        "dhcp_lease = \"1s\"",
        "dhcp_lease",
        "out of range",
        "choose",
    ),
    (
        "dns = [\"localhost\"]",
        "dns",
        "neither an address",
        "9.9.9.9",
    ),
    (
        "search = [\"a b\"]",
        "search",
        "not the name of a domain",
        "example.org",
    ),
    (
        "domain = \"-.\"",
        "domain",
        "not the name of a domain",
        "vm.example.org",
    ),
    (
        "records = { a = \"b\" }",
        "records",
        "a is not a name with its addresses",
        "write a table",
    ),
    (
        "allow = [\"10.0.0.0/33\"]",
        "allow",
        "not an address prefix",
        "192.0.2.0/24",
    ),
    (
        "udp_filtering = \"none\"",
        "udp_filtering",
        "not known",
        "address-dependent",
    ),
    (
        "flows_per_guest = 0",
        "flows_per_guest",
        "out of range",
        "1 to 131072",
    ),
    ("dhcp6 = false", "dhcp6", "not known", "\"stateless\""),
    (
        "boot_server = \"10.0.2.9\"",
        "boot_server",
        "no file",
        "boot_file",
    ),
    (
        "boot_file = \"x\"",
        "boot_file",
        "nobody serves the file",
        "tftp_root",
    ),
    (
        "tftp_root = \"/no/such\"",
        "tftp_root",
        "not a directory",
        "make it",
    ),
    (
        "forwards = [\"tcp:0=web\"]",
        "forwards",
        "not a port from 1 to 65535",
        "tcp:8080=web:80",
    ),
    (
        "forwards = [\"1-9=a\", \"tcp:5=b\"]",
        "forwards",
        "same port of the host",
        "another port",
    ),
    (
        "[networks.n.hosts.a]",
        "hosts.a.mac",
        "known by its MAC address",
        "add mac",
    ),
    (
        "[networks.n.hosts.a]\nmac = \"52:54:00:00:00:01\"\naddress = \"10.0.2.2\"",
        "hosts.a.address",
        "not an address that a guest",
        "gateway's",
    ),
    (
        "[networks.n.hosts.a]\nmac = \"52:54:00:00:00:01\"\naddress6 = \"fd00::\"",
        "hosts.a.address6",
        "not an address that a guest",
        "gateway's",
    ),
    (
        "[networks.n.hosts.a]\nmac = \"52:54:00:00:00:01\"\naddress6 = \"fd00::2\"",
        "hosts.a.address6",
        "not an address that a guest",
        "gateway's",
    ),
    (
        "[networks.n.hosts.a]\nmac = \"52:54:00:00:00:01\"\naddress6 = \"fd00::3\"",
        "hosts.a.address6",
        "not an address that a guest",
        "DNS server's",
    ),
    (
        "[networks.n.hosts.a]\nmac = \"52:54:00:00:00:01\"\naddress6 = \"fd01::20\"",
        "hosts.a.address6",
        "not in the network",
        "of the prefix",
    ),
    (
        "dhcp6 = \"stateless\"\n[networks.n.hosts.a]\nmac = \"52:54:00:00:00:01\"\naddress6 = \"fd00::20\"",
        "hosts.a.address6",
        "gives no addresses",
        "stateful",
    ),
    (
        "[networks.n.hosts.a_b]\nmac = \"52:54:00:00:00:01\"",
        "hosts.a_b",
        "not a host name",
        "letters, digits and '-'",
    ),
    (
        "[networks.n.hosts.a-]\nmac = \"52:54:00:00:00:01\"",
        "hosts.a-",
        "not a host name",
        "at both ends",
    ),
    (
        "[networks.n.hosts.Web]\nmac = \"52:54:00:00:00:01\"\n[networks.n.hosts.web]\nmac = \"52:54:00:00:00:02\"",
        "hosts.web",
        "web is taken already by line",
        "choose another name",
    ),
    (
        "[networks.n.hosts.a]\nmac = \"52:54:00:00:00:01\"\n[networks.n.hosts.b]\nmac = \"52:54:00:00:00:01\"",
        "hosts.b.mac",
        "taken already by line 4",
        "another mac",
    ),
    (
        "[networks.n.ports.up]\nuplink = true",
        "ports",
        "not port up",
        "remove uplink",
    ),
];

#[test]
fn wrong_values_are_told_with_a_remedy() {
    for (keys, key, message, remedy) in WRONG {
        let found = problems(&format!("[networks.n]\nmode = \"nat\"\n{keys}"));
        assert_eq!(found.len(), 1, "{keys}: {found:?}");
        let problem = &found[0];
        assert_eq!(problem.key, format!("networks.n.{key}"), "{problem}");
        assert!(problem.message.contains(message), "{keys}: {problem}");
        assert!(problem.remedy.contains(remedy), "{keys}: {problem}");
    }
}

#[test]
fn what_no_message_holds_is_told() {
    let prefixes = |count: u32| {
        let prefixes = (0..count).map(|number| format!("\"{}\"", Ipv4Addr::from_bits(number << 8)));
        prefixes.collect::<Vec<_>>().join(", ")
    };
    let allow = |count| {
        format!(
            "[networks.n]\nmode = \"nat\"\nallow = [{}]",
            prefixes(count)
        )
    };
    assert!(parse(&allow(4000)).is_ok());
    let found = problems(&allow(10_000));
    assert_eq!(found[0].key, "networks.n.allow");
    assert!(found[0].message.contains("bytes"), "{}", found[0]);
    assert!(found[0].remedy.contains("fewer"), "{}", found[0]);
    // They go to the worker one by one.
    let forwards: Vec<_> = (1..10_000)
        .map(|port| format!("\"tcp:{port}=:22\""))
        .collect();
    let forwards = forwards.join(", ");
    assert!(
        parse(&format!(
            "[networks.n]\nmode = \"nat\"\nforwards = [{forwards}]"
        ))
        .is_ok()
    );
}
