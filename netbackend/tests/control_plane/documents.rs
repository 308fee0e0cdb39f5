//! The documents say what the program does.
use crate::common::netbackend;
use netbackend::config::{Config, Overrides};
use std::{fs, path::PathBuf};

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
        [networks.n.ports.t]\nkind = \"tap\"\ninterface = \"t\"\nzzz = 1\n";
    fs::write(&file, text).unwrap();
    let output = netbackend().arg("check-config").arg(file).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let lists = errors
        .lines()
        .filter_map(|line| line.split_once("known here: "));
    let mut known: Vec<&str> = lists.flat_map(|(_, keys)| keys.split(", ")).collect();
    // Sections, not keys.
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
