//! Without a cable; what is sent then is in the tests of transmission (LCAR).
use super::*;

#[test]
fn without_a_link_no_frames_come() {
    let mut bench = Bench::pci();
    bench.device.set_link(false, bench.now);
    bench.bring(frame(60));
    assert!(bench.wire.incoming.is_empty(), "nothing waits for a cable");
    assert_ne!(bench.flags(RX_RING, 0) & spec::D_OWN, 0);
    assert_eq!(bench.csr(0) & spec::CSR0_RINT, 0);
    bench.device.set_link(true, bench.now);
    bench.bring(frame(60));
    assert_eq!(bench.received(0).1, with_fcs(&frame(60)));
}
