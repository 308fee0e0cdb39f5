//! The short way decides as the long one does, which `repeat` and all other tests take, too.
use std::time::Duration;

use super::*;
use crate::{Egress, MacAddr, PortConfig, PortPolicy, Role, Switch, SwitchConfig};

const NOW: Duration = Duration::from_secs(1);
const A: PortId = PortId(0);
const B: PortId = PortId(1);

fn frame(dst: u8, src: u8) -> [u8; 14] {
    [2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 8, 0]
}

fn bridge(mac: Option<MacAddr>) -> Switch {
    let mut switch = Switch::new(SwitchConfig::new(Mode::Bridge));
    let config = |mac| PortConfig {
        role: Role::Guest,
        mac,
    };
    switch.add_port(A, config(mac)).unwrap();
    switch.add_port(B, config(None)).unwrap();
    for (port, src) in [(A, 1), (B, 2)] {
        let _ = switch.forward(NOW, port, &frame(0xff, src));
    }
    switch
}

#[test]
fn known_unicast_takes_the_short_way() {
    for mac in [None, Some(MacAddr([2, 0, 0, 0, 0, 1]))] {
        let mut switch = bridge(mac);
        assert_eq!(switch.known(NOW, A, &frame(2, 1)), Some(B));
        assert_eq!(switch.known(NOW, B, &frame(1, 2)), Some(A));
    }
}

#[test]
fn everything_else_does_not() {
    let mut switch = bridge(None);
    // To nobody known, to oneself, from a new or moved or impossible source, to a group, cut short.
    for odd in [frame(9, 1), frame(1, 1), frame(2, 9), frame(1, 2)] {
        assert_eq!(switch.known(NOW, A, &odd), None, "{odd:?}");
    }
    let mut odd = frame(2, 1);
    odd[0] |= 1;
    assert_eq!(switch.known(NOW, A, &odd), None);
    odd = frame(2, 1);
    odd[6] |= 1;
    assert_eq!(switch.known(NOW, A, &odd), None);
    odd = frame(2, 1);
    odd[12..].copy_from_slice(&[0x88, 0x08]);
    assert_eq!(switch.known(NOW, A, &odd), None, "PAUSE");
    assert_eq!(switch.known(NOW, A, &frame(2, 1)[..13]), None);
    assert_eq!(switch.known(NOW, PortId(7), &frame(2, 1)), None);
}

#[test]
fn what_ages_or_must_be_refreshed_goes_the_long_way() {
    let mut switch = bridge(None);
    let ageing = SwitchConfig::DEFAULT_AGEING;
    let later = NOW + ageing / 100;
    assert_eq!(
        switch.known(later, A, &frame(2, 1)),
        None,
        "to be refreshed"
    );
    assert_eq!(switch.forward(later, A, &frame(2, 1)), Egress::Port(B));
    assert_eq!(switch.known(later, A, &frame(2, 1)), Some(B));
    let late = NOW + ageing;
    let _ = switch.forward(ageing, A, &frame(2, 1));
    assert_eq!(switch.known(late, A, &frame(2, 1)), None, "B has aged");
}

#[test]
fn a_port_with_policies_goes_the_long_way() {
    let mut switch = bridge(Some(MacAddr([2, 0, 0, 0, 0, 1])));
    for policy in [
        PortPolicy {
            isolated: true,
            ..PortPolicy::default()
        },
        PortPolicy {
            anti_spoofing: true,
            ..PortPolicy::default()
        },
    ] {
        switch.set_policy(NOW, A, &policy).unwrap();
        assert_eq!(switch.known(NOW, A, &frame(2, 1)), None);
    }
}
