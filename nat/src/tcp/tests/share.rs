//! What a flow gets of what all share.
use crate::testkit::*;
use std::net::SocketAddr;
use std::time::Duration;

/// Another connection of the same guest.
const SECOND: SocketAddr = SocketAddr::new(GUEST.ip(), 40_001);
const ROOM: usize = 128 << 10;

/// Sends payload on a connection; the window that the answer tells.
fn window(lab: &mut Lab, guest: SocketAddr, (at, ours): (&mut u32, u32)) -> usize {
    lab.tcp_from(guest, REMOTE, &data(*at, ours, &vec![1; 20_000]));
    *at += 20_000;
    let answer = lab.next_tcp().unwrap();
    assert_eq!(answer.ack, Some(*at));
    usize::from(answer.window.unwrap()) << 7
}

#[test]
fn busy_flows_promise_what_the_link_has_room_for() {
    let mut lab = Lab::with(|config| config.link_room = ROOM);
    let ours = lab.establish(&syn(0));
    lab.tcp_from(SECOND, REMOTE, &syn(0));
    lab.connected(1);
    let answer = lab.next_tcp().unwrap();
    let second = answer.seq + 1;
    lab.tcp_from(SECOND, REMOTE, &ack(1, second));
    let (mut at, mut at_second) = (1, 1);
    assert_eq!(window(&mut lab, GUEST, (&mut at, ours)), ROOM);
    for _ in 0..10 {
        window(&mut lab, GUEST, (&mut at, ours));
        window(&mut lab, SECOND, (&mut at_second, second));
    }
    let both = [
        window(&mut lab, GUEST, (&mut at, ours)),
        window(&mut lab, SECOND, (&mut at_second, second)),
    ];
    assert_eq!(both, [ROOM / 2, ROOM / 2]);
    // One of them falls silent.
    lab.pass(Duration::from_millis(100));
    assert_eq!(window(&mut lab, GUEST, (&mut at, ours)), ROOM);
}

#[test]
fn a_flow_that_was_fast_is_fast_again_after_a_pause() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let mut at = ours;
    // What is not known to be fast begins with little.
    assert!(take(&mut lab, &mut at, 30_000).len() > 1);
    take(&mut lab, &mut at, 1_000_000);
    assert_eq!(lab.gateway.flows(lab.now).next().unwrap().buffered, 0);
    assert_eq!(take(&mut lab, &mut at, 60_000), [60_000]);
    // And what is slow for long gives back what it does not use.
    for _ in 0..10 {
        take(&mut lab, &mut at, 100);
    }
    assert!(take(&mut lab, &mut at, 30_000).len() > 1);
}

#[test]
fn a_flow_that_was_fast_begins_small_where_others_have_the_buffers() {
    let mut lab = Lab::with(|config| config.quotas.buffer_per_guest = 600 << 10);
    let mut at = lab.establish(&syn(0));
    take(&mut lab, &mut at, 2_000_000);
    lab.tcp_from(SECOND, REMOTE, &syn(0));
    lab.connected(1);
    let second = lab.next_tcp().unwrap().seq + 1;
    lab.tcp_from(SECOND, REMOTE, &ack(1, second));
    // Nobody acknowledges this: it stays in the second flow's ring.
    lab.world(1, &vec![1; 1_000_000]);
    while lab.next_tcp().is_some() {}
    let held = lab.gateway.guest_of(GUEST_MAC).unwrap().buffered;
    assert!(held > 88 << 10, "{held}: there is room for 512 KiB");
    lab.world(0, &[2; 1000]);
    lab.pass(Duration::from_millis(20));
    let mut frames = std::iter::from_fn(|| lab.next_tcp());
    assert!(frames.any(|frame| frame.payload == [2; 1000]));
}

/// The world sends on socket 0 and the guest acknowledges; what came in each frame.
fn take(lab: &mut Lab, at: &mut u32, len: usize) -> Vec<usize> {
    lab.world(0, &vec![7; len]);
    let mut frames = Vec::new();
    let mut left = len;
    while left > 0 {
        let taken = lab.next_tcp().unwrap().payload.len();
        frames.push(taken);
        left -= taken;
        *at += u32::try_from(taken).unwrap();
        lab.tcp(&ack(1, *at));
    }
    frames
}
