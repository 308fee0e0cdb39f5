//! The world first, then the guest.
use crate::testkit::*;
use crate::{DropReason, FlowState, HostError};
use std::time::Duration;

fn syn_ack(lab: &mut Lab) -> Tcp {
    let answer = lab.next_tcp().expect("a segment");
    assert_eq!(answer.flags, "SA");
    answer
}

#[test]
fn syn_ack_goes_back_when_the_host_has_connected_and_not_before() {
    let mut lab = Lab::new();
    lab.tcp(&syn(1000));
    assert_eq!(lab.socket(0).remote, Some(REMOTE));
    lab.expect_nothing();
    // A spurious event changes nothing.
    lab.event(
        0,
        crate::Readiness {
            writable: true,
            ..Default::default()
        },
    );
    lab.expect_nothing();
    lab.connected(0);
    let answer = syn_ack(&mut lab);
    assert_eq!(answer.ack, Some(1001));
    assert_eq!(
        (answer.mss, answer.shift, answer.sack),
        (Some(1460), Some(7), true)
    );
    lab.tcp(&ack(1001, answer.seq + 1));
    lab.expect_nothing();
    assert_eq!(
        lab.gateway.flows(lab.now).next().unwrap().state,
        FlowState::Established
    );
}

#[test]
fn a_refused_connection_is_a_reset() {
    let mut lab = Lab::new();
    lab.tcp(&syn(1000));
    lab.socket(0).connected = Err(HostError::Refused);
    lab.event(
        0,
        crate::Readiness {
            error: true,
            ..Default::default()
        },
    );
    lab.expect(&Tcp {
        flags: "RA",
        ack: Some(1001),
        ..rst(0)
    });
    assert_eq!(
        (lab.host().open_count(), lab.gateway.flows(lab.now).count()),
        (0, 0)
    );
    assert_eq!(lab.gateway.counters().tcp_refused, 1);
}

#[test]
fn an_unreachable_host_is_an_icmp_error_that_quotes_the_syn() {
    use smoltcp::wire::{Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, Ipv4Packet};
    for (error, code) in [
        (
            HostError::HostUnreachable,
            Icmpv4DstUnreachable::HostUnreachable,
        ),
        (
            HostError::NetworkUnreachable,
            Icmpv4DstUnreachable::NetUnreachable,
        ),
        (HostError::TimedOut, Icmpv4DstUnreachable::HostUnreachable),
        (
            HostError::NotPermitted,
            Icmpv4DstUnreachable::CommProhibited,
        ),
    ] {
        let mut lab = Lab::new();
        lab.tcp(&syn(1000));
        lab.socket(0).connected = Err(error);
        lab.event(
            0,
            crate::Readiness {
                error: true,
                ..Default::default()
            },
        );
        let (frame, _) = lab.next_frame().expect("an ICMP error");
        let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum());
        assert_eq!(icmp.msg_type(), Icmpv4Message::DstUnreachable);
        assert_eq!(icmp.msg_code(), u8::from(code));
        let quoted = Ipv4Packet::new_unchecked(icmp.data());
        assert_eq!(
            (quoted.src_addr(), quoted.dst_addr()),
            ("10.0.2.15".parse().unwrap(), "192.0.2.80".parse().unwrap())
        );
        let ports_and_seq = [
            &GUEST.port().to_be_bytes()[..],
            &80_u16.to_be_bytes(),
            &1000_u32.to_be_bytes(),
        ];
        assert_eq!(icmp.data()[20..], ports_and_seq.concat());
        assert_eq!(lab.host().open_count(), 0);
    }
}

#[test]
fn a_host_without_descriptors_lets_the_guest_try_again() {
    let mut lab = Lab::new();
    lab.host().refuse = Some(HostError::NoResources);
    lab.tcp(&syn(1000));
    lab.expect_nothing();
    assert_eq!(lab.gateway.counters().dropped(DropReason::HostResources), 1);
    lab.host().refuse = None;
    lab.tcp(&syn(1000));
    lab.connected(0);
    syn_ack(&mut lab);
}

