//! Receive rings with buffers that no sane driver posts, or none.
use super::{
    super::guest::{ALL, Connected, GUEST_BASE, GuestSpec, MEMORY, MRG_RXBUF, PLAIN, VERSION_1},
    Stage, drops, expect_drops, frame, goes_on, mac,
};

const NO_ROOM: &str = "no_room";

fn stage(features: u64, rx_buffer: u32) -> (Stage, Connected, Connected) {
    let b = GuestSpec {
        features,
        rx_buffer,
        ..GuestSpec::default()
    };
    Stage::new(GuestSpec::default(), b)
}

#[test]
fn many_tiny_mergeable_buffers() {
    // Two bytes of a frame in the first, 14 in each of the others.
    let (mut stage, mut a, mut b) = stage(ALL, 14);
    stage.during(|net, _| {
        for (len, buffers) in [(14, 2), (60, 6), (64, 6), (800, 58)] {
            let sent = frame(mac(1), mac(0), len, 1);
            a.guest.send(&sent);
            let received = b.guest.receive();
            assert_eq!(received.frame, sent);
            assert_eq!(received.header.num_buffers, buffers, "{len} bytes");
        }
        // More buffers than are taken at once: the frame is lost, the ring is not.
        for len in [1514, 9000, 65_000] {
            let before = drops(net, "b", 0, NO_ROOM);
            a.guest.send(&frame(mac(1), mac(0), len, 1));
            expect_drops(net, "b", 0, NO_ROOM, before + 1);
            goes_on(&mut a, &mut b, 2);
        }
    });
}

#[test]
fn buffers_smaller_than_a_frame() {
    let (mut stage, mut a, mut b) = stage(ALL & !MRG_RXBUF, 112);
    stage.during(|net, _| {
        for round in 1..20 {
            // As long as the buffer, one byte more, many more.
            let sent = frame(mac(1), mac(0), 100, 1);
            a.guest.send(&sent);
            assert_eq!(b.guest.receive().frame, sent);
            a.guest.send(&frame(mac(1), mac(0), 101, 1));
            a.guest.send(&frame(mac(1), mac(0), 60_000, 1));
            expect_drops(net, "b", 0, NO_ROOM, round * 2);
        }
    });
}

#[test]
fn num_buffers_is_one_without_mergeable_buffers() {
    for features in [ALL & !MRG_RXBUF, PLAIN, VERSION_1] {
        let (mut stage, mut a, mut b) = stage(features, 2048);
        stage.during(|_, _| {
            for len in [14, 60, 1514, 2036] {
                let sent = frame(mac(1), mac(0), len, 1);
                a.guest.send(&sent);
                let received = b.guest.receive();
                assert_eq!(received.frame, sent);
                assert_eq!(received.header.num_buffers, 1);
            }
        });
    }
}

/// Rewrites every descriptor of `b`'s receive ring: length and flags.
fn rewrite(b: &Connected, len: u32, flags: u16) {
    let table = b.guest.rings[0].config.desc;
    for index in 0..u64::from(b.guest.spec.queue_size) {
        let at = table + 16 * index + 8;
        assert!(b.guest.memory.map.write(at, &len.to_le_bytes()));
        assert!(b.guest.memory.map.write(at + 4, &flags.to_le_bytes()));
    }
}

/// What follows the rings: buffers of both directions.
fn buffers(b: &Connected) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(MEMORY - (4 << 20)).unwrap()];
    let start = GUEST_BASE + (4 << 20);
    assert!(b.guest.memory.map.read(start, &mut bytes));
    bytes
}

/// Frames to a receive ring with such descriptors are dropped and counted; nothing is written. The ring carries on when the driver
/// comes to its senses.
fn useless(len: u32, flags: u16) {
    const WRITE: u16 = 2;
    let (mut stage, mut a, mut b) = stage(ALL, 2048);
    stage.during(|net, _| {
        rewrite(&b, len, flags);
        let before = buffers(&b);
        for seed in 0..20 {
            a.guest.send(&frame(mac(1), mac(0), 100, seed));
        }
        expect_drops(net, "b", 0, NO_ROOM, 20);
        assert!(buffers(&b) == before, "something was written");
        assert_eq!(b.guest.poll(0), None);
        rewrite(&b, 2048, WRITE);
        goes_on(&mut a, &mut b, 1);
        assert_eq!(net.status("b").counters.faults, 0);
    });
}

#[test]
fn buffers_smaller_than_the_header() {
    for len in [1, 9, 11] {
        useless(len, 2);
    }
}

#[test]
fn zero_length_buffers() {
    useless(0, 2);
}

#[test]
fn readable_descriptors() {
    useless(2048, 0);
}

#[test]
fn guest_that_stops_consuming() {
    let (mut stage, mut a, mut b) = stage(ALL, 2048);
    stage.during(|net, watch| {
        for round in 0..40 {
            for seed in 0..32 {
                a.guest.send(&frame(mac(1), mac(0), 100, seed));
            }
            if round % 10 == 0 {
                watch.breathe();
            }
        }
        // The ring holds 256; all else is dropped where it cannot go, and nothing waits for it.
        expect_drops(net, "b", 0, NO_ROOM, 40 * 32 - 256);
        assert_eq!(net.status("a").counters.tx_dropped, 0);
        for index in 0..256u16 {
            let seed = index.to_le_bytes()[0] % 32;
            assert_eq!(b.guest.receive().frame, frame(mac(1), mac(0), 100, seed));
        }
        goes_on(&mut a, &mut b, 1);
    });
}
