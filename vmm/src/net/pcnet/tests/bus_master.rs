//! The command register's Bus Master bit.
use super::*;
use crate::net::nic::testing::BusTest;

#[test]
fn frames_on_their_way_are_not_given_back_when_the_bus_is_taken_away() {
    for style in 0..4 {
        let mut bench = Bench::new(style, false);
        BusTest {
            parts: |bench: &mut Bench| (&mut bench.device, &mut bench.wire),
            settle: Bench::settle,
            send: |bench| {
                bench.send(&frame(60));
            },
            assert_untold: |bench| {
                for index in 0..2 {
                    assert_ne!(bench.flags(TX_RING, index) & spec::D_OWN, 0);
                }
                assert_eq!(bench.csr(0) & spec::CSR0_TINT, 0);
            },
        }
        .run(&mut bench);
        assert_ne!(bench.flags(TX_RING, 1) & spec::D_OWN, 0);
        assert_eq!(bench.flags(TX_RING, 2), WHOLE);
    }
}
