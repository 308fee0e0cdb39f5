//! A frame like the one before is decided from memory: nobody must be able to tell.
use super::*;

const A: PortId = PortId(0);
const B: PortId = PortId(1);
const C: PortId = PortId(2);
const MAC_A: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const MAC_B: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
const NOW: Duration = Duration::from_secs(1);

fn send(switch: &mut Switch, now: Duration, ingress: PortId, src: MacAddr, dst: MacAddr) -> Egress {
    let mut frame = [0; 14];
    frame[..6].copy_from_slice(&dst.0);
    frame[6..12].copy_from_slice(&src.0);
    switch.forward(now, ingress, &frame)
}

/// Three guests; `A` has just sent to `B` twice.
fn network(mac_a: Option<MacAddr>) -> Switch {
    let mut switch = Switch::new(SwitchConfig::new(Mode::Bridge));
    for (id, mac) in [(A, mac_a), (B, None), (C, None)] {
        let role = Role::Guest;
        switch.add_port(id, PortConfig { role, mac }).unwrap();
    }
    send(&mut switch, NOW, B, MAC_B, MAC_A);
    for _ in 0..3 {
        let egress = send(&mut switch, NOW, A, MAC_A, MAC_B);
        assert_eq!(egress, Egress::Port(B));
    }
    assert!(switch.repeat.is_some());
    switch
}

fn again(switch: &mut Switch) -> Egress {
    send(switch, NOW, A, MAC_A, MAC_B)
}

#[test]
fn an_address_that_moves_at_the_same_moment_is_followed() {
    let mut switch = network(None);
    send(&mut switch, NOW, C, MAC_B, MAC_A);
    assert_eq!(again(&mut switch), Egress::Port(C));
}

#[test]
fn a_port_that_goes_is_sent_nothing() {
    let mut switch = network(None);
    switch.remove_port(B);
    assert_ne!(again(&mut switch), Egress::Port(B));
}

#[test]
fn a_static_address_counts_at_once() {
    let mut switch = network(None);
    switch.add_static(MAC_B, C).unwrap();
    assert_eq!(again(&mut switch), Egress::Port(C));
}

#[test]
fn a_policy_counts_at_once() {
    let mut switch = network(None);
    let policy = PortPolicy {
        isolated: true,
        ..PortPolicy::default()
    };
    for id in [A, B] {
        switch.set_policy(NOW, id, &policy).unwrap();
    }
    assert_eq!(again(&mut switch), Egress::Drop(DropReason::Isolated));
}

#[test]
fn other_types_and_ports_are_decided_for_themselves() {
    let mut switch = network(None);
    let mut pause = [0; 14];
    pause[..6].copy_from_slice(&MAC_B.0);
    pause[6..12].copy_from_slice(&MAC_A.0);
    pause[12..].copy_from_slice(&[0x88, 0x08]);
    let dropped = switch.forward(NOW, A, &pause);
    assert_eq!(dropped, Egress::Drop(DropReason::Pause));
    again(&mut switch);
    let own = send(&mut switch, NOW, B, MAC_A, MAC_B);
    assert_eq!(own, Egress::Drop(DropReason::SamePort));
}

#[test]
fn a_wrong_source_is_counted_each_time() {
    let mut switch = network(Some(MAC_A));
    for count in 1..4 {
        send(
            &mut switch,
            NOW,
            A,
            MacAddr([0x52, 0x54, 0, 0, 0, 9]),
            MAC_B,
        );
        assert_eq!(switch.counters().source_not_fixed, count);
    }
}

#[test]
fn an_address_ages_under_frames_to_it() {
    let mut switch = network(None);
    let later = NOW + SwitchConfig::new(Mode::Bridge).ageing;
    let egress = send(&mut switch, later, A, MAC_A, MAC_B);
    assert!(matches!(egress, Egress::Flood(_)), "{egress:?}");
}
