//! Ends: half-closes, resets, and silence, both ways.
use crate::testkit::*;
use crate::{FlowState, HostError, Readiness};
use std::time::Duration;

fn state(lab: &Lab) -> Option<FlowState> {
    lab.gateway.flows(lab.now).next().map(|flow| flow.state)
}

#[test]
fn a_guests_fin_is_a_half_close_and_the_world_may_go_on() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.tcp(&Tcp {
        payload: b"request".to_vec(),
        ..fin(1, ours)
    });
    lab.expect(&ack(ours, 9));
    assert_eq!(lab.socket(0).outbox, b"request");
    assert!(lab.socket(0).shut && !lab.socket(0).closed);
    assert_eq!(state(&lab), Some(FlowState::GuestClosed));
    // As with `nc -N`: the answer comes long after.
    lab.pass(Duration::from_hours(1));
    lab.world(0, b"answer");
    lab.expect(&data(ours, 9, b"answer"));
    lab.tcp(&ack(9, ours + 6));
    lab.world_ends(0);
    lab.expect(&fin(ours + 6, 9));
    lab.tcp(&ack(9, ours + 7));
    lab.expect_nothing();
    assert_eq!((state(&lab), lab.socket(0).closed), (None, true));
}

#[test]
fn the_worlds_end_is_a_fin_and_the_guest_may_go_on() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.socket(0).inbox.extend(b"bye");
    lab.world_ends(0);
    lab.expect(&data(ours, 1, b"bye"));
    lab.expect(&fin(ours + 3, 1));
    lab.tcp(&ack(1, ours + 4));
    assert_eq!(state(&lab), Some(FlowState::WorldClosed));
    lab.tcp(&data(1, ours + 4, b"more"));
    lab.expect(&ack(ours + 4, 5));
    assert_eq!(lab.socket(0).outbox, b"more");
    lab.tcp(&fin(5, ours + 4));
    lab.expect(&ack(ours + 4, 6));
    assert!(lab.socket(0).closed);
    // The guest may not have got that: for a while its FIN is answered.
    lab.tcp(&fin(5, ours + 4));
    lab.expect(&ack(ours + 4, 6));
    lab.pass(Duration::from_secs(3));
    assert_eq!(state(&lab), None);
}

#[test]
fn a_new_connection_from_the_same_port_need_not_wait() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.world_ends(0);
    lab.expect(&fin(ours, 1));
    lab.tcp(&fin(1, ours + 1));
    lab.expect(&ack(ours + 1, 2));
    lab.tcp(&syn(5000));
    lab.connected(1);
    assert_eq!(lab.next_tcp().unwrap().ack, Some(5001));
    assert_eq!(lab.gateway.flows(lab.now).count(), 1);
}

#[test]
fn both_ends_at_once() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.world_ends(0);
    lab.expect(&fin(ours, 1));
    // The guest's FIN crosses ours: it does not acknowledge it.
    lab.tcp(&fin(1, ours));
    lab.expect(&ack(ours + 1, 2));
    assert_eq!(state(&lab), Some(FlowState::Closing));
    lab.tcp(&ack(2, ours + 1));
    assert!(lab.socket(0).closed);
}

#[test]
fn a_fin_that_is_lost_is_sent_again() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.world_ends(0);
    lab.expect(&fin(ours, 1));
    lab.pass(Duration::from_secs(2));
    lab.expect(&fin(ours, 1));
}

#[test]
fn a_fin_that_comes_early_waits_for_what_is_before_it() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.tcp(&fin(4, ours));
    lab.expect(&ack(ours, 1));
    assert!(!lab.socket(0).shut);
    lab.tcp(&data(1, ours, b"abc"));
    lab.expect(&ack(ours, 5));
    assert_eq!(lab.socket(0).outbox, b"abc");
    assert!(lab.socket(0).shut);
}

