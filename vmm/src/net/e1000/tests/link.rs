//! Without a cable.
use super::*;

#[test]
fn without_a_link_frames_go_nowhere_and_none_come() {
    let mut bench = Bench::running();
    bench.device.set_link(false, bench.now);
    for _ in 0..2 {
        bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    }
    bench.ring_doorbell();
    bench.wire.bring(frame(60));
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    // The driver gets its descriptors back; the chip has sent and received nothing.
    assert_eq!(bench.tx_status(1), spec::TXD_DD);
    assert_eq!(bench.read(spec::TDH), 2);
    assert!(bench.wire.incoming.is_empty(), "nothing waits for a cable");
    assert_eq!(bench.rx(0).1, 0);
    for counter in [spec::GPTC, spec::TPT, spec::GPRC, spec::TPR] {
        assert_eq!(bench.read(counter), 0, "{counter:#x}");
    }
    bench.device.set_link(true, bench.now);
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.wire.bring(frame(60));
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 1);
    assert_ne!(bench.rx(0).1 & spec::RXD_DD, 0);
}

#[test]
fn a_cable_that_is_pulled_takes_the_rest_of_a_packet_with_it() {
    let mut bench = Bench::running();
    bench.wire.offloads = Offloads::default();
    bench.wire.room = Some(1);
    assert!(bench.memory.write(0x8000, &tcp_header()));
    push_context(&mut bench, 1460, 54);
    push_tso_data(&mut bench, 0x8000, 54 + 5000);
    bench.ring_doorbell();
    bench.settle();
    assert_eq!((bench.wire.sent.len(), bench.tx_status(1)), (1, 0));
    bench.device.set_link(false, bench.now);
    bench.wire.room = None;
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 1);
    assert_eq!(bench.tx_status(1), spec::TXD_DD);
}

#[test]
fn loopback_needs_no_cable() {
    let mut bench = Bench::running();
    bench.device.set_link(false, bench.now);
    bench.write(spec::RCTL, spec::RCTL_EN | spec::RCTL_BAM | spec::RCTL_LBM);
    assert!(bench.memory.write(0x8000, &frame(60)));
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    assert_ne!(bench.rx(0).1 & spec::RXD_DD, 0);
}
