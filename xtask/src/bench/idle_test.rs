use super::*;

#[test]
fn times_are_found_behind_any_name() {
    let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 700 50 1 1 20 0 3 0 100";
    let ticks = parse_ticks(stat).unwrap();
    assert_eq!((ticks.user, ticks.kernel), (700, 50));
    assert_eq!(ticks.all(), 750);
    assert_eq!(parse_ticks("42 (short) S 1"), None);
}

#[test]
fn the_kernel_has_its_share_of_the_time_since() {
    let before = Ticks {
        user: 10,
        kernel: 20,
    };
    let after = Ticks {
        user: 40,
        kernel: 110,
    };
    assert!((after.kernel_share_since(before) - 0.75).abs() < 1e-9);
    assert!(before.kernel_share_since(before) < 1e-9);
}

#[test]
fn memory_is_read_from_a_rollup() {
    let rollup = "\
55d5a000-7ffc rollup
Rss:               13000 kB
Pss:               11000 kB
Pss_Dirty:          2000 kB
Pss_Anon:           2500 kB
Pss_File:           8000 kB
Pss_Shmem:           500 kB
";
    let expected = Memory {
        rss: 13000,
        pss: 11000,
        guests: 500,
    };
    assert_eq!(parse_memory(rollup), expected);
}

#[test]
fn a_little_is_not_nothing() {
    assert_eq!(percent(0, 1000), "0.0 %");
    assert_eq!(percent(1, 10_000), "0.1 %");
    assert_eq!(percent(125, 1000), "12.5 %");
}
