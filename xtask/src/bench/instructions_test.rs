use super::*;

fn counts(list: &[(&str, f64)]) -> Vec<Count> {
    let count = |(name, instructions): &(&str, f64)| Count {
        name: (*name).to_owned(),
        instructions: *instructions,
    };
    list.iter().map(count).collect()
}

#[test]
fn the_cost_of_a_function_is_found_in_a_report() {
    let report = "\
--------------------------------------------------------------------------------
Ir
--------------------------------------------------------------------------------
1,555,000 (100.0%)  PROGRAM TOTALS

 1,234,567 (79.41%)  /src/count.rs:count::device_pop [/target/count]
    99,000 ( 6.36%)  ???:count::device_complete [/target/count]
     1,003 ( 0.06%)  /src/layout.rs:count::device_pop
";
    assert_eq!(inclusive(report, "device_pop"), Some(1_234_567));
    assert_eq!(inclusive(report, "device_complete"), Some(99_000));
    assert_eq!(inclusive(report, "device"), None);
}

#[test]
fn the_total_of_a_thread_is_read() {
    assert_eq!(
        total("events: Ir\nfn=(1) x\n5 6\ntotals: 4711\n"),
        Some(4711)
    );
    assert_eq!(total("events: Ir\n"), None);
}

#[test]
fn start_and_end_do_not_count() {
    let frames = u64::from(LONG - SHORT) * 32;
    assert!((difference(1000, 1000 + 200 * frames) - 200.0).abs() < 1e-9);
}

#[test]
fn more_than_the_tolerance_or_a_missing_count_fails_and_less_does_not() {
    let baseline = counts(&[("a", 100.0), ("b", 200.0)]);
    let fine = counts(&[("a", 109.0), ("b", 20.0), ("new", 5.0)]);
    compare(&fine, &baseline).expect("within the tolerance");
    let slow = counts(&[("a", 111.0), ("b", 200.0)]);
    let error = compare(&slow, &baseline).expect_err("a takes more");
    assert!(
        error.to_string().contains("a: 111.0 instead of 100.0"),
        "{error}"
    );
    let gone = counts(&[("a", 100.0)]);
    let error = compare(&gone, &baseline).expect_err("b is missing");
    assert!(
        error.to_string().contains("b: it is not counted"),
        "{error}"
    );
}

#[test]
fn a_baseline_is_read_as_it_is_written() {
    let read = parse_baseline("forward 64\t123.4\nforward 1518\t200.0\n").expect("a baseline");
    assert_eq!(
        read,
        counts(&[("forward 64", 123.4), ("forward 1518", 200.0)])
    );
    assert!(parse_baseline("forward 64 123.4\n").is_err());
}
