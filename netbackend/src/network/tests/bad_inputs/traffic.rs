//! Well-formed frames that abuse the network.
use super::{
    super::{BROADCAST, guest::Connected, guest::GuestSpec},
    EXCHANGES, Stage, UNKNOWN, WITNESS_MACS, drops, expect_drops, frame, goes_on, mac,
};
use virtqueue::NetHeader;

/// Frames in one go: fewer than a receive ring has buffers, so that who looks once per burst loses nothing.
const BURST: usize = 60;

fn stage() -> (Stage, Connected, Connected) {
    Stage::new(GuestSpec::default(), GuestSpec::default())
}

/// `a` sends bursts of the same frame to `to`; between two of them the witnesses get a word in. Returns how many `b` got.
fn storm(to: [u8; 6]) -> usize {
    let (mut stage, mut a, mut b) = stage();
    let mut received = 0;
    stage.during(|net, watch| {
        let sent = frame(to, mac(0), 120, 1);
        let burst: Vec<_> = (0..BURST)
            .map(|_| (NetHeader::default(), sent.clone()))
            .collect();
        for _ in 0..30 {
            a.guest.send_on(0, &burst);
            watch.breathe();
            while let Some(got) = b.guest.poll(0) {
                assert!(got.frame == sent);
                received += 1;
            }
        }
        while !a.guest.reap().is_empty() {}
        let counted = drops(net, "b", 0, "no_room");
        assert_eq!(counted, 0, "b looks often enough");
        goes_on(&mut a, &mut b, 1);
    });
    received
}

#[test]
fn broadcast_storm() {
    assert!(storm(BROADCAST) > 0);
}

#[test]
fn unknown_unicast_storm() {
    assert!(storm(UNKNOWN) > 0);
}

#[test]
fn mac_flapping() {
    let (mut stage, mut a, mut b) = stage();
    let roaming = [0x52, 0x54, 0, 0, 7, 7];
    stage.during(|net, watch| {
        for round in 0..200u8 {
            for from in [&mut a, &mut b] {
                from.guest.send(&frame(WITNESS_MACS[0], roaming, 60, round));
                while !from.guest.reap().is_empty() {}
            }
            if round % 20 == 0 {
                watch.breathe();
            }
        }
        assert_eq!(net.status("a").counters.faults, 0);
        goes_on(&mut a, &mut b, 1);
    });
}

#[test]
fn fdb_exhaustion() {
    let (mut stage, mut a, mut b) = stage();
    stage.during(|_, watch| {
        for chunk in 0..80u8 {
            let burst: Vec<_> = (0..50u8)
                .map(|n| {
                    let source = [0x52, 0x55, 0, 0, chunk, n];
                    (NetHeader::default(), frame(mac(1), source, 60, n))
                })
                .collect();
            a.guest.send_on(0, &burst);
            for n in 0..50u8 {
                assert_eq!(b.guest.receive().frame[11], n, "chunk {chunk}");
            }
        }
        // The table is as full as `a` can make it. What others have learned stands: a frame between two that are known is not
        // flooded, and none of the witnesses' frames was.
        let known = frame(mac(0), mac(1), 60, 9);
        b.guest.send(&known);
        assert_eq!(a.guest.receive().frame, known);
        watch.breathe();
        assert_eq!(a.guest.poll(0), None, "a hears what is not for it");
        assert_eq!(b.guest.poll(0), None, "b hears what is not for it");
        goes_on(&mut a, &mut b, 1);
    });
}

#[test]
fn spoofed_source() {
    let (mut stage, mut a, mut b) = stage();
    stage.during(|_, watch| {
        for round in 0..50u8 {
            for victim in WITNESS_MACS {
                a.guest.send(&frame(mac(1), victim, 60, round));
                // They are forwarded, and take over nothing: the witnesses' frames still reach them.
                assert_eq!(b.guest.receive().frame[6..12], victim);
            }
            if round % 10 == 0 {
                watch.breathe();
            }
        }
        assert_eq!(a.guest.poll(0), None, "a has taken over an address");
        goes_on(&mut a, &mut b, 1);
    });
    assert!(stage.sent >= 2 * EXCHANGES);
}

#[test]
fn impossible_source() {
    let (mut stage, mut a, mut b) = stage();
    stage.during(|net, _| {
        for source in [
            [0; 6],
            BROADCAST,
            [1, 0, 0x5e, 0, 0, 1],
            [0x33, 0x33, 0, 0, 0, 1],
        ] {
            a.guest.send(&frame(mac(1), source, 60, 1));
        }
        expect_drops(net, "a", 1, "bad_source", 4);
        assert_eq!(b.guest.poll(0), None);
        goes_on(&mut a, &mut b, 1);
    });
}

#[test]
fn frames_that_nobody_forwards() {
    let (mut stage, mut a, mut b) = stage();
    stage.during(|net, _| {
        let mut pause = frame(mac(1), mac(0), 60, 1);
        pause[12..14].copy_from_slice(&[0x88, 0x08]);
        a.guest.send(&pause);
        a.guest
            .send(&frame([1, 0x80, 0xc2, 0, 0, 1], mac(0), 60, 1));
        expect_drops(net, "a", 1, "pause", 2);
        // LLDP's group; a bridge that runs no spanning tree hands on BPDUs.
        a.guest
            .send(&frame([1, 0x80, 0xc2, 0, 0, 14], mac(0), 60, 1));
        expect_drops(net, "a", 1, "reserved_group", 1);
        let bpdu = frame([1, 0x80, 0xc2, 0, 0, 0], mac(0), 60, 1);
        a.guest.send(&bpdu);
        assert_eq!(b.guest.receive().frame, bpdu);
        // To itself.
        a.guest.send(&frame(mac(0), mac(0), 60, 1));
        expect_drops(net, "a", 1, "same_port", 1);
        assert_eq!((a.guest.poll(0), b.guest.poll(0)), (None, None));
        goes_on(&mut a, &mut b, 1);
    });
}