#[test]
fn a_syn_that_comes_again_asks_the_host_once() {
    let mut lab = Lab::new();
    lab.tcp(&syn(1000));
    lab.tcp(&syn(1000));
    assert_eq!(lab.host().sockets.len(), 1);
    lab.connected(0);
    let first = syn_ack(&mut lab);
    lab.tcp(&syn(1000));
    assert_eq!(syn_ack(&mut lab), first);
    lab.expect_nothing();
}

#[test]
fn syn_ack_is_sent_again_and_then_given_up() {
    let mut lab = Lab::new();
    lab.tcp(&syn(1000));
    lab.connected(0);
    for wait in [1, 2, 4, 8, 16, 32] {
        syn_ack(&mut lab);
        lab.pass(Duration::from_millis(wait * 1000 - 100));
        lab.expect_nothing();
        lab.pass(Duration::from_millis(110));
    }
    assert_eq!(lab.next_tcp().unwrap().flags, "RA");
    assert!(lab.socket(0).reset);
    assert_eq!(lab.gateway.flows(lab.now).count(), 0);
}

#[test]
fn a_guest_that_restarts_while_connecting_gets_a_new_connection() {
    let mut lab = Lab::new();
    lab.tcp(&syn(1000));
    lab.tcp(&syn(5000));
    assert!(lab.socket(0).reset);
    lab.connected(1);
    assert_eq!(syn_ack(&mut lab).ack, Some(5001));
    lab.tcp(&syn(9000));
    assert!(lab.socket(1).reset);
    lab.connected(2);
    assert_eq!(syn_ack(&mut lab).ack, Some(9001));
}

#[test]
fn a_reset_while_connecting_drops_the_attempt() {
    let mut lab = Lab::new();
    lab.tcp(&syn(1000));
    lab.tcp(&rst(7));
    assert!(
        !lab.socket(0).reset,
        "a reset with another number is nothing"
    );
    lab.tcp(&rst(1001));
    assert!(lab.socket(0).reset);
    assert_eq!(lab.gateway.flows(lab.now).count(), 0);
}

#[test]
fn a_wrong_acknowledgement_of_syn_ack_is_reset_and_the_handshake_stays() {
    let mut lab = Lab::new();
    lab.tcp(&syn(1000));
    lab.connected(0);
    let answer = syn_ack(&mut lab);
    lab.tcp(&ack(1001, answer.seq + 9));
    lab.expect(&rst(answer.seq + 9).window(0));
    lab.tcp(&data(1001, answer.seq + 1, b"hello"));
    lab.expect(&ack(answer.seq + 1, 1006));
    assert_eq!(lab.socket(0).outbox, b"hello");
}

#[test]
fn segments_of_no_connection_are_reset() {
    let mut lab = Lab::new();
    lab.tcp(&ack(5, 77));
    lab.expect(&rst(77).window(0));
    lab.tcp(&Tcp {
        ack: None,
        ..fin(5, 0)
    });
    lab.expect(&Tcp {
        flags: "RA",
        ack: Some(6),
        ..rst(0)
    });
    lab.tcp(&rst(5));
    lab.expect_nothing();
}

#[test]
fn a_connection_over_ipv6() {
    let mut lab = Lab::new();
    let guest = "[fd00::15]:40000".parse().unwrap();
    let remote = "[2001:db8::80]:443".parse().unwrap();
    lab.tcp_from(guest, remote, &syn(1));
    assert_eq!(lab.socket(0).remote, Some(remote));
    lab.connected(0);
    let answer = syn_ack(&mut lab);
    assert_eq!(answer.mss, Some(1440));
    lab.tcp_from(guest, remote, &data(2, answer.seq + 1, b"six"));
    lab.expect(&ack(answer.seq + 1, 5));
    assert_eq!(lab.socket(0).outbox, b"six");
}

#[test]
fn nobody_answers_for_four_minutes() {
    let mut lab = Lab::new();
    lab.tcp(&syn(1000));
    lab.pass(Duration::from_secs(239));
    assert_eq!(lab.host().open_count(), 1);
    lab.pass(Duration::from_secs(2));
    assert_eq!(lab.host().open_count(), 0);
    let (frame, _) = lab.next_frame().expect("host unreachable");
    assert_eq!(frame[23], 1, "ICMP");
}
