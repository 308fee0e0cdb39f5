//! The command register's Bus Master bit.
use super::*;
use crate::net::nic::testing::BusTest;

fn send(bench: &mut Bench) {
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
}

#[test]
fn packets_on_their_way_are_not_reported_when_the_bus_is_taken_away() {
    let mut bench = Bench::running();
    BusTest {
        parts: |bench: &mut Bench| (&mut bench.device, &mut bench.wire),
        settle: Bench::settle,
        send,
        assert_untold: |bench| {
            assert_eq!([bench.tx_status(0), bench.tx_status(1)], [0, 0]);
            assert_eq!(bench.read(spec::ICR) & spec::ICR_TXDW, 0);
        },
    }
    .run(&mut bench);
    assert_eq!(bench.read(spec::TDH), 3);
    assert_eq!([bench.tx_status(1), bench.tx_status(2)], [0, spec::TXD_DD]);
}

#[test]
fn a_packet_that_waits_for_room_goes_with_the_bus() {
    let mut bench = Bench::running();
    bench.wire.full = true;
    send(&mut bench);
    bench.device.set_bus_master(false);
    bench.device.set_bus_master(true);
    bench.wire.full = false;
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    assert_eq!(bench.tx_status(0), 0);
    assert_eq!(bench.wire.restarts, 0, "nothing was on the wire");
}
