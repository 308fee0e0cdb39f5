//! The lists of failures in what the standard test harness prints.
use super::Failures;

fn read(output: &str) -> Vec<String> {
    let mut failures = Failures::default();
    output.lines().for_each(|line| failures.line(line));
    failures.names
}

#[test]
fn names_are_those_above_the_verdict() {
    let output = "
running 3 tests
test a::b ... FAILED
test c ... ok
test d ... FAILED

failures:

---- a::b stdout ----
failures:
    no_test_of_this_name
thread 'a::b' panicked at src/lib.rs:1:1:

---- d stdout ----
    indented


failures:
    a::b
    d

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

running 1 test
test src/lib.rs - e (line 3) ... FAILED

failures:

---- src/lib.rs - e (line 3) stdout ----
error

failures:
    src/lib.rs - e (line 3)

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";
    assert_eq!(read(output), ["a::b", "d", "src/lib.rs - e (line 3)"]);
}

#[test]
fn a_harness_that_does_not_come_to_its_verdict_names_nothing() {
    assert!(read("failures:\n    a\n").is_empty());
    assert!(read("test result: ok. 3 passed; 0 failed").is_empty());
    assert!(read("failures:\n    a\nSIGABRT\ntest result: FAILED. 0 passed").is_empty());
}
