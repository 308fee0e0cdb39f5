use super::*;
use std::fs;

const PASSTHROUGH: &str = "[networks.n]\nmode = \"passthrough\"\n\
    [networks.n.ports.up]\nuplink = true\n[networks.n.ports.guest]\n[networks.o.ports.x]";

fn base(text: &str) -> Base {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nb.toml");
    fs::write(&file, text).unwrap();
    Base::load(Some(&file), &Overrides::default()).unwrap()
}

#[test]
fn removal_that_does_not_fit_is_given_up_alone() {
    let mut state = State::default();
    state.remove_port("n", "up", true);
    state.remove_port("n", "guest", true);
    state.add_port("o", "y", Table::new());
    let (fitting, networks) = fit(&base(PASSTHROUGH), state, &Overrides::default()).unwrap();
    let mut expected = State::default();
    expected.remove_port("n", "guest", true);
    expected.add_port("o", "y", Table::new());
    assert_eq!(fitting, expected);
    let ports = |network: &NetworkConfig| network.ports.len();
    assert_eq!(networks.iter().map(ports).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn network_keeps_its_uplink_if_the_removal_of_its_port_does_not_fit() {
    let mut state = State::default();
    let settings = "mode = \"passthrough\"\n[ports.up]\nuplink = true";
    state.add_network("lab", settings.parse().unwrap());
    state.remove_port("lab", "up", true);
    let (fitting, networks) = fit(&base(PASSTHROUGH), state, &Overrides::default()).unwrap();
    let mut expected = State::default();
    expected.add_network("lab", settings.parse().unwrap());
    assert_eq!(fitting, expected);
    assert!(networks.iter().any(|network| network.name == "lab"));
}
