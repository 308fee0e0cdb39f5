//! Ports that are joined in pairs.
use std::time::Duration;

use crate::{
    DropReason, Egress, MacAddr, Mode, PortConfig, PortError, PortId, PortPolicy, Role, Switch,
    SwitchConfig,
};

const NOW: Duration = Duration::from_secs(1);
const ONE: PortId = PortId(0);
const OTHER: PortId = PortId(1);
const STRANGER: PortId = PortId(2);

fn mac(n: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 0, n])
}

fn switch(mode: Mode) -> Switch {
    let mut switch = Switch::new(SwitchConfig::new(mode));
    for (id, mac) in [(ONE, Some(mac(1))), (OTHER, None), (STRANGER, Some(mac(3)))] {
        let role = Role::Guest;
        switch.add_port(id, PortConfig { role, mac }).unwrap();
    }
    switch.join(ONE, OTHER).unwrap();
    switch
}

fn send(switch: &mut Switch, from: PortId, src: MacAddr, dst: MacAddr) -> Egress {
    let frame = [&dst.0[..], &src.0, &[0x88, 0xb5, 0, 0]].concat();
    switch.forward(NOW, from, &frame)
}

#[test]
fn frames_leave_by_the_other_end_whatever_their_addresses() {
    for mode in [Mode::Bridge, Mode::Private, Mode::Vepa] {
        let mut switch = switch(mode);
        for dst in [mac(1), mac(3), mac(9), MacAddr::BROADCAST] {
            // Twice: also when the last decision is remembered.
            for _ in 0..2 {
                assert_eq!(send(&mut switch, ONE, mac(1), dst), Egress::Port(OTHER));
                assert_eq!(send(&mut switch, OTHER, mac(7), dst), Egress::Port(ONE));
            }
        }
    }
}

#[test]
fn reserved_groups_pass_as_through_a_cable() {
    let mut switch = switch(Mode::Bridge);
    let lldp = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x0e]);
    assert_eq!(send(&mut switch, ONE, mac(1), lldp), Egress::Port(OTHER));
}

#[test]
fn anti_spoofing_still_holds() {
    let mut switch = switch(Mode::Bridge);
    let policy = PortPolicy {
        anti_spoofing: true,
        ..PortPolicy::default()
    };
    switch.set_policy(NOW, ONE, &policy).unwrap();
    let spoofed = send(&mut switch, ONE, mac(2), mac(9));
    assert_eq!(spoofed, Egress::Drop(DropReason::Spoofed));
    assert_eq!(send(&mut switch, ONE, mac(1), mac(9)), Egress::Port(OTHER));
}

#[test]
fn a_cable_without_its_far_end_leads_nowhere() {
    let mut switch = switch(Mode::Bridge);
    assert_eq!(send(&mut switch, ONE, mac(1), mac(3)), Egress::Port(OTHER));
    switch.remove_port(OTHER);
    let lost = send(&mut switch, ONE, mac(1), mac(3));
    assert_eq!(lost, Egress::Drop(DropReason::NoReceiver));
}

#[test]
fn both_ends_must_exist() {
    let mut switch = switch(Mode::Bridge);
    let missing = PortId(7);
    assert_eq!(
        switch.join(ONE, missing),
        Err(PortError::NoSuchPort(missing))
    );
}
