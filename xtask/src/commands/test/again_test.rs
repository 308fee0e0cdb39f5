//! What the standard test harness prints, read.
use super::Harnesses;

fn read(output: &str) -> Harnesses {
    let mut harnesses = Harnesses::default();
    output.lines().for_each(|line| harnesses.line(line));
    harnesses
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
    let harnesses = read(output);
    assert_eq!(harnesses.failed, ["a::b", "d", "src/lib.rs - e (line 3)"]);
    assert_eq!(harnesses.passed, 1);
    assert!(!harnesses.may_run_again(), "of documentation");
}

#[test]
fn a_harness_that_does_not_come_to_its_verdict_is_a_failure_without_a_name() {
    const FAILED: &str = "running 1 test\n\nfailures:\n    a\n\ntest result: FAILED. 0 passed\n";
    const ABORTED: &str = "running 2 tests\n\nfailures:\n    b\n\nSIGABRT\n";
    for output in [FAILED.to_owned() + ABORTED, ABORTED.to_owned() + FAILED] {
        let harnesses = read(&output);
        assert_eq!(harnesses.failed, ["a"]);
        assert!(!harnesses.may_run_again());
    }
    assert!(read(FAILED).may_run_again());
    let harnesses = read("running 3 tests\ntest result: ok. 3 passed; 0 failed");
    assert!(!harnesses.may_run_again());
    assert_eq!(harnesses.passed, 3);
}
