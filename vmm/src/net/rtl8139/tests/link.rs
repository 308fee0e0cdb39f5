//! Without a cable.
use super::*;

#[test]
fn without_a_link_c_mode_tells_of_a_lost_carrier() {
    let mut bench = Bench::c();
    bench.device.set_link(false, bench.now);
    assert!(bench.memory.write(0x8000, &frame(60)));
    bench.send(0, 60);
    assert!(bench.wire.sent.is_empty());
    let done = spec::TSD_OWN | spec::TSD_TOK | spec::TSD_CRS;
    assert_eq!(bench.read32(spec::TSD0), done | 60);
    assert_ne!(bench.read16(spec::ISR) & spec::ISR_TOK, 0);
    bench.wire.bring(frame(60));
    bench.settle();
    assert!(bench.wire.incoming.is_empty(), "nothing waits for a cable");
    assert_ne!(bench.read8(spec::CR) & spec::CR_BUFE, 0);
    bench.device.set_link(true, bench.now);
    bench.send(1, 60);
    bench.wire.bring(frame(60));
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 1);
    assert_eq!(bench.read32(spec::TSD0 + 4) & spec::TSD_CRS, 0);
    assert_eq!(bench.read8(spec::CR) & spec::CR_BUFE, 0);
}

#[test]
fn without_a_link_descriptors_come_back_with_a_failure_of_it() {
    let mut bench = Bench::plus();
    bench.device.set_link(false, bench.now);
    bench.push(WHOLE, 0, 0x8000, 60);
    bench.poll();
    assert!(bench.wire.sent.is_empty());
    let failed = spec::TXD_TES | spec::TXD_LNKF;
    assert_eq!(bench.dword(TX_RING), WHOLE | failed | 60);
    assert_ne!(bench.read16(spec::ISR) & spec::ISR_TER, 0);
    bench.wire.bring(frame(60));
    bench.settle();
    assert!(bench.wire.incoming.is_empty(), "nothing waits for a cable");
    assert_ne!(bench.dword(RX_RING) & spec::D_OWN, 0);
    bench.device.set_link(true, bench.now);
    bench.push(WHOLE, 0, 0x8000, 60);
    bench.poll();
    bench.wire.bring(frame(60));
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 1);
    assert_eq!(bench.dword(TX_RING + 16), WHOLE | 60);
    assert_eq!(bench.dword(RX_RING) & spec::D_OWN, 0);
}

#[test]
fn loopback_needs_no_cable() {
    let mut bench = Bench::plus();
    bench.device.set_link(false, bench.now);
    bench.write32(spec::TCR, spec::TCR_LBK);
    assert!(bench.memory.write(0x8000, &frame(60)));
    bench.push(WHOLE, 0, 0x8000, 60);
    bench.poll();
    assert_eq!(bench.dword(RX_RING) & spec::D_OWN, 0);
}
