//! CR.TXP.
use super::*;

#[test]
fn frames_leave_uncut_and_tell_when_they_have() {
    let mut bench = Bench::running();
    for len in [14, 60, 61, 1514, 1518] {
        assert!(bench.send(&frame(len)), "the thread is needed");
        assert_ne!(bench.read8(spec::CR) & spec::CR_TXP, 0);
        bench.settle();
        assert_eq!(bench.read8(spec::CR) & spec::CR_TXP, 0);
        assert_eq!(bench.read8(spec::TSR), spec::TSR_PTX | spec::TSR_FIXED);
        assert_eq!(bench.read8(spec::ISR), spec::ISR_PTX);
        assert!(bench.line.is_high());
        bench.write8(spec::ISR, spec::ISR_PTX);
        assert!(!bench.line.is_high());
        assert_eq!(bench.sent().pop(), Some(frame(len)));
    }
    assert!(
        bench
            .wire
            .sent
            .iter()
            .all(|(header, _, body)| { *header == NetHeader::default() && body.is_empty() })
    );
    assert!(bench.wire.flying.is_empty(), "taken back");
}

#[test]
fn two_buffers_are_used_in_turn() {
    let mut bench = Bench::running();
    for round in 0..20usize {
        let at = BUFFER + 0x600 * (round as u16 % 2);
        bench.store(at, &frame(100 + round));
        assert!(bench.transmit(at, 100 + round));
        bench.settle();
    }
    let expected: Vec<_> = (100..120).map(frame).collect();
    assert_eq!(bench.sent(), expected);
}

#[test]
fn a_full_wire_delays_and_loses_nothing() {
    let mut bench = Bench::running();
    bench.wire.full = true;
    bench.send(&frame(60));
    bench.settle();
    assert_eq!(bench.read8(spec::ISR), 0);
    assert_ne!(bench.read8(spec::CR) & spec::CR_TXP, 0);
    // As in Linux's recovery from an overflow: what is on its way is sent although the NIC is stopped.
    bench.write8(spec::CR, spec::CR_STP | spec::CR_RD_ABORT);
    bench.wire.full = false;
    bench.settle();
    assert_eq!(bench.read8(spec::ISR), spec::ISR_PTX | spec::ISR_RST);
    assert_eq!(bench.sent(), [frame(60)]);
}

#[test]
fn what_cannot_be_sent_is_aborted() {
    let mut bench = Bench::running();
    for (at, len) in [
        (BUFFER, 0),
        (BUFFER, 13),
        (BUFFER, 1537),
        (BUFFER, 0xffff),
        (0, 60),
        (0x3f00, 600),
        (0xbf00, 600),
        (0xff00, 600),
    ] {
        bench.transmit(at, len);
        bench.settle();
        assert_eq!(bench.read8(spec::ISR), spec::ISR_TXE, "{at:#x} {len}");
        assert_eq!(bench.read8(spec::TSR), spec::TSR_ABT | spec::TSR_FIXED);
        assert_eq!(bench.read8(spec::CR) & spec::CR_TXP, 0);
        bench.write8(spec::ISR, 0xff);
    }
    assert!(bench.wire.sent.is_empty());
    bench.transmit(0xbf00, 256);
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 1, "up to the last byte");
}

#[test]
fn without_a_cable_a_frame_loses_its_carrier() {
    let mut bench = Bench::running();
    let now = bench.now;
    bench.device.set_link(false, now);
    bench.send(&frame(60));
    assert!(bench.receive([frame(60)]).is_empty());
    let status = spec::TSR_PTX | spec::TSR_CRS | spec::TSR_FIXED;
    assert_eq!(bench.read8(spec::TSR), status);
    assert!(bench.wire.sent.is_empty());
    bench.device.set_link(true, now);
    bench.send(&frame(60));
    assert_eq!(bench.receive([frame(60)]).len(), 1);
    assert_eq!(bench.wire.sent.len(), 1);
}

#[test]
fn a_driver_may_bring_its_own_fcs() {
    let mut bench = Bench::running();
    bench.write8(spec::TCR, spec::TCR_CRC);
    let mut bytes = frame(60);
    bytes.extend(fcs::of(&frame(60)));
    bench.send(&bytes);
    bench.settle();
    assert_eq!(bench.sent(), [frame(60)]);
    bytes[63] ^= 1;
    bench.send(&bytes);
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 1, "nobody would take it");
    assert_eq!(bench.read8(spec::TSR), spec::TSR_PTX | spec::TSR_FIXED);
    bench.transmit(BUFFER, 3);
    bench.settle();
    assert_eq!(bench.read8(spec::TSR), spec::TSR_ABT | spec::TSR_FIXED);
}
