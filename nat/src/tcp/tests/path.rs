//! Routers behind the guest whose links take less than it says.
use crate::DropReason;
use crate::testkit::*;
use std::net::SocketAddr;
use std::time::Duration;

/// A connection on which a large frame is under way; our first number, the bytes, and the frame.
fn busy(lab: &mut Lab, guest: SocketAddr, remote: SocketAddr) -> (u32, Vec<u8>, Vec<u8>) {
    lab.tcp_from(guest, remote, &syn(0));
    lab.connected(0);
    let ours = lab.next_tcp().unwrap().seq + 1;
    lab.tcp_from(guest, remote, &ack(1, ours));
    let bytes: Vec<u8> = (0..7000_u32).map(|n| n.to_le_bytes()[0]).collect();
    lab.world(0, &bytes);
    let (frame, _) = lab.next_frame().unwrap();
    lab.expect_nothing();
    (ours, bytes, frame)
}

/// Likewise over IPv4.
fn busy_v4(lab: &mut Lab) -> (u32, Vec<u8>, Vec<u8>) {
    busy(lab, GUEST, REMOTE)
}

/// The same frame, had it begun elsewhere.
fn moved(frame: &[u8], seq: u32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[38..42].copy_from_slice(&seq.to_be_bytes());
    frame
}

#[test]
fn what_does_not_fit_is_sent_again_in_smaller_segments_at_once() {
    for (guest, remote, mtu, mss) in [
        (GUEST, REMOTE, 1400, 1360),
        (GUEST_V6, REMOTE_V6, 1400, 1340),
        // No less than what every host can put together, or every link carries.
        (GUEST, REMOTE, 68, 536),
        (GUEST_V6, REMOTE_V6, 68, 1220),
        // One that is older than RFC 1191: 1006 is what comes below the 1492 of the segment that it has seen.
        (GUEST, REMOTE, 0, 966),
    ] {
        let mut lab = Lab::new();
        let (ours, bytes, mut frame) = busy(&mut lab, guest, remote);
        if mtu == 0 {
            frame[16..18].copy_from_slice(&1492_u16.to_be_bytes());
        }
        too_big(&mut lab, &frame, mtu);
        lab.expect(&data(ours, 1, &bytes).gso(mss));
        // So do all that follow, and the same said again says nothing new.
        too_big(&mut lab, &frame, mtu);
        lab.expect_nothing();
        lab.tcp_from(guest, remote, &ack(1, ours + 7000));
        lab.world(0, &bytes);
        lab.expect(&data(ours + 7000, 1, &bytes).gso(mss));
        assert_eq!(lab.gateway.counters().dropped(DropReason::UnknownIcmp), 0);
    }
}

#[test]
fn what_came_before_is_not_sent_again() {
    let mut lab = Lab::new();
    let (ours, bytes, frame) = busy_v4(&mut lab);
    too_big(&mut lab, &moved(&frame, ours + 2920), 1400);
    lab.expect(&data(ours + 2920, 1, &bytes[2920..]).gso(1360));
    lab.expect_nothing();
}

#[test]
fn a_larger_mtu_changes_nothing() {
    let mut lab = Lab::new();
    let (_, _, frame) = busy_v4(&mut lab);
    for mtu in [1500, 9000] {
        too_big(&mut lab, &frame, mtu);
        lab.expect_nothing();
    }
}

#[test]
fn who_has_not_seen_what_is_under_way_is_not_believed() {
    let mut lab = Lab::new();
    let (ours, bytes, frame) = busy_v4(&mut lab);
    for seq in [ours.wrapping_sub(1), ours + 7000, ours ^ 0x8000_0000] {
        too_big(&mut lab, &moved(&frame, seq), 1400);
    }
    // Another guest, about a connection that is not its own.
    lab.mac = crate::MacAddr([2, 0, 0, 0, 0, 9]);
    too_big(&mut lab, &frame, 1400);
    lab.mac = GUEST_MAC;
    assert_eq!(lab.gateway.counters().dropped(DropReason::UnknownIcmp), 4);
    lab.expect_nothing();
    lab.tcp(&ack(1, ours + 7000));
    // All has arrived.
    too_big(&mut lab, &frame, 1400);
    assert_eq!(lab.gateway.counters().dropped(DropReason::UnknownIcmp), 5);
    lab.world(0, &bytes);
    lab.expect(&data(ours + 7000, 1, &bytes).gso(1460));
}

#[test]
fn a_way_that_narrows_twice_is_followed_and_loses_nothing() {
    let mut lab = Lab::new();
    let (ours, bytes, frame) = busy_v4(&mut lab);
    too_big(&mut lab, &frame, 1400);
    lab.expect(&data(ours, 1, &bytes).gso(1360));
    too_big(&mut lab, &frame, 1000);
    lab.expect(&data(ours, 1, &bytes).gso(960));
    // And what is lost otherwise comes again after a while, as ever: the tail first, which may be all that is.
    lab.pass(Duration::from_secs(2));
    lab.expect(&data(ours + 6040, 1, &bytes[6040..]));
    let again = lab.next_tcp().unwrap();
    assert_eq!((again.seq, again.gso), (ours, Some(960)));
}
