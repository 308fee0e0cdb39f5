//! Which tests failed, and running them once more, alone.
//!
//! An emulated guest in an emulated host, and threads of ours, on a shared machine, can miss a deadline for reasons that no test is
//! about. What passes alone is no failure, but it is said, by name, in the closing lines: a test that shows up there needs work.
use super::cargo;
use crate::exec;
use crate::ui::Ui;
use anyhow::Result;
use std::process::Command;

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

/// Runs `test`, a `cargo test --workspace --no-fail-fast`, and the tests that failed once more, one at a time.
pub(super) fn run(
    ui: Ui,
    mut test: Command,
    environment: impl Fn(&mut Command),
) -> Result<Outcome> {
    let mut first = Harnesses::default();
    environment(&mut test);
    if exec::run_watched(&mut test, |line| first.line(line))? {
        return Ok(Outcome::of(true));
    }
    if !first.have_told_all() || first.failed.len() > AT_MOST {
        return Ok(Outcome::of(false));
    }
    let failed = first.failed;
    ui.heading(&format!("once more, alone: {}", failed.join(", ")));
    let mut test = cargo();
    test.args(["test", "--workspace", "--", "--exact", "--test-threads=1"]);
    environment(test.args(&failed));
    let mut second = Harnesses::default();
    let passed = exec::run_watched(&mut test, |line| second.line(line))?;
    // A name that no harness has found again has passed nowhere.
    let passed = passed && second.passed >= failed.len();
    Ok(Outcome {
        flaky: if passed { failed } else { Vec::new() },
        passed,
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

    /// Whether what failed is all that went wrong: no harness has ended without a verdict.
    pub(super) fn have_told_all(&self) -> bool {
        self.open == 0 && !self.failed.is_empty()
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
