//! The ring: filters, wrap, overflow.
use super::*;
use crate::net::ne2k::datapath::PATIENCE;

#[test]
fn frames_follow_each_other_and_run_over_the_end() {
    let mut bench = Bench::running();
    let frames: Vec<_> = (0..500).map(|i| frame(60 + i * 37 % 1459)).collect();
    let received = bench.receive(frames.clone());
    assert_eq!(received.len(), 500);
    for ((status, bytes), expected) in received.iter().zip(&frames) {
        assert_eq!(*status, spec::RSR_PRX);
        assert_eq!(bytes, expected);
    }
    assert!(bench.line.is_high());
    assert_eq!(bench.read8(spec::ISR), spec::ISR_PRX);
    assert_eq!(bench.read8(spec::RSR), spec::RSR_PRX);
    assert_eq!(bench.read8(spec::CNTR2), 0);
}

#[test]
fn lengths_at_the_edges_of_pages() {
    // 248 bytes with header and FCS are one page.
    for len in [247, 248, 249, 503, 504, 505, 1514, 1518] {
        let mut bench = Bench::running();
        // The last page of the ring: the frame may end with it, or must go on at the start.
        bench.read = STOP - 1;
        bench.set(1, spec::CURR, STOP - 1);
        bench.write8(spec::BNRY, STOP - 2);
        let received = bench.receive([frame(len), frame(60)]);
        assert_eq!(received.len(), 2, "{len}");
        assert_eq!(received[0].1, frame(len));
        let end = (len + 8) % 256;
        let clda = u16::from_le_bytes([bench.read8(spec::CLDA0), bench.read8(spec::CLDA1)]);
        assert_eq!(clda % 256, 68, "behind the second frame, not {end}");
    }
}

#[test]
fn filters_choose() {
    let group = [0x01, 0x00, 0x5e, 0, 0, 1];
    let other = [0x33, 0x33, 0, 0, 0, 0xfb];
    let stranger = [2, 0, 0, 0, 0, 9];
    let all = || {
        vec![
            frame(60),
            to([0xff; 6], 60),
            to(group, 60),
            to(other, 60),
            to(stranger, 60),
        ]
    };
    let physical = spec::RSR_PRX;
    let grouped = spec::RSR_PRX | spec::RSR_PHY;
    let hash = fcs::hash_msb_first(group);
    for (rcr, multicast, expected) in [
        (0, true, vec![(physical, MAC.0)]),
        (
            spec::RCR_AB,
            true,
            vec![(physical, MAC.0), (grouped, [0xff; 6])],
        ),
        (
            spec::RCR_AM,
            true,
            vec![(physical, MAC.0), (grouped, group)],
        ),
        (spec::RCR_AM, false, vec![(physical, MAC.0)]),
        (
            spec::RCR_PRO,
            true,
            vec![(physical, MAC.0), (physical, stranger)],
        ),
    ] {
        let mut bench = Bench::running();
        bench.write8(spec::RCR, rcr);
        if multicast {
            bench.set(1, spec::MAR0 + (hash >> 3), 1 << (hash & 7));
        }
        let found: Vec<_> = bench
            .receive(all())
            .into_iter()
            .map(|(status, bytes)| (status, bytes[..6].try_into().unwrap()))
            .collect();
        assert_eq!(found, expected, "{rcr:#x}");
    }
}

#[test]
fn every_bit_of_the_multicast_filter_is_its_own() {
    let mut seen = 0u64;
    for last in 0..=255 {
        let group = [0x01, 0x00, 0x5e, 1, 2, last];
        let hash = fcs::hash_msb_first(group);
        seen |= 1 << hash;
        let mut bench = Bench::running();
        bench.write8(spec::RCR, spec::RCR_AM);
        for register in spec::MAR0..=spec::MAR7 {
            bench.set(1, register, 0xff);
        }
        bench.set(1, spec::MAR0 + (hash >> 3), !(1 << (hash & 7)));
        assert!(bench.receive([to(group, 60)]).is_empty());
        bench.set(1, spec::MAR0 + (hash >> 3), 1 << (hash & 7));
        assert_eq!(bench.receive([to(group, 60)]).len(), 1);
    }
    assert_eq!(seen, u64::MAX);
}

