//! The command register's Bus Master bit.
use super::*;

#[test]
fn packets_on_their_way_are_not_given_back_when_the_bus_is_taken_away() {
    let mut bench = Bench::plus();
    bench.wire.done = false;
    for _ in 0..2 {
        bench.push(WHOLE, 0, 0x8000, 60);
    }
    bench.poll();
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
            assert_ne!(bench.dword(TX_RING + 16 * index) & spec::D_OWN, 0);
        }
        assert_eq!(bench.read16(spec::ISR) & spec::ISR_TOK, 0);
    }
    bench.push(WHOLE, 0, 0x8000, 60);
    bench.poll();
    assert_eq!(bench.wire.sent.len(), 3);
    assert_ne!(bench.dword(TX_RING + 16) & spec::D_OWN, 0);
    assert_eq!(bench.dword(TX_RING + 32), WHOLE | 60);
}