#[test]
fn what_the_guest_sent_before_fin_arrives_however_slow_the_world_is() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.socket(0).room = 2;
    lab.tcp(&Tcp {
        payload: b"slowly".to_vec(),
        ..fin(1, ours)
    });
    lab.world_ends(0);
    while lab.next_tcp().is_some() {}
    lab.tcp(&ack(8, ours + 1));
    assert!(!lab.socket(0).shut && !lab.socket(0).closed);
    lab.socket(0).room = 9;
    lab.event(
        0,
        Readiness {
            writable: true,
            ..Default::default()
        },
    );
    assert_eq!(lab.socket(0).outbox, b"slowly");
    assert!(lab.socket(0).shut && lab.socket(0).closed);
}

#[test]
fn a_reset_of_the_guest_is_a_reset_of_the_socket() {
    let mut lab = Lab::new();
    lab.establish(&syn(0));
    lab.tcp(&rst(1));
    assert!(lab.socket(0).reset);
    assert_eq!(state(&lab), None);
    lab.expect_nothing();
}

#[test]
fn a_reset_elsewhere_in_the_window_is_challenged_and_one_out_of_it_is_nothing() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.tcp(&rst(100));
    lab.expect(&ack(ours, 1));
    lab.tcp(&rst(u32::MAX - 5));
    lab.expect_nothing();
    // Likewise SYN (RFC 5961, 4.2).
    lab.tcp(&syn(100));
    lab.expect(&ack(ours, 1));
    assert_eq!(state(&lab), Some(FlowState::Established));
}

#[test]
fn a_reset_of_the_world_is_a_reset_to_the_guest() {
    for error in [
        HostError::Reset,
        HostError::TimedOut,
        HostError::HostUnreachable,
    ] {
        let mut lab = Lab::new();
        let ours = lab.establish(&syn(0));
        lab.socket(0).broken = Some(error);
        lab.event(
            0,
            Readiness {
                error: true,
                ..Default::default()
            },
        );
        lab.expect(&Tcp {
            flags: "RA",
            ack: Some(1),
            ..rst(ours)
        });
        assert_eq!(lab.host().open_count(), 0);
    }
}

#[test]
fn a_reset_that_finds_no_room_in_the_network_waits_for_it() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.wire.room = 0;
    lab.socket(0).broken = Some(HostError::Reset);
    lab.event(
        0,
        Readiness {
            error: true,
            ..Default::default()
        },
    );
    lab.pass(Duration::from_mins(10));
    assert_eq!(lab.host().open_count(), 0);
    lab.wire.room = 1;
    lab.poll();
    lab.expect(&Tcp {
        flags: "RA",
        ack: Some(1),
        ..rst(ours)
    });
    assert_eq!(state(&lab), None);
    lab.expect_nothing();
}

#[test]
fn a_write_to_a_world_that_is_gone_is_a_reset_to_the_guest() {
    for len in [10, 20_000] {
        let mut lab = Lab::new();
        let ours = lab.establish(&syn(0));
        lab.socket(0).broken = Some(HostError::Reset);
        lab.tcp(&data(1, ours, &vec![0; len]));
        assert_eq!(lab.next_tcp().unwrap().flags, "RA");
        assert_eq!((lab.host().open_count(), state(&lab)), (0, None));
        lab.expect_nothing();
    }
}

#[test]
fn a_guest_that_vanishes_with_data_under_way_is_given_up() {
    let mut lab = Lab::new();
    lab.establish(&syn(0));
    lab.world(0, b"hello");
    let start = lab.now;
    while lab.host().open_count() > 0 {
        lab.pass(Duration::from_secs(10));
        assert!(
            lab.now < start + Duration::from_mins(10),
            "it is never given up"
        );
    }
    assert!(
        lab.now > start + Duration::from_secs(100),
        "RFC 9293, 3.8.3: R2"
    );
    assert!(lab.socket(0).reset);
}

#[test]
fn an_idle_flow_lives_as_long_as_the_guest_answers() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.pass(Duration::from_mins(123));
    lab.expect_nothing();
    for _ in 0..10 {
        lab.pass(Duration::from_mins(2));
        lab.expect(&ack(ours - 1, 1));
        lab.tcp(&ack(1, ours));
        while lab.next_tcp().is_some() {}
        lab.pass(Duration::from_mins(122));
    }
    assert_eq!(lab.host().open_count(), 1);
    lab.pass(Duration::from_mins(20));
    assert!(lab.socket(0).reset, "it does not answer any more");
}

