use super::*;

#[test]
fn rates_of_both_ports_are_added_and_the_first_period_is_dropped() {
    let period = |one: u32, other: u32| {
        format!(
            "  Rx-pps:  {one}  Rx-bps: 5\n  Tx-pps: 1 Tx-bps: 1\n  Rx-pps: {other}  Rx-bps: 5\n"
        )
    };
    let log = [
        period(1, 1),
        period(2_000_000, 3_000_000),
        period(4_000_000, 3_000_000),
    ]
    .concat();
    assert_eq!(rate(&log), Some(6.0));
    assert_eq!(rate(&period(1, 1)), None);
}
