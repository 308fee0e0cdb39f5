//! Every wrong file is told with its line, key, what is wrong and what to do.
use super::{parse, problems};

/// Text; line; key; words of the message; words of the remedy.
type Case = (
    &'static str,
    usize,
    &'static str,
    &'static str,
    &'static str,
);

/// After `[networks.n]` in line 1.
#[rustfmt::skip]
const OF_NETWORK: &[Case] = &[
    ("mtuu = 9000", 2, "mtuu", "unknown key", "did you mean `mtu`?"),
    ("agieng = 9", 2, "agieng", "unknown key", "did you mean `ageing`?"),
    ("zzz = 1", 2, "zzz", "unknown key", "known here: mode, mtu, ageing"),
    ("mode = \"bridged\"", 2, "mode", "\"bridged\" is not known", "\"bridge\", \"private\""),
    ("mode = 7", 2, "mode", "7 is not known", "choose one of"),
    ("mode = \"Nat\"", 2, "mode", "\"Nat\" is not known", "\"nat\""),
    ("mode = \"passthrough\"", 2, "mode", "needs an uplink", "uplink = true"),
    ("\nmtu = 67", 3, "mtu", "67 is out of range", "68 to 65535"),
    ("mtu = 65536", 2, "mtu", "out of range", "68 to 65535"),
    ("mtu = -1", 2, "mtu", "out of range", "68 to 65535"),
    ("mtu = 99999999999999999999", 2, "mtu", "out of range", "68 to 65535"),
    ("mtu = \"1500\"", 2, "mtu", "\"1500\" is not a number", "68 to 65535"),
    ("ageing = \"300 parsecs\"", 2, "ageing", "not a duration", "unit (ms, s, m, h)"),
    ("ageing = -5", 2, "ageing", "not a duration", "\"300s\""),
    ("ageing = nan", 2, "ageing", "not a duration", "\"300s\""),
    ("ageing = [1]", 2, "ageing", "not a duration", "\"300s\""),
    ("ageing = 0", 2, "ageing", "out of range", "choose 1s to"),
    ("ageing = 1e300", 2, "ageing", "not a duration", "\"300s\""),
    ("fdb_capacity_per_port = 0", 2, "fdb_capacity_per_port", "out of range", "1 to 65536"),
    ("workers = 0", 2, "workers", "out of range", "1 to 64"),
    ("cpus = \"2,3\"", 2, "cpus", "not a list of CPU numbers", "[2, 3]"),
    ("cpus = [2, 2]", 2, "cpus", "1 to 64 different CPUs", "one CPU for each worker"),
    ("workers = 3\ncpus = [0, 1]", 3, "cpus", "2 CPUs for 3 workers", "leave out one of the two"),
    ("poll_idle_us = 10001", 2, "poll_idle_us", "out of range", "0 to 10000"),
    ("socket_mode = \"0980\"", 2, "socket_mode", "not the mode of a socket", "like \"0660\""),
    ("socket_mode = 0o660", 2, "socket_mode", "not the mode of a socket", "octal digits in quotes"),
    ("socket_mode = \"7777\"", 2, "socket_mode", "not the mode of a socket", "octal digits"),
    ("socket_mode = \"0060\"", 2, "socket_mode", "not the mode of a socket", "for the owner"),
    ("socket_owner = \"nb nobody\"", 2, "socket_owner", "no user of this host", "getent passwd"),
    ("socket_owner = -1", 2, "socket_owner", "no user of this host", "or a number"),
    ("socket_group = 4294967295", 2, "socket_group", "no group of this host", "getent group"),
    ("socket_group = true", 2, "socket_group", "no group of this host", "getent group"),
    ("require_sealed_memory = 1", 2, "require_sealed_memory", "not a boolean", "true"),
    ("ports = 3", 2, "ports", "must be a table", "[ports.NAME]"),
    ("ports.a = 3", 2, "ports.a", "must be a table", "[ports.a]"),
    ("[networks.n.ports.\"a b\"]", 2, "ports.a b", "is not a name", "letters, digits"),
    ("[networks.n.ports.-a]", 2, "ports.-a", "is not a name", "starting with a letter"),
    ("[networks.n.ports.a]\nuplink = true\n[networks.n.ports.b]\nuplink = true", 2, "ports",
        "several ports are uplinks: a, b", "one way out"),
    ("uplink = 3", 2, "uplink", "must be a table", "[networks.n.uplink]"),
    ("[networks.n.uplink]", 2, "uplink.nic", "needs an interface of the host", "write nic = \"NIC\""),
    ("uplink.nicc = \"e\"\nuplink.nic = \"e\"", 2, "uplink.nicc", "unknown key", "did you mean `nic`?"),
    ("uplink.nic = \"e\"\nuplink.tap = \"t\"", 3, "uplink.tap", "one of nic and tap", "write nic"),
    ("mode = \"passthrough\"\nuplink.packet = \"e\"", 3, "uplink.packet", "has its NIC alone", "write nic"),
    ("uplink.nic = \"e\"\nuplink.bridge = \"b\"", 3, "uplink.bridge", "only a tap", "write tap"),
    ("uplink.nic = \"far too long a name\"", 2, "uplink.nic", "not an interface name", "1 to 15"),
    ("uplink.nic = \"e\"\nuplink.vlan = 4095", 3, "uplink.vlan", "out of range", "1 to 4094"),
    ("uplink.nic = \"e\"\nuplink.attach = \"tap\"", 3, "uplink.attach", "not known", "\"macvtap\""),
    ("uplink.tap = \"t\"\nuplink.attach = \"macvtap\"", 3, "uplink.attach", "only a NIC", "nic = "),
    ("uplink.nic = \"e\"\nuplink.netns = \"a/b\"", 3, "uplink.netns", "not the name of a network", "ip netns"),
    ("uplink.nic = \"e\"\n[networks.n.ports.uplink]", 3, "ports", "makes a port of this name", "rename"),
    ("uplink.nic = \"e\"\nports.a.uplink = true", 3, "ports", "several ports are uplinks: a, uplink", "one way out"),
    ("uplink.nic = \"e\"\nuplink.attach = \"macvtap\"\nports.a.vlan = 5", 4, "ports.a.vlan", "the kernel switches",
        "in the section [uplink]"),
    ("uplink.nic = \"e\"\nuplink.attach = \"macvtap\"\nports.a.trunk = [5]", 4, "ports.a.trunk", "the kernel switches",
        "remove trunk"),
    ("uplink.nic = \"e\"\nuplink.attach = \"macvtap\"\nports.a.uplink = true", 4, "ports", "none sends to port a", "or attach"),
    ("trust_filters = true", 2, "trust_filters", "a macvtap of its own", "attach = \"macvtap\""),
    ("trust_filters = 1", 2, "trust_filters", "not a boolean", "true"),
    ("uplink.nic = \"e\"\nports.a.trust_filters = true", 3, "ports.a.trust_filters", "a macvtap of its own",
        "remove trust_filters"),
    ("mode = \"nat\"\nuplink.nic = \"e\"\nuplink.attach = \"macvtap\"", 3, "uplink", "is its gateway", "remove attach"),
    ("mode = \"passthrough\"\nports.a.uplink = true\nports.b = {}\nports.c = {}", 2, "mode",
        "one guest, not b, c", "choose another mode"),
    ("[networks.n.ports.a]\nmac = \"52:54:00:00:00:01\"\n[networks.n.ports.b]\nmac = \"52-54-0-0-0-1\"",
        5, "ports.b.mac",
        "52:54:00:00:00:01 is taken already by line 3", "choose another mac"),
    ("[networks.n.ports.a]\nsocket = \"/run/nb/n/b.sock\"\n[networks.n.ports.b]",
        4, "ports.b.socket",
        "taken already by line 3", "choose another socket"),
    ("ports.a.kind = \"tap\"\nports.a.interface = \"t\"\nports.b.kind = \"tap\"\nports.b.interface = \"t\"",
        5, "ports.b.interface",
        "t is taken already by line 3", "choose another interface"),
];

