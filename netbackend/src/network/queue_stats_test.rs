use super::*;

#[test]
fn sizes_are_sorted_as_dpdk_does() {
    let stats = QueueStats::default();
    let mut tally = Tally::default();
    for len in [
        14, 63, 64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1518, 1519, 65_000,
    ] {
        tally.pass(len, &[0x52; 14]);
    }
    stats.add(&tally);
    let counters = stats.snapshot();
    let sizes = counters.sizes;
    let found = [
        sizes.undersize,
        sizes.size_64,
        sizes.size_65_127,
        sizes.size_128_255,
        sizes.size_256_511,
        sizes.size_512_1023,
        sizes.size_1024_1518,
        sizes.size_1519_and_more,
    ];
    assert_eq!(found, [2, 1, 2, 2, 2, 2, 2, 2]);
    assert_eq!(counters.frames, 15);
}

#[test]
fn group_addresses_are_told_apart() {
    let stats = QueueStats::default();
    let mut tally = Tally::default();
    tally.pass(60, &[0xff; 14]);
    tally.pass(60, &[0x01, 0, 0x5e, 0, 0, 1]);
    tally.pass(60, &[0x33, 0x33, 0xff, 0xff, 0xff, 0xff]);
    tally.pass(60, &[0x52, 0xff, 0xff, 0xff, 0xff, 0xff]);
    stats.add(&tally);
    let counters = stats.snapshot();
    assert_eq!((counters.broadcast, counters.multicast), (1, 2));
}

#[test]
fn drops_are_named_and_summed() {
    let stats = QueueStats::default();
    let mut tally = Tally::default();
    tally.drop(QueueDrop::NoRoom, 3);
    stats.add(&tally);
    stats.dropped(QueueDrop::NoQueue, 1);
    stats.dropped_by_switch(DropReason::NoUplink);
    let counters = stats.snapshot();
    let names: Vec<_> = counters
        .drops
        .iter()
        .map(|(k, v)| (k.as_str(), *v))
        .collect();
    assert_eq!(names, [("no_queue", 1), ("no_room", 3), ("no_uplink", 1)]);
    assert_eq!(counters.dropped, 5);
}

#[test]
fn every_reason_has_a_place_and_a_name_of_its_own() {
    let stats = QueueStats::default();
    for reason in QueueDrop::ALL {
        stats.dropped(reason, 1);
    }
    for reason in DropReason::ALL {
        stats.dropped_by_switch(*reason);
    }
    let counters = stats.snapshot();
    let expected = QueueDrop::ALL.len() + DropReason::ALL.len();
    assert_eq!(counters.drops.len(), expected);
    assert_eq!(counters.dropped, expected as u64);
}
