//! Target `config`: arbitrary text as a configuration file.
use netbackend::config::{Config, Overrides};
use std::{collections::HashSet, path::Path};

/// Parses the input. A configuration is accepted with all its values in their documented ranges, or refused with a message; the
/// text of every message and warning can be made.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Config::parse(Path::new("fuzz.toml"), &text, &Overrides::default()) {
        Ok(config) => check(&config),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check(config: &Config) {
    for warning in &config.warnings {
        assert!(!warning.to_string().is_empty());
    }
    assert!(!config.networks.is_empty(), "there is always a network");
    for network in &config.networks {
        assert!(!network.name.is_empty());
        for port in &network.ports {
            assert!(!port.name.is_empty());
            assert!((1..=netbackend::network::MAX_QUEUE_PAIRS).contains(&port.queue_pairs));
            assert!(port.mac.is_none_or(::switch::MacAddr::is_station));
        }
        let macs: Vec<_> = network.ports.iter().filter_map(|port| port.mac).collect();
        let distinct: HashSet<_> = macs.iter().collect();
        assert_eq!(distinct.len(), macs.len(), "two ports with one address");
    }
    for pair in config.networks.windows(2) {
        assert!(
            pair[0].name < pair[1].name,
            "networks are sorted, each name once"
        );
    }
}