#[test]
fn short_frames_are_padded_and_long_ones_left_out() {
    let mut bench = Bench::running();
    let received = bench.receive([frame(14), frame(1518), frame(1519), frame(9000)]);
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].1[..14], frame(14));
    assert_eq!(received[0].1[14..], [0; 46]);
    assert_eq!(received[1].1.len(), 1518);
}

#[test]
fn monitor_mode_counts_and_stores_nothing() {
    let mut bench = Bench::running();
    bench.write8(spec::RCR, spec::RCR_MON);
    assert!(bench.receive([frame(60), to([0xff; 6], 60)]).is_empty());
    assert_eq!(bench.read8(spec::RSR), spec::RSR_MPA | spec::RSR_DIS);
    assert_eq!(bench.read8(spec::CNTR2), 1);
    assert_eq!(bench.read8(spec::ISR), 0);
}

/// Fills the ring; returns how many frames of 1500 bytes it holds.
fn fill(bench: &mut Bench) -> usize {
    let mut count = 0;
    loop {
        bench.wire.bring(frame(1500));
        let before = bench.get(1, spec::CURR);
        bench.settle();
        if bench.get(1, spec::CURR) == before {
            return count;
        }
        count += 1;
    }
}

#[test]
fn a_frame_without_room_waits_until_the_driver_has_read() {
    let mut bench = Bench::running();
    assert_eq!(fill(&mut bench), 8);
    assert_eq!(bench.read8(spec::ISR), spec::ISR_PRX);
    let burst = bench.device.burst(&mut bench.wire, bench.now);
    assert_eq!(burst.deadline, Some(bench.now + PATIENCE));
    bench.now += PATIENCE / 2;
    assert!(bench.next_frame().is_some());
    assert!(!bench.write8(spec::BNRY, bench.read - 1), "not for one");
    assert_eq!(bench.receive([]).len(), 8);
    assert!(!bench.write8(spec::BNRY, bench.read - 1));
    assert_eq!(bench.read8(spec::ISR), spec::ISR_PRX);
    assert_eq!(bench.read8(spec::CNTR2), 0);
}

#[test]
fn the_thread_is_woken_for_a_frame_that_waits_when_half_of_the_ring_is_free() {
    let mut bench = Bench::running();
    fill(&mut bench);
    // What a driver writes to read a frame frees nothing yet.
    for register in [spec::ISR, spec::RBCR0, spec::RBCR1, spec::RSAR0] {
        assert!(!bench.write8(register, 0), "{register:#x}");
    }
    assert!(!bench.write8(spec::CR, spec::CR_STA | spec::CR_RD_ABORT));
    let room = |bench: &mut Bench, pages| {
        let first = bench.read;
        bench.write8(spec::BNRY, first - 1 + pages)
    };
    assert!(!room(&mut bench, 6), "room for the frame alone");
    assert!(room(&mut bench, (STOP - START) / 2));
    bench.settle();
    assert!(
        !room(&mut bench, (STOP - START) / 2),
        "it is in the ring by now"
    );
}

#[test]
fn a_frame_that_waits_tries_again_by_itself() {
    let mut bench = Bench::running();
    fill(&mut bench);
    assert!(bench.next_frame().is_some());
    let before = bench.get(1, spec::CURR);
    bench.now += PATIENCE;
    bench.settle();
    assert_ne!(bench.get(1, spec::CURR), before);
    assert_eq!(bench.read8(spec::CNTR2), 0);
}

