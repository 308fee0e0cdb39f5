//! Interrupts that are held back by packet and absolute timers (13.4.30), through registers.
use super::*;
use std::time::Duration;

/// Unit of the timers.
const UNIT: Duration = Duration::from_nanos(1024);

impl Bench {
    /// Lets so many units pass.
    fn pass(&mut self, units: u32) {
        self.now += UNIT * units;
        self.settle();
    }

    fn has(&mut self, cause: u32) -> bool {
        self.read(spec::ICR) & cause != 0
    }

    fn send_delayed(&mut self) {
        self.push_legacy(0x8000, 60, spec::TXD_EOP | spec::TXD_IDE);
        self.ring_doorbell();
        self.settle();
    }
}

#[test]
fn a_transmit_interrupt_waits_for_silence_but_not_for_ever() {
    let mut bench = Bench::running();
    bench.write(spec::TIDV, 100);
    bench.write(spec::TADV, 150);
    bench.send_delayed();
    assert_eq!(bench.tx_status(0), spec::TXD_DD, "only the interrupt waits");
    assert!(!bench.has(spec::ICR_TXDW));
    assert_eq!(bench.burst().deadline, Some(bench.now + UNIT * 100));
    bench.pass(99);
    assert!(!bench.has(spec::ICR_TXDW));
    bench.pass(1);
    assert!(bench.has(spec::ICR_TXDW));
    assert_eq!(bench.burst().deadline, None);
    // One packet after the other: TADV.
    for _ in 0..2 {
        bench.send_delayed();
        bench.pass(60);
        assert!(!bench.has(spec::ICR_TXDW));
    }
    bench.send_delayed();
    assert_eq!(bench.burst().deadline, Some(bench.now + UNIT * 30));
    bench.pass(30);
    assert!(bench.has(spec::ICR_TXDW));
    // TIDV.FPD.
    bench.send_delayed();
    assert!(!bench.has(spec::ICR_TXDW));
    bench.write(spec::TIDV, 100 | spec::FPD);
    assert!(bench.has(spec::ICR_TXDW));
}

#[test]
fn without_ide_or_without_a_time_a_transmit_interrupt_comes_at_once() {
    let mut bench = Bench::running();
    bench.send_delayed();
    assert!(bench.has(spec::ICR_TXDW));
    bench.write(spec::TIDV, 100);
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    assert!(bench.has(spec::ICR_TXDW));
}

#[test]
fn a_receive_interrupt_waits_for_silence_but_not_for_ever() {
    let mut bench = Bench::running();
    bench.write(spec::RDTR, 100);
    bench.write(spec::RADV, 150);
    for _ in 0..2 {
        bench.wire.bring(frame(60));
        bench.settle();
        bench.pass(60);
        assert!(!bench.has(spec::ICR_RXT0));
    }
    bench.wire.bring(frame(60));
    bench.settle();
    bench.pass(29);
    assert!(!bench.has(spec::ICR_RXT0));
    bench.pass(1);
    assert!(bench.has(spec::ICR_RXT0));
    // Without RADV the last frame counts.
    bench.write(spec::RADV, 0);
    for _ in 0..3 {
        bench.wire.bring(frame(60));
        bench.settle();
        bench.pass(99);
        assert!(!bench.has(spec::ICR_RXT0));
    }
    bench.pass(1);
    assert!(bench.has(spec::ICR_RXT0));
}
