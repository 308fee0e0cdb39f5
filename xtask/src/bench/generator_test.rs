use super::*;

#[test]
fn a_line_about_throughput_is_read() {
    let sample =
        parse_throughput("64\t4000000\t256000000\t2.0\t1.5\t5000000\t50000").expect("a line");
    assert!((sample.mpps - 2.0).abs() < 1e-9);
    assert!((sample.gbps - 1.024).abs() < 1e-9);
    assert!((sample.busy - 0.75).abs() < 1e-9);
    assert!((sample.dropped - 0.01).abs() < 1e-9);
}

#[test]
fn a_line_about_latency_is_read() {
    let times = parse_latency("64\t1000\t700\t850\t1200\t5000\t90000").expect("a line");
    assert!((times.p50 - 0.85).abs() < 1e-9);
    assert!((times.p99 - 1.2).abs() < 1e-9);
    assert!((times.p999 - 5.0).abs() < 1e-9);
}

#[test]
fn a_line_that_lacks_numbers_or_holds_others_is_refused() {
    for line in ["", "64", "64\t1\t2\t3\t4\t5", "64\t1\t2\tx\t4\t5\t6"] {
        assert!(parse_throughput(line).is_err(), "{line:?} was accepted");
        assert!(parse_latency(line).is_err(), "{line:?} was accepted");
    }
}
