//! The documents say what the program does.
use crate::common::{Daemon, netbackend};
use netbackend::config::{Config, Overrides};
use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

fn document(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).join(name)
}

#[test]
fn example_configuration_is_valid_without_warnings() {
    let config = Config::load(&document("netbackend.toml"), &Overrides::default()).unwrap();
    assert_eq!(config.warnings, []);
    let ports: usize = config
        .networks
        .iter()
        .map(|network| network.ports.len())
        .sum();
    assert!(config.networks.len() >= 2 && ports >= 3, "{config:?}");
}

/// An unknown key in every section makes the program list all keys that it knows.
#[test]
fn every_key_is_described_and_every_described_key_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nb.toml");
    let text = "zzz = 1\n[networks.n]\nzzz = 1\n[networks.n.ports.v]\nzzz = 1\n\
        [networks.n.ports.t]\nkind = \"tap\"\ninterface = \"t\"\nzzz = 1\n\
        [networks.g]\nmode = \"nat\"\nzzz = 1\n[networks.g.hosts.h]\nmac = \"52:54:00:00:00:01\"\nzzz = 1\n\
        [networks.u.uplink]\nnic = \"eth1\"\nzzz = 1\n";
    fs::write(&file, text).unwrap();
    let output = netbackend().arg("check-config").arg(file).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let lists = errors
        .lines()
        .filter_map(|line| line.split_once("known here: "));
    let mut known: Vec<&str> = lists.flat_map(|(_, keys)| keys.split(", ")).collect();
    // Sections, not keys. (What `hosts` are stands in a table all the same.)
    known.retain(|key| !["networks", "ports"].contains(key));
    known.sort_unstable();
    known.dedup();
    // Rows of the tables: | `key` | ... |
    let text = fs::read_to_string(document("config.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut described: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    described.sort_unstable();
    described.dedup();
    assert_eq!(described, known);
}

/// Requests that a text names in backquotes, at the start of a line after `prefix`.
fn requests(text: &str, prefix: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
    let named = lines.filter_map(|line| line.split('`').next());
    named
        .filter(|request| request.contains(" /v1/"))
        .map(str::to_owned)
        .collect()
}

/// Runs all commands of the document from top to bottom, as its reader would.
#[test]
fn every_request_is_described_with_a_command_that_works() {
    let text = fs::read_to_string(document("control-api.md")).unwrap();
    let described = requests(&text, "## `");
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../control/src/lib.rs");
    let library = fs::read_to_string(library).unwrap();
    assert_eq!(described, requests(&library, "//! | `"));
    for section in text.split("\n## `").skip(1).filter(|s| s.contains(" /v1/")) {
        let request = section.lines().next().unwrap();
        assert!(section.contains("```sh\nnb "), "no command for {request}");
    }
    let daemon = Daemon::start("[networks.lan.ports.web]");
    let blocks = text.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > described.len());
    let script = blocks.join("echo\n").replace(
        "/run/netbackend/control.sock",
        daemon.client.socket().to_str().unwrap(),
    );
    let output = Command::new("bash")
        .args(["-e", "-O", "expand_aliases", "-c"])
        // Aliases are expanded when a line is read: only those of a file are read one by one.
        .arg("source /dev/stdin <<< \"$0\"")
        .arg(&script)
        .output()
        .unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{script}\n{answers}\n{errors}");
    for word in [
        "\"uptime_seconds\"",
        "\"healthy\":true",
        "\"untouched\":[\"lan\"]",
        "lab/a.sock",
        "size_65_127",
    ] {
        assert!(answers.contains(word), "no {word} in {answers}");
    }
    // What was added was removed at the end.
    let networks = daemon.client.status().unwrap().networks;
    let ports: Vec<_> = networks.iter().map(|network| network.ports.len()).collect();
    assert_eq!(ports, [1]);
}

/// The counters that the document shows are those that there are.
#[test]
fn every_counter_is_described() {
    let text = fs::read_to_string(document("control-api.md")).unwrap();
    let counters = serde_json::to_value(control::QueueCounters::default()).unwrap();
    let sizes = counters["sizes"].as_object().unwrap();
    let names = counters.as_object().unwrap().keys().chain(sizes.keys());
    let port = serde_json::to_value(control::PortCounters::default()).unwrap();
    let health = serde_json::to_value(control::Health::default()).unwrap();
    let more = port
        .as_object()
        .unwrap()
        .keys()
        .chain(health.as_object().unwrap().keys());
    for name in names.chain(more) {
        assert!(
            text.contains(&format!("\"{name}\"")),
            "{name} is not described"
        );
    }
}
