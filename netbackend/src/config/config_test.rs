use super::*;

#[path = "nat_test.rs"]
mod nat_keys;
#[path = "problems_test.rs"]
mod problems;

fn parse(text: &str) -> Result<Config, ConfigError> {
    let overrides = Overrides {
        runtime_dir: Some("/run/nb".into()),
        control_socket: None,
    };
    Config::parse(Path::new("nb.toml"), text, &overrides)
}

#[track_caller]
fn problems(text: &str) -> Vec<Problem> {
    match parse(text) {
        Err(ConfigError::Invalid(problems)) => problems,
        other => panic!("{text}: {other:?}"),
    }
}

/// A port section that needs nothing else, after `[networks.n]`.
const TAP: &str = "kind = \"tap\"\ninterface = \"t\"\n";

#[test]
fn built_in_is_one_nat_network_without_ports() {
    let overrides = Overrides {
        runtime_dir: Some("/run/nb".into()),
        control_socket: None,
    };
    let config = Config::built_in(&overrides).unwrap();
    assert_eq!(config.networks, [NetworkConfig::built_in()]);
    assert_eq!(config.networks[0].mode, Mode::Nat);
    // What is written out is the same.
    let written = parse("[networks.default]\nmode = \"nat\"").unwrap();
    assert_eq!(written.networks, config.networks);
    assert_eq!(config.control_socket, Path::new("/run/nb/control.sock"));
}

#[test]
fn all_keys_are_read() {
    let config = parse(
        r#"
        control_socket = "/run/c.sock"
        [networks.lan]
        mode = "vepa"
        mtu = 9000
        ageing = "2m"
        fdb_capacity_per_port = 16
        poll_idle_us = 0
        cpus = [1, 0]
        require_sealed_memory = true
        [networks.lan.ports.web]
        mac = "52:54:00:00:00:01"
        queue_pairs = 2
        socket = "/run/web.sock"
        [networks.lan.ports.db]
        [networks.lan.ports.out]
        kind = "tap"
        interface = "nb-out"
        netns = "outside"
        uplink = true
        "#,
    )
    .unwrap();
    assert_eq!(config.control_socket, Path::new("/run/c.sock"));
    assert_eq!(config.warnings, []);
    let port = |name: &str, role, mac: Option<&str>, queue_pairs, transport| PortConfig {
        policy: control::PortPolicy::default(),
        name: name.into(),
        role,
        mac: mac.map(|mac| mac.parse().unwrap()),
        queue_pairs,
        socket_access: SocketAccess::DEFAULT,
        trust_filters: None,
        transport,
    };
    let socket = |socket: &str| TransportConfig::VhostUser {
        socket: socket.into(),
    };
    let tap = TransportConfig::Tap {
        interface: "nb-out".into(),
        netns: Some("outside".into()),
    };
    let web = Some("52:54:00:00:00:01");
    let lan = NetworkConfig {
        nat: None,
        name: "lan".into(),
        mode: Mode::Vepa,
        mtu: 9000,
        ageing: Duration::from_mins(2),
        fdb_capacity_per_port: 16,
        poll_idle: Duration::ZERO,
        workers: 2,
        cpus: vec![1, 0],
        require_sealed_memory: true,
        socket_access: SocketAccess::DEFAULT,
        mtu_of_nic: false,
        attach: None,
        trust_filters: false,
        ports: vec![
            port("db", Role::Guest, None, 8, socket("/run/nb/lan/db.sock")),
            port("out", Role::Uplink, None, 1, tap),
            port("web", Role::Guest, web, 2, socket("/run/web.sock")),
        ],
    };
    assert_eq!(config.networks, [lan]);
}

#[test]
fn policies_of_ports() {
    let config = parse(
        r#"
        [networks.lan.ports.web]
        mac = "52:54:00:00:00:01"
        anti_spoofing = true
        addresses = ["10.0.0.5", "2001:db8::5"]
        isolated = true
        storm_limit = 500
        vlan = 10
        trunk = [20, "100-199"]
        limit_from_guest = "100 Mbit"
        limit_to_guest = 1_000_000
        "#,
    )
    .unwrap();
    let policy = &config.networks[0].ports[0].policy;
    assert!(policy.anti_spoofing && policy.isolated);
    let addresses: [std::net::IpAddr; 2] =
        ["10.0.0.5", "2001:db8::5"].map(|text| text.parse().unwrap());
    assert_eq!(policy.addresses, addresses);
    assert_eq!(policy.storm_limit, Some(500));
    assert_eq!(
        (policy.vlan, &policy.trunk[..]),
        (Some(10), &[[20, 20], [100, 199]][..])
    );
    assert_eq!(policy.limit_from_guest, Some(100_000_000));
    assert_eq!(policy.limit_to_guest, Some(1_000_000));
}

