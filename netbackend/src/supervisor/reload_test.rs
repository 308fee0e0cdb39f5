use super::*;
use crate::config::Overrides;
use std::path::Path;

fn networks(text: &str) -> Vec<NetworkConfig> {
    let config = Config::parse(Path::new("nb.toml"), text, &Overrides::default());
    config.unwrap().networks
}

fn names(ports: &[PortConfig]) -> Vec<&str> {
    ports.iter().map(|port| port.name.as_str()).collect()
}

#[test]
fn ports_that_came_or_went_during_a_reload_are_kept_up_with() {
    let network = |text| networks(text).remove(0);
    let before = network("[networks.a.ports.went]\n[networks.a.ports.stays]");
    let mut now = network("[networks.a.ports.stays]\n[networks.a.ports.came]");
    let asked =
        network("[networks.a.ports.went]\n[networks.a.ports.stays]\n[networks.a.ports.new]");
    keep_up(&mut now, Some(&before), asked);
    assert_eq!(names(&now.ports), ["new", "stays", "came"]);
}

#[test]
fn mtu_stays_while_the_nic_is_unplugged() {
    let network = |nic: &str| {
        let text = format!("[networks.a.uplink]\nnic = \"{nic}\"");
        networks(&text).remove(0)
    };
    let mut running = network("eth1");
    running.mtu = 9000;
    let mut same = network("eth1");
    assert!(keep_mtu(&mut same, Some(&running)));
    assert_eq!(same, running);
    assert!(!keep_mtu(&mut network("eth2"), Some(&running)));
    assert!(!keep_mtu(&mut network("eth1"), None));
}

#[test]
fn forward_that_cannot_be_had_costs_no_other() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = format!(
        "[networks.a]\nmode = \"nat\"\nforwards = [\"tcp:127.0.0.1:{port}=:22\", \"udp:127.0.0.1:{port}=:53\"]"
    );
    let mut network = networks(&text).remove(0);
    let mut report = ReloadReport::default();
    let open = open_forwards(&mut network, &mut report);
    assert_eq!(open.len(), 1);
    assert_eq!(network.nat.unwrap().forwards, [open[0].forward.clone()]);
    assert_eq!(report.failed.len(), 1, "{report:?}");
}
