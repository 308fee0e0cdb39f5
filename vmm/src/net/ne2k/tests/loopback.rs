//! Loopback modes.
use super::*;

fn fifo(bench: &mut Bench) -> Vec<u8> {
    (0..8).map(|_| bench.read8(spec::FIFO)).collect()
}

#[test]
fn diagnostics_end_in_the_fifo() {
    // DP8390, "Loopback Tests": what TSR, RSR and ISR have to be.
    for (mode, tsr) in [(1, 0x53), (2, 0x43), (3, 0x03)] {
        let mut bench = Bench::running();
        bench.write8(spec::DCR, 0x41);
        bench.write8(spec::TCR, mode << 1);
        bench.send(&frame(65));
        bench.wire.bring(frame(60));
        bench.settle();
        assert_eq!(bench.read8(spec::TSR), tsr);
        assert_eq!(bench.read8(spec::RSR), 0x02);
        assert_eq!(bench.read8(spec::ISR), 0x02);
        let mut expected = vec![69, 0, 0, 64];
        expected.extend(fcs::of(&frame(65)));
        assert_eq!(fifo(&mut bench), expected);
        assert_eq!(fifo(&mut bench), expected, "around and around");
        assert!(bench.wire.sent.is_empty());
        assert!(bench.wire.incoming.is_empty(), "nothing is heard");
        assert_eq!(bench.get(1, spec::CURR), START + 1);
    }
}

#[test]
fn diagnostics_check_the_drivers_crc_and_the_address() {
    let mut bench = Bench::running();
    bench.write8(spec::DCR, 0x41);
    bench.write8(spec::TCR, spec::TCR_LB_INTERNAL | spec::TCR_CRC);
    for (destination, wrong, rsr) in [
        (MAC.0, 0, 0x01),
        (MAC.0, 1, 0x02),
        ([0xff; 6], 0, 0x21),
        ([2, 0, 0, 0, 0, 9], 0, 0x00),
    ] {
        let bytes = to(destination, 60);
        let mut sequence = fcs::of(&bytes);
        sequence[3] ^= wrong;
        bench.send(&[&bytes[..], &sequence].concat());
        bench.settle();
        assert_eq!(bench.read8(spec::RSR), rsr);
        assert_eq!(fifo(&mut bench)[4..], sequence);
    }
}

#[test]
fn without_diagnostics_frames_come_back_into_the_ring() {
    let mut bench = Bench::running();
    bench.write8(spec::TCR, spec::TCR_LB_INTERNAL);
    bench.send(&frame(100));
    bench.settle();
    assert_eq!(bench.read8(spec::ISR), spec::ISR_PRX | spec::ISR_PTX);
    assert_eq!(bench.next_frame(), Some((spec::RSR_PRX, frame(100))));
    bench.send(&to([2, 0, 0, 0, 0, 9], 100));
    bench.settle();
    assert_eq!(bench.next_frame(), None, "filtered as all are");
    assert!(bench.wire.sent.is_empty());
}

#[test]
fn runts_come_back_if_they_are_accepted() {
    let mut bench = Bench::running();
    bench.write8(spec::TCR, spec::TCR_LB_INTERNAL);
    bench.send(&frame(59));
    bench.settle();
    assert_eq!(bench.next_frame(), None);
    bench.write8(spec::RCR, spec::RCR_AR);
    bench.send(&frame(59));
    bench.settle();
    assert_eq!(bench.next_frame(), Some((spec::RSR_PRX, frame(59))));
}

#[test]
fn errored_frames_are_counted_and_kept_if_they_are_wanted() {
    let mut bench = Bench::running();
    bench.write8(spec::TCR, spec::TCR_LB_INTERNAL | spec::TCR_CRC);
    for (rcr, kept) in [(0, None), (spec::RCR_SEP, Some((spec::RSR_CRC, frame(60))))] {
        bench.write8(spec::RCR, rcr);
        bench.send(&[&frame(60)[..], &[0; 4]].concat());
        bench.settle();
        assert_eq!(bench.read8(spec::ISR), spec::ISR_PTX | spec::ISR_RXE);
        assert!(bench.line.is_high());
        assert_eq!(bench.read8(spec::RSR), spec::RSR_CRC);
        assert_eq!(bench.read8(spec::CNTR1), 1);
        bench.write8(spec::ISR, 0xff);
        assert_eq!(bench.next_frame(), kept);
    }
}

#[test]
fn a_full_ring_loses_what_comes_back() {
    let mut bench = Bench::running();
    bench.write8(spec::TCR, spec::TCR_LB_INTERNAL);
    for _ in 0..8 {
        bench.send(&frame(1500));
        bench.settle();
    }
    assert_eq!(bench.read8(spec::ISR), spec::ISR_PRX | spec::ISR_PTX);
    bench.send(&frame(1500));
    bench.settle();
    assert_ne!(bench.read8(spec::ISR) & spec::ISR_OVW, 0);
    assert_eq!(bench.read8(spec::CNTR2), 1);
}
