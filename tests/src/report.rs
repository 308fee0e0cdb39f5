//! What a test tells the person who reads the log, passed or not.
use std::io::Write;

/// Prints a line even when the test passes: the test harness captures only the print macros.
pub fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody reads the log: not a reason to fail.
    let _ = writeln!(stderr, "    {text}");
}

/// The figures of a job's checks: prints them, and insists on `expected` many, none failed.
///
/// `log` is what a guest or a namespace printed; see `tests/lab/guest/jobs/checks`.
///
/// # Panics
/// A check failed or is missing.
#[track_caller]
pub fn assert_checks(who: &str, log: &str, expected: usize) {
    let results: Vec<&str> = log
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("RESULT "))
        .collect();
    for result in results.iter().filter(|result| !result.starts_with("job ")) {
        say(&format!("{who}: {result}"));
    }
    let verdict = format!("checks passed={expected} failed=0");
    assert!(
        results.contains(&verdict.as_str()),
        "{who}: wanted `{verdict}`, its log is:\n{log}"
    );
}
