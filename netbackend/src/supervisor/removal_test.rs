use super::*;
use crate::config::Base;

const NETWORKS: &str = "[networks.n]\nmode = \"passthrough\"\n\
    [networks.n.ports.up]\nuplink = true\n[networks.n.ports.guest]\n\
    [networks.o.ports.x]\n[networks.w.uplink]\nnic = \"eth1\"";

fn definitions(text: &str) -> Definitions {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nb.toml");
    fs::write(&file, text).unwrap();
    let base = Base::load(Some(&file), &Overrides::default()).unwrap();
    let networks = base.with(&Overrides::default(), |_| ()).unwrap();
    let mut definitions = Definitions::new(base, State::default());
    for network in networks {
        definitions.defined.insert(network.name.clone(), network);
    }
    definitions
}

#[test]
fn port_that_its_network_needs_is_not_removed() {
    let definitions = definitions(NETWORKS);
    let check = |network: &str, port: &str| {
        let checked = definitions.check_removal(&Overrides::default(), network, port);
        checked.map_err(|wrong| (wrong.code, wrong.message))
    };
    assert_eq!(check("n", "guest"), Ok(()));
    assert_eq!(check("n", "leased"), Ok(()));
    for (network, port, words) in [
        ("n", "up", "needs an uplink"),
        ("w", "uplink", "[networks.w.uplink]"),
    ] {
        let (code, message) = check(network, port).unwrap_err();
        assert_eq!(code, "conflict");
        assert!(message.contains(words), "{message}");
    }
}