/// After `[networks.n.ports.p]` in line 1.
#[rustfmt::skip]
const OF_PORT: &[Case] = &[
    ("kind = \"veth\"", 2, "kind", "\"veth\" is not known", "\"vhost-user\", \"tap\""),
    ("anti_spoofing = true", 2, "anti_spoofing", "whose frames are genuine", "mac ="),
    ("addresses = [\"10.0.0.1\"]", 2, "addresses", "only looked at by anti-spoofing", "anti_spoofing = true"),
    ("mac = \"52:54:00:00:00:01\"\nanti_spoofing = true\naddresses = [\"10.0.0.256\"]", 4, "addresses",
        "not a list of IP addresses", "2001:db8::5"),
    ("addresses = \"10.0.0.1\"", 2, "addresses", "not a list of IP addresses", "10.0.0.5"),
    ("isolated = true\nuplink = true", 2, "isolated", "cannot be one", "remove isolated or uplink"),
    ("storm_limit = 0", 2, "storm_limit", "out of range", "1 to"),
    ("vlan = 4095", 2, "vlan", "out of range", "1 to 4094"),
    ("vlan = 0", 2, "vlan", "out of range", "1 to 4094"),
    ("trunk = [20, \"30-4095\"]", 2, "trunk", "not a list of VLANs", "100-199"),
    ("trunk = [\"40-30\"]", 2, "trunk", "not a list of VLANs", "100-199"),
    ("trunk = 20", 2, "trunk", "not a list of VLANs", "100-199"),
    ("trunk = []", 2, "trunk", "carries nothing", "remove the key"),
    ("vlan = 35\ntrunk = [\"30-40\"]", 3, "trunk", "VLAN 35 is to be without tag", "remove vlan"),
    ("limit_from_guest = \"100Mb\"", 2, "limit_from_guest", "not a bit rate", "100Mbit"),
    ("limit_to_guest = 7999", 2, "limit_to_guest", "not a bit rate", "8kbit"),
    ("limit_to_guest = \"18446744073709551616Gbit\"", 2, "limit_to_guest", "not a bit rate", "8kbit"),
    ("sokcet = \"/a\"", 2, "sokcet", "unknown key", "did you mean `socket`?"),
    ("interface = \"t\"", 2, "interface", "the key is of tap ports", "kind = \"tap\""),
    ("kind = \"tap\"\ninterface = \"t\"\nsocket = \"/a\"", 4, "socket",
        "of vhost-user ports", "remove the key"),
    ("kind = \"tap\"", 1, "interface", "needs the name", "add interface"),
    ("kind = \"tap\"\ninterface = \"0123456789abcdef\"", 3, "interface",
        "is not an interface name", "1 to 15 bytes"),
    ("kind = \"tap\"\ninterface = \"a/b\"", 3, "interface", "not an interface name", "'/'"),
    ("kind = \"tap\"\ninterface = \"tap%d\"", 3, "interface", "not an interface name", "'%'"),
    ("kind = \"tap\"\ninterface = \"t\"\nnetns = \"../x\"", 4, "netns",
        "not the name", "ip netns list"),
    ("mac = \"52:54\"", 2, "mac", "not a MAC address", "52:54:00:12:34:56"),
    ("mac = \"01:00:5e:00:00:01\"", 2, "mac", "multicast or zero", "even first octet"),
    ("mac = \"00:00:00:00:00:00\"", 2, "mac", "multicast or zero", "unicast"),
    ("mac = 5", 2, "mac", "5 is not a string", "\"text\""),
    ("mac = \"52:54:00:00:00:01\"\nuplink = true", 2, "mac", "an uplink leads to many", "remove"),
    ("queue_pairs = 0", 2, "queue_pairs", "out of range", "1 to 128"),
    ("queue_pairs = 129", 2, "queue_pairs", "out of range", "1 to 128"),
    ("uplink = \"yes\"", 2, "uplink", "not a boolean", "true"),
    ("socket = \"run/x.sock\"", 2, "socket", "not an absolute path", "starts with /"),
    ("socket = \"/run/../x.sock\"", 2, "socket", "not an absolute path", "no .."),
    ("socket = \"/run/nb/control.sock\"", 2, "socket",
        "taken already by the control socket", "choose another socket"),
];