#[test]
fn ten_thousand_connections_one_after_the_other_leave_nothing() {
    let mut lab = Lab::new();
    for n in 0..10_000_u32 {
        let guest = std::net::SocketAddr::new(GUEST.ip(), u16::try_from(1 + n % 5000).unwrap());
        lab.tcp_from(guest, REMOTE, &syn(n * 7919));
        let index = usize::try_from(n).unwrap();
        lab.connected(index);
        let ours = lab.next_tcp().unwrap().seq + 1;
        lab.tcp_from(guest, REMOTE, &data(n * 7919 + 1, ours, b"q"));
        lab.socket(index).inbox.extend(b"a");
        lab.world_ends(index);
        lab.tcp_from(guest, REMOTE, &fin(n * 7919 + 2, ours + 2));
        assert!(lab.socket(index).closed, "connection {n}");
        lab.wire.frames.clear();
        lab.now += Duration::from_millis(1);
    }
    lab.pass(Duration::from_secs(5));
    assert_eq!(lab.gateway.flows(lab.now).count(), 0);
    assert_eq!(lab.gateway.guest_of(GUEST_MAC).unwrap().flows, 0);
    assert_eq!(lab.host().open_count(), 0);
}

#[test]
fn a_byte_that_comes_again_is_no_probe_but_one_after_a_long_time_is() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.tcp(&data(1, ours, b"x"));
    lab.expect(&ack(ours, 2));
    // As RFC 6298 has it: after 1, 3, 7 and 15 seconds.
    for wait in [1, 2, 4, 8] {
        lab.pass(Duration::from_secs(wait));
        lab.tcp(&data(1, ours, b"x"));
        lab.expect(&ack(ours, 2));
    }
    assert_eq!(lab.socket(0).keep_alives, 0);
    // What came out of the window did not count as activity.
    lab.pass(Duration::from_secs(15));
    lab.tcp(&data(1, ours, b"?"));
    lab.expect(&ack(ours, 2));
    assert_eq!(lab.socket(0).keep_alives, 1);
}

#[test]
fn a_fin_that_comes_again_is_no_probe_however_late() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    for wait in [0, 1, 60] {
        lab.pass(Duration::from_secs(wait));
        lab.tcp(&fin(1, ours));
        lab.expect(&ack(ours, 2));
    }
    assert_eq!(lab.socket(0).keep_alives, 0);
}

#[test]
fn neither_a_syn_that_comes_again_nor_a_reset_is_a_probe() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.pass(Duration::from_mins(1));
    lab.tcp(&syn(0));
    lab.expect(&ack(ours, 1));
    lab.tcp(&rst(0));
    lab.expect_nothing();
    assert_eq!(lab.socket(0).keep_alives, 0);
    assert!(!lab.socket(0).reset);
}

#[test]
fn a_guest_that_probes_has_the_world_probed() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.tcp(&data(1, ours, b"x"));
    lab.expect(&ack(ours, 2));
    assert_eq!(lab.socket(0).keep_alives, 0);
    // With a byte that is none, and without (RFC 1122, 4.2.3.6).
    lab.pass(Duration::from_mins(2));
    for probe in [data(1, ours, b"?"), ack(1, ours)] {
        lab.tcp(&probe);
        lab.expect(&ack(ours, 2));
        assert_eq!(lab.socket(0).keep_alives, 1, "once is enough");
    }
    // What the host finds is what the guest learns.
    lab.socket(0).broken = Some(HostError::TimedOut);
    let ready = Readiness {
        readable: true,
        writable: true,
        peer_closed: true,
        error: true,
        ..Readiness::default()
    };
    lab.event(0, ready);
    assert_eq!(lab.next_tcp().unwrap().flags, "RA");
    assert_eq!(lab.host().open_count(), 0);
    assert_eq!(lab.gateway.flows(lab.now).count(), 0);
}
