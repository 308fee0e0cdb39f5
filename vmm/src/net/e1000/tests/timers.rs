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
        self.send_delayed_of(300);
    }

    fn send_delayed_of(&mut self, len: u64) {
        self.push_legacy(0x8000, len, spec::TXD_EOP | spec::TXD_IDE);
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
fn reports_of_small_packets_wait_longer_the_longer_the_driver_takes() {
    let mut bench = Bench::running();
    bench.write(spec::IMC, u32::MAX);
    bench.read(spec::ICR);
    bench.write(spec::IMS, spec::ICR_TXDW | spec::ICR_RXT0);
    bench.write(spec::TIDV, 8);
    bench.write(spec::TADV, 32);
    bench.send_delayed_of(60);
    bench.pass(8);
    assert!(bench.line.is_high(), "nothing is known of the driver yet");
    // It takes 100 units, in which it masks.
    assert!(bench.has(spec::ICR_TXDW));
    bench.write(spec::IMC, u32::MAX);
    bench.send_delayed_of(60);
    bench.pass(100);
    assert_eq!(bench.tx_status(1), spec::TXD_DD, "only the interrupt waits");
    bench.write(spec::IMS, spec::ICR_TXDW | spec::ICR_RXT0);
    assert!(!bench.line.is_high());
    assert!(
        bench.device.needs_thread(spec::IMS),
        "it waits for less now"
    );
    assert_eq!(bench.burst().deadline, Some(bench.now + UNIT * 400));
    assert!(!bench.device.needs_thread(spec::IMS));
    bench.pass(399);
    assert!(!bench.line.is_high());
    bench.pass(1);
    assert!(bench.line.is_high());
    // Again; a large one among them does not wait, nor do four of sixteen descriptors.
    assert!(bench.has(spec::ICR_TXDW));
    bench.pass(100);
    bench.write(spec::IMC, u32::MAX);
    bench.write(spec::IMS, spec::ICR_TXDW);
    bench.send_delayed_of(60);
    bench.send_delayed_of(300);
    bench.send_delayed_of(60);
    bench.pass(8);
    assert!(bench.line.is_high());
    bench.write(spec::IMC, u32::MAX);
    bench.pass(100);
    bench.read(spec::ICR);
    bench.write(spec::IMS, spec::ICR_TXDW);
    for sent in 1..=4 {
        assert!(!bench.line.is_high());
        bench.send_delayed_of(60);
        bench.pass(9);
        assert_eq!(bench.line.is_high(), sent == 4, "{sent}");
    }
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
