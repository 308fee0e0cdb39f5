use super::*;
use crate::config::{Config, Overrides};

#[test]
fn a_port_called_like_its_vlan_has_an_interface_of_its_own() {
    let text = "[networks.n.uplink]\nnic = \"e\"\nattach = \"macvtap\"\nvlan = 7\n[networks.n.ports.vlan7]";
    let config = Config::parse(Path::new("nb.toml"), text, &Overrides::default());
    let network = config.unwrap().networks.remove(0);
    let mut port = network.ports[0].clone();
    let spec = Spec::of(&network, &mut port, Path::new("/run/netbackend"));
    let Some(Spec::Macvtap(spec)) = spec else {
        panic!("{spec:?}");
    };
    let (_, vlan) = spec.vlan.unwrap();
    assert_ne!(vlan.interface(), spec.identity.interface());
}