#[test]
fn a_driver_that_looks_away_from_a_full_ring_is_interrupted_again() {
    let mut bench = Bench::running();
    fill(&mut bench);
    assert!(!bench.write8(spec::ISR, spec::ISR_PRX));
    assert_eq!(bench.read8(spec::ISR), spec::ISR_PRX, "a frame waits");
    assert!(bench.line.is_high());
    // Until all are read.
    assert_eq!(bench.receive([]).len(), 9);
    bench.write8(spec::ISR, spec::ISR_PRX);
    bench.settle();
    assert_eq!(bench.read8(spec::ISR), 0);
}

#[test]
fn a_ring_that_stays_full_overflows() {
    let mut bench = Bench::running();
    fill(&mut bench);
    bench.now += PATIENCE;
    bench.settle();
    assert_eq!(
        bench.read8(spec::ISR),
        spec::ISR_PRX | spec::ISR_OVW | spec::ISR_RST
    );
    assert_eq!(bench.read8(spec::RSR), spec::RSR_MPA);
    bench.write8(spec::ISR, 0xff);
    assert!(!bench.line.is_high());
    // Nobody waits any more.
    bench.wire.incoming.extend(vec![Default::default(); 3]);
    for (_, bytes) in &mut bench.wire.incoming {
        *bytes = frame(1500);
    }
    bench.settle();
    assert!(bench.wire.incoming.is_empty());
    assert_eq!(bench.read8(spec::CNTR2), 4);
    assert!(bench.line.is_high());
    bench.write8(spec::ISR, 0xff);
    assert_eq!(bench.read8(spec::ISR), spec::ISR_RST);
    assert!(bench.next_frame().is_some());
    assert_eq!(bench.read8(spec::ISR), 0, "there is room again");
    assert_eq!(bench.receive([frame(60)]).len(), 8);
}

#[test]
fn linux_recovers_from_an_overflow() {
    let mut bench = Bench::running();
    let held = fill(&mut bench);
    bench.now += PATIENCE;
    bench.settle();
    bench.write8(spec::CR, spec::CR_STP | spec::CR_RD_ABORT);
    bench.write8(spec::RBCR0, 0);
    bench.write8(spec::RBCR1, 0);
    bench.write8(spec::TCR, spec::TCR_LB_INTERNAL);
    bench.write8(spec::CR, RUN);
    assert_eq!(bench.read8(spec::ISR) & spec::ISR_RST, 0);
    let mut read = 0;
    while bench.next_frame().is_some() {
        read += 1;
    }
    assert_eq!(read, held);
    assert!(bench.receive([frame(60)]).is_empty(), "still in loopback");
    bench.write8(spec::ISR, spec::ISR_OVW);
    bench.write8(spec::TCR, 0);
    assert_eq!(bench.receive([frame(60)]).len(), 1);
    assert_eq!(bench.read8(spec::ISR), spec::ISR_PRX);
}

#[test]
fn the_boundary_may_be_kept_at_the_next_page_or_one_before_the_ring() {
    let mut bench = Bench::running();
    // Equal: the ring is empty.
    bench.write8(spec::BNRY, START + 1);
    assert_eq!(fill(&mut bench), 8);
    // Linux writes START - 1 for the last page of the ring.
    let mut bench = Bench::running();
    bench.read = START;
    bench.set(1, spec::CURR, START);
    bench.write8(spec::BNRY, START - 1);
    assert_eq!(fill(&mut bench), 8);
    for _ in 0..8 {
        assert_eq!(
            bench.next_frame().map(|(_, bytes)| bytes),
            Some(frame(1500))
        );
    }
}

#[test]
fn a_frame_that_waits_is_gone_when_the_driver_is() {
    let mut bench = Bench::running();
    fill(&mut bench);
    bench.write8(spec::CR, spec::CR_STP | spec::CR_RD_ABORT);
    bench.settle();
    let burst = bench.device.burst(&mut bench.wire, bench.now);
    assert_eq!(burst.deadline, None);
    assert_eq!(bench.read8(spec::CNTR2), 0);
}
