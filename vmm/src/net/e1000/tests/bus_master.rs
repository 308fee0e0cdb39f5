//! The command register's Bus Master bit.
use super::*;

#[test]
fn packets_on_their_way_are_not_reported_when_the_bus_is_taken_away() {
    let mut bench = Bench::running();
    bench.wire.done = false;
    for _ in 0..2 {
        bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    }
    bench.ring_doorbell();
    bench.settle();
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
        assert_eq!([bench.tx_status(0), bench.tx_status(1)], [0, 0]);
        assert_eq!(bench.read(spec::ICR) & spec::ICR_TXDW, 0);
    }
    assert_eq!(bench.read(spec::TDH), 2);
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 3);
    assert_eq!([bench.tx_status(1), bench.tx_status(2)], [0, spec::TXD_DD]);
}

#[test]
fn a_packet_that_waits_for_room_goes_with_the_bus() {
    let mut bench = Bench::running();
    bench.wire.full = true;
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    bench.device.set_bus_master(false);
    bench.device.set_bus_master(true);
    bench.wire.full = false;
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    assert_eq!(bench.tx_status(0), 0);
    assert_eq!(bench.wire.restarts, 0, "nothing was on the wire");
}
