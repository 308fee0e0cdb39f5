//! Guests with a macvtap of their own each.
use super::{Guest, OUTSIDE, PATIENCE, Wire, needs_vlans};
use std::time::Instant;
use tests::{Daemon, PacketSocket, heavy, needs_root};

/// Two guests on the wire.
fn start(mode: &str, guests: &[Guest]) -> (Wire, Daemon) {
    let wire = Wire::new();
    let mut config = format!("[networks.n]\nmode = \"{mode}\"\n");
    config += &wire.section("n", "attach = \"macvtap\"");
    for guest in guests {
        config += &guest.section("n");
    }
    let daemon = Daemon::start(&config);
    for guest in guests {
        guest.configure();
    }
    (wire, daemon)
}

#[test]
fn the_kernel_switches_between_guests_in_the_mode_of_the_network() {
    if !needs_root("the_kernel_switches_between_guests_in_the_mode_of_the_network") {
        return;
    }
    let _turn = heavy();
    for (mode, reach_each_other) in [("bridge", true), ("private", false), ("vepa", false)] {
        let guests = [Guest::new(2), Guest::new(3)];
        let (wire, daemon) = start(mode, &guests);
        for guest in &guests {
            guest.wait_reaches(OUTSIDE);
        }
        assert_eq!(guests[0].reaches("10.7.0.3"), reach_each_other, "{mode}");
        let links = wire.more_links();
        for guest in &guests {
            let own = links.iter().find(|link| link.contains(&guest.mac()));
            let own = own.unwrap_or_else(|| panic!("{links:#?}"));
            assert!(own.contains(&format!("macvtap mode {mode}")), "{own}");
        }
        // It goes with its port only.
        assert!(daemon.stop().success());
        assert_eq!(wire.more_links(), Vec::<String>::new());
    }
}

#[test]
fn a_passthrough_guest_has_the_nic_to_itself() {
    if !needs_root("a_passthrough_guest_has_the_nic_to_itself") {
        return;
    }
    let _turn = heavy();
    let guests = [Guest::new(2)];
    let (wire, _daemon) = start("passthrough", &guests);
    guests[0].wait_reaches(OUTSIDE);
    let links = wire.more_links();
    assert!(links[0].contains("macvtap mode passthru"), "{links:#?}");
}

#[test]
fn a_vlan_of_the_wire_is_tagged_there_only() {
    if !needs_root("a_vlan_of_the_wire_is_tagged_there_only") {
        return;
    }
    let _turn = heavy();
    if !needs_vlans("a_vlan_of_the_wire_is_tagged_there_only") {
        return;
    }
    for attach in ["switch", "macvtap"] {
        let wire = Wire::new();
        let guest = Guest::new(2);
        let section = wire.section("n", &format!("vlan = 7\nattach = \"{attach}\""));
        let _daemon = Daemon::start(&(section + &guest.section("n")));
        guest.configure();
        // The untagged address is in another world now.
        wire.outside.script(
            "ip link add link eth0 name eth0.7 type vlan id 7
             ip addr add 10.7.0.77/24 dev eth0.7
             ip addr del 10.7.0.1/24 dev eth0
             ip link set eth0.7 up",
        );
        guest.wait_reaches("10.7.0.77");
    }
}

#[test]
fn a_tap_uplink_is_a_port_of_its_bridge() {
    if !needs_root("a_tap_uplink_is_a_port_of_its_bridge") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    bridge(&wire);
    let guest = Guest::new(2);
    let daemon = Daemon::start(&(tap_section(&wire, "") + &guest.section("n")));
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    // The bridge goes and comes back.
    wire.host.run("ip link del br0");
    bridge(&wire);
    guest.wait_reaches(OUTSIDE);
    daemon.wait_running("n", "uplink");
}

#[test]
fn a_tap_uplink_tags_for_a_vlan() {
    if !needs_root("a_tap_uplink_tags_for_a_vlan") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    bridge(&wire);
    let guest = Guest::new(2);
    let _daemon = Daemon::start(&(tap_section(&wire, "vlan = 7") + &guest.section("n")));
    guest.configure();
    let seen = PacketSocket::open(&wire.outside, "eth0");
    // Who has 10.7.0.1? Nobody hears it: the address outside is of no VLAN.
    assert!(!guest.reaches(OUTSIDE));
    let deadline = Instant::now() + PATIENCE;
    let request =
        std::iter::from_fn(|| seen.receive(deadline)).find(|frame| frame[..6] == [0xff; 6]);
    assert_eq!(request.unwrap()[12..18], [0x81, 0, 0, 7, 0x08, 0x06]);
}

fn bridge(wire: &Wire) {
    wire.host.script(
        "ip link add br0 up type bridge
         ip link set nic0 master br0",
    );
}

fn tap_section(wire: &Wire, more: &str) -> String {
    let netns = wire.host.name();
    format!("[networks.n.uplink]\ntap = \"up0\"\nbridge = \"br0\"\nnetns = \"{netns}\"\n{more}\n")
}