#[test]
fn ports_trust_their_guests_as_their_network_does_unless_they_say_otherwise() {
    let text = |keys: &str| {
        format!(
            "[networks.n]\n{keys}\n[networks.n.uplink]\nnic = \"e\"\nattach = \"macvtap\"\n\
             [networks.n.ports.a]\n[networks.n.ports.b]\ntrust_filters = true\n\
             [networks.n.ports.c]\ntrust_filters = false"
        )
    };
    for (keys, trusted) in [
        ("", ["b"].as_slice()),
        ("trust_filters = false", &["b"]),
        ("trust_filters = true", &["a", "b"]),
    ] {
        let network = &parse(&text(keys)).unwrap().networks[0];
        let ports = network.ports.iter().filter(|port| network.trusts(port));
        let names: Vec<_> = ports.map(|port| port.name.as_str()).collect();
        assert_eq!(names, trusted, "{keys}");
    }
    // It forbids what nobody could do.
    assert!(parse("[networks.n]\ntrust_filters = false").is_ok());
}

#[test]
fn command_line_beats_the_file_and_the_file_the_defaults() {
    let text = "runtime_dir = \"/run/file\"\n[networks.n.ports.p]\n";
    let none = Overrides::default();
    let config = Config::parse(Path::new("f"), text, &none).unwrap();
    assert_eq!(config.control_socket, Path::new("/run/file/control.sock"));
    let config = parse(text).unwrap();
    assert_eq!(config.runtime_dir, Path::new("/run/nb"));
    let socket = PathBuf::from("/run/nb/n/p.sock");
    let transport = &config.networks[0].ports[0].transport;
    assert_eq!(*transport, TransportConfig::VhostUser { socket });
    let overrides = Overrides {
        runtime_dir: None,
        control_socket: Some("/c".into()),
    };
    let config = Config::parse(Path::new("f"), text, &overrides).unwrap();
    assert_eq!(config.control_socket, Path::new("/c"));
}

#[test]
fn durations_take_numbers_and_units() {
    for (text, seconds) in [
        ("300", 300.0),
        ("1.5", 1.5),
        ("\"300\"", 300.0),
        ("\"300s\"", 300.0),
        ("\"2500ms\"", 2.5),
        ("\"5m\"", 300.0),
        ("\"5 min\"", 300.0),
        ("\"1h\"", 3600.0),
    ] {
        let config = parse(&format!("[networks.n]\nageing = {text}")).unwrap();
        assert_eq!(
            config.networks[0].ageing,
            Duration::from_secs_f64(seconds),
            "{text}"
        );
    }
}

#[test]
fn all_problems_are_told_in_the_order_of_lines() {
    let text = format!(
        "[networks.n]\nmtu = 1\n[networks.n.ports.t]\n{TAP}bogus = 1\n[networks.m]\nmode = \"x\""
    );
    let lines: Vec<_> = problems(&text).iter().map(|p| p.line).collect();
    assert_eq!(lines, [2, 6, 8]);
}

#[test]
fn same_address_in_two_networks_is_no_problem() {
    let port = "mac = \"52:54:00:00:00:01\"";
    let text = format!("[networks.a.ports.p]\n{port}\n[networks.b.ports.p]\n{port}");
    assert_eq!(parse(&text).unwrap().networks.len(), 2);
}

#[test]
fn same_interface_in_two_namespaces_is_no_problem() {
    let text = format!("[networks.n.ports.a]\n{TAP}netns = \"x\"\n[networks.n.ports.b]\n{TAP}");
    assert_eq!(parse(&text).unwrap().networks[0].ports.len(), 2);
}

#[test]
fn isolation_without_uplink_is_a_warning() {
    let config = parse("[networks.n]\nmode = \"private\"").unwrap();
    let [warning] = &config.warnings[..] else {
        panic!("{:?}", config.warnings);
    };
    assert_eq!((warning.line, &*warning.key), (2, "networks.n.mode"));
}

#[test]
fn long_runtime_dir_is_told_before_the_kernel_refuses_it() {
    let overrides = Overrides {
        runtime_dir: Some(format!("/run/{}", "z".repeat(80)).into()),
        control_socket: None,
    };
    let text = "[networks.a_rather_long_network_name.ports.p]";
    let error = Config::parse(Path::new("nb.toml"), text, &overrides).unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("nb.toml:1: networks.a_rather_long_network_name.ports.p.socket:"));
    assert!(error.contains("choose a shorter runtime_dir"), "{error}");
}

#[test]
fn missing_file_is_named() {
    let file = Path::new("/nonexistent/nb.toml");
    let error = Config::load(file, &Overrides::default()).unwrap_err();
    assert!(
        error.to_string().contains("/nonexistent/nb.toml"),
        "{error}"
    );
}
