use super::*;

#[test]
fn lists_of_cpus_are_read() {
    assert_eq!(parse_cpus("0-1"), [0, 1]);
    assert_eq!(parse_cpus("3"), [3]);
    assert_eq!(parse_cpus("0,2-4,9"), [0, 2, 3, 4, 9]);
}
