use super::*;

#[test]
fn what_a_test_says_is_found_behind_its_name() {
    let line =
        "test network::datapath::worker::tests::x ... beside a storm: 97.1 % of 400 frames/s";
    let kept = parse(line).expect("a line of a test");
    assert_eq!(kept.beside, "a storm");
    assert!((kept.percent - 97.1).abs() < 1e-9);
}

#[test]
fn other_lines_say_nothing() {
    for line in [
        "",
        "running 3 tests",
        "test x ... ok",
        "beside a storm: much",
    ] {
        assert_eq!(parse(line), None, "{line:?}");
    }
}
