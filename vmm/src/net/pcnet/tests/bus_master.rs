//! The command register's Bus Master bit.
use super::*;

#[test]
fn frames_on_their_way_are_not_given_back_when_the_bus_is_taken_away() {
    for style in 0..4 {
        let mut bench = Bench::new(style, false);
        bench.wire.done = false;
        for _ in 0..2 {
            bench.send(&frame(60));
        }
        let flying = bench.wire.flying.clone();
        assert_eq!(flying.len(), 2);
        bench.device.set_bus_master(false);
        bench.wire.done = true;
        bench.settle();
        assert_eq!(bench.wire.restarts, 1, "their buffers are read no more");
        // What the wire tells late is of a past life, with and without the bus.
        for on in [false, true] {
            bench.device.set_bus_master(on);
            bench.wire.flying.clone_from(&flying);
            bench.settle();
            for index in 0..2 {
                assert_ne!(bench.flags(TX_RING, index) & spec::D_OWN, 0);
            }
            assert_eq!(bench.csr(0) & spec::CSR0_TINT, 0);
        }
        let index = bench.send(&frame(60));
        assert_eq!(index, 2);
        assert_eq!(bench.wire.sent.len(), 3);
        assert_ne!(bench.flags(TX_RING, 1) & spec::D_OWN, 0);
        assert_eq!(bench.flags(TX_RING, 2), WHOLE);
    }
}