#[rustfmt::skip]
const OF_FILE: &[Case] = &[
    ("runtimedir = \"/x\"", 1, "runtimedir", "unknown key", "did you mean `runtime_dir`?"),
    ("\n\nnetwork = {}", 3, "network", "unknown key", "did you mean `networks`?"),
    ("networks = 1", 1, "networks", "must be a table", "[networks.NAME]"),
    ("networks.a = 1", 1, "networks.a", "must be a table", "[networks.a]"),
    ("runtime_dir = 1", 1, "runtime_dir", "not a string", "write a string"),
    ("runtime_dir = \"/\"", 1, "runtime_dir", "not an absolute path", "starts with /"),
    ("a = 1\n[networks", 2, "", "not valid TOML at `[networks`", "docs/config.md"),
    ("[networks.n.uplink]\nnic = \"e\"\n[networks.o.uplink]\nnic = \"e\"", 4, "networks.o.uplink.nic",
        "e is taken already by line 2", "choose another nic"),
    ("[networks.n]\n[networks.n]", 2, "", "duplicate key", "docs/config.md"),
];

#[test]
fn of_networks() {
    for case in OF_NETWORK {
        expect_one("[networks.n]\n", "networks.n.", case);
    }
}

#[test]
fn of_ports() {
    for case in OF_PORT {
        expect_one("[networks.n.ports.p]\n", "networks.n.ports.p.", case);
    }
}

#[test]
fn of_files() {
    for case in OF_FILE {
        expect_one("", "", case);
    }
}

#[test]
fn names_and_paths_may_have_their_greatest_length() {
    let name = |length| format!("[networks.{}]", "x".repeat(length));
    assert!(parse(&name(32)).is_ok());
    assert!(problems(&name(33))[0].remedy.contains("1 to 32"));
    let socket = |length: usize| format!("control_socket = \"/{}\"", "y".repeat(length - 1));
    assert!(parse(&socket(107)).is_ok());
    let problem = &problems(&socket(108))[0];
    assert!(problem.message.contains("has 108 bytes"), "{problem}");
    assert!(problem.remedy.contains("107 at most"), "{problem}");
}

#[track_caller]
fn expect_one(section: &str, prefix: &str, (text, line, key, message, remedy): &Case) {
    let text = format!("{section}{text}\n");
    let key = match *key {
        "" => String::new(),
        key => format!("{prefix}{key}"),
    };
    let problems = problems(&text);
    let [problem] = &problems[..] else {
        panic!("{text}\n{problems:#?}");
    };
    assert_eq!(
        (problem.line, &problem.key),
        (*line, &key),
        "{text}\n{problem}"
    );
    assert!(problem.message.contains(message), "{text}\n{problem}");
    assert!(problem.remedy.contains(remedy), "{text}\n{problem}");
    let shown = problem.to_string();
    assert!(
        shown.starts_with(&format!("nb.toml:{line}: {key}")),
        "{shown}"
    );
    assert!(!shown.contains('\n'), "{shown}");
}
