//! Which end-to-end tests failed, and running them once more, alone.
//!
//! An emulated guest in an emulated host on a shared machine can miss a deadline for reasons that no test is about. What
//! passes alone is no failure, but it is said, by name, in the closing lines: a test that shows up there often needs work.
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

/// Runs `test`, a `cargo test --no-fail-fast`, and the end-to-end tests that failed once more, one at a time.
pub(super) fn run(
    ui: Ui,
    mut test: Command,
    environment: impl Fn(&mut Command),
) -> Result<Outcome> {
    let mut failures = Failures::default();
    environment(&mut test);
    if exec::run_watched(&mut test, |line| failures.line(line))? {
        return Ok(Outcome::of(true));
    }
    let may = failures.are_all() && failures.names.len() <= AT_MOST;
    let failed = failures.names;
    if !may || !are_end_to_end(&failed)? {
        return Ok(Outcome::of(false));
    }
    ui.heading(&format!("once more, alone: {}", failed.join(", ")));
    let mut test = end_to_end();
    test.args(["--exact", "--test-threads=1"]).args(&failed);
    environment(&mut test);
    let passed = exec::run_visible(&mut test)?;
    Ok(Outcome {
        flaky: if passed { failed } else { Vec::new() },
        passed,
    })
}

/// Whether all are tests with guests, emulators and other people's programs in them. What else fails depends on us only.
fn are_end_to_end(names: &[String]) -> Result<bool> {
    let listed = exec::stdout(end_to_end().arg("--list"))?;
    let is_listed = |name: &String| {
        let mut tests = listed.lines();
        tests.any(|line| line.strip_suffix(": test") == Some(name.as_str()))
    };
    Ok(names.iter().all(is_listed))
}

/// Arguments for the harness follow.
fn end_to_end() -> Command {
    let mut test = cargo();
    test.args(["test", "--workspace", "--test", "e2e", "--"]);
    test
}

/// Reads the output of test harnesses for the lists of what failed.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Those of all harnesses whose verdict has been read.
    pub(super) names: Vec<String>,
    /// The list under the last `failures:`, which counts if the verdict follows it.
    list: Option<Vec<String>>,
    /// Harnesses that have begun, without those that have come to their verdict.
    open: usize,
}

impl Failures {
    /// Takes the next line.
    pub(super) fn line(&mut self, line: &str) {
        if line == "failures:" {
            // The first of two has the tests' output under it, the second their names.
            self.list = Some(Vec::new());
        } else if line.starts_with("test result: ") {
            self.names.extend(self.list.take().unwrap_or_default());
            self.open = self.open.saturating_sub(1);
        } else if let (Some(list), Some(name)) = (&mut self.list, line.strip_prefix("    ")) {
            list.push(name.to_owned());
        } else if !line.is_empty() {
            self.list = None;
            self.open += usize::from(line.starts_with("running ") && line.contains(" test"));
        }
    }

    /// Whether these names are all that went wrong: no harness has ended without a verdict.
    pub(super) fn are_all(&self) -> bool {
        self.open == 0 && !self.names.is_empty()
    }
}

#[cfg(test)]
#[path = "again_test.rs"]
mod tests;
