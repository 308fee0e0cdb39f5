//! The command register's Bus Master bit.
use super::*;
use crate::net::nic::testing::BusTest;

#[test]
fn packets_on_their_way_are_not_given_back_when_the_bus_is_taken_away() {
    let mut bench = Bench::plus();
    BusTest {
        parts: |bench: &mut Bench| (&mut bench.device, &mut bench.wire),
        settle: Bench::settle,
        send: |bench| {
            bench.push(WHOLE, 0, 0x8000, 60);
            bench.poll();
        },
        assert_untold: |bench| {
            for index in 0..2 {
                assert_ne!(bench.dword(TX_RING + 16 * index) & spec::D_OWN, 0);
            }
            assert_eq!(bench.read16(spec::ISR) & spec::ISR_TOK, 0);
        },
    }
    .run(&mut bench);
    assert_ne!(bench.dword(TX_RING + 16) & spec::D_OWN, 0);
    assert_eq!(bench.dword(TX_RING + 32), WHOLE | 60);
}
