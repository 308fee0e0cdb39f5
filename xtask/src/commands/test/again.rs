//! Which tests failed, and running them once more, alone.
//!
//! An emulated guest in an emulated host, and threads of ours, on a shared machine, can miss a deadline for reasons that no test is
//! about. What passes alone is no failure, but it is said, by name, in the closing lines: a test that shows up there needs work.
use super::cargo;
use crate::exec;
use crate::ui::Ui;
use anyhow::Result;
use std::{process::Command, time::SystemTime};

/// More failures than this have a cause in common, which a second run only hides.
const AT_MOST: usize = 4;

/// What became of the tests.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The tests that failed in the first run and passed in the second.
    pub(super) flaky: Vec<String>,
    /// Whether each test has passed in the end.
    pub(super) passed: bool,
}

impl Outcome {
    /// Of tests that have run once.
    pub(super) fn of(passed: bool) -> Self {
        let flaky = Vec::new();
        Self { flaky, passed }
    }
}

/// Runs the tests of `packages` that `filter` chooses (both as `cargo test` takes them), and those that failed once more, one at
/// a time.
pub(super) fn run(
    ui: Ui,
    packages: &[&str],
    filter: &[&str],
    environment: impl Fn(&mut Command),
) -> Result<Outcome> {
    // Both runs see the same made-up inputs.
    let seed = seed();
    let cargo_test = |arguments: &[&str]| {
        let mut test = cargo();
        test.arg("test").args(packages).args(arguments);
        test.env("PROPTEST_RNG_SEED", &seed);
        environment(&mut test);
        test
    };
    let mut test = cargo_test(&["--no-fail-fast"]);
    let mut first = Harnesses::default();
    if exec::run_watched(test.args(filter), |line| first.line(line))? {
        return Ok(Outcome::of(true));
    }
    if !first.may_run_again() {
        return Ok(Outcome::of(false));
    }
    let failed = first.failed;
    ui.heading(&format!("once more, alone: {}", failed.join(", ")));
    let mut test = cargo_test(&["--", "--exact", "--test-threads=1"]);
    let mut second = Harnesses::default();
    let passed = exec::run_watched(test.args(&failed), |line| second.line(line))?;
    // A name that no harness has found again has passed nowhere.
    let passed = passed && second.passed >= failed.len();
    Ok(Outcome {
        flaky: if passed { failed } else { Vec::new() },
        passed,
    })
}

/// Another one each time, for tests that make up their inputs, unless one is asked for.
fn seed() -> String {
    std::env::var("PROPTEST_RNG_SEED").unwrap_or_else(|_| {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        since.as_secs().to_string()
    })
}

/// What test harnesses print of what passed and what failed.
#[derive(Debug, Default)]
pub(super) struct Harnesses {
    /// The tests that failed, of all harnesses whose verdict has been read.
    pub(super) failed: Vec<String>,
    /// How many passed.
    pub(super) passed: usize,
    /// The list under the last `failures:`, which counts if the verdict follows it.
    list: Option<Vec<String>>,
    /// Harnesses that have begun, without those that have come to their verdict.
    open: usize,
}

impl Harnesses {
    /// Takes the next line.
    pub(super) fn line(&mut self, line: &str) {
        if line == "failures:" {
            // The first of two has the tests' output under it, the second their names.
            self.list = Some(Vec::new());
        } else if let Some(verdict) = line.strip_prefix("test result: ") {
            self.failed.extend(self.list.take().unwrap_or_default());
            self.passed += passed(verdict).unwrap_or(0);
            self.open = self.open.saturating_sub(1);
        } else if let (Some(list), Some(name)) = (&mut self.list, line.strip_prefix("    ")) {
            list.push(name.to_owned());
        } else if !line.is_empty() {
            self.list = None;
            self.open += usize::from(line.starts_with("running ") && line.contains(" test"));
        }
    }

    /// Whether what failed is all that went wrong, so that it can be run again: no harness has ended without a verdict, few tests have failed,
    /// and no test of documentation, whose name is no filter.
    pub(super) fn may_run_again(&self) -> bool {
        let failed = self.failed.len();
        let have_told_all = self.open == 0 && failed > 0;
        have_told_all && failed <= AT_MOST && !self.failed.iter().any(|name| name.contains(' '))
    }
}

/// The number in "ok. 3 passed; 0 failed".
fn passed(verdict: &str) -> Option<usize> {
    let (before, _) = verdict.split_once(" passed;")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
#[path = "again_test.rs"]
mod tests;
