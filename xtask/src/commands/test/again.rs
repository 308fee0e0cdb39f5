//! Which tests failed, and running them once more, alone.
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

/// What became of the tests of one `cargo test`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The tests that failed in the first run and passed in the second.
    pub flaky: Vec<String>,
    /// Whether each test has passed in the end.
    pub passed: bool,
}

/// Runs `test`, a `cargo test --no-fail-fast`, and what failed of it once more, one test at a time.
pub fn run(ui: Ui, mut test: Command, environment: impl Fn(&mut Command)) -> Result<Outcome> {
    let mut failures = Failures::default();
    environment(&mut test);
    if exec::run_watched(&mut test, |line| failures.line(line))? {
        let flaky = Vec::new();
        return Ok(Outcome {
            flaky,
            passed: true,
        });
    }
    let failed = failures.names;
    if failed.is_empty() || failed.len() > AT_MOST {
        return Ok(Outcome::default());
    }
    ui.heading(&format!("once more, alone: {}", failed.join(", ")));
    let mut test = cargo();
    test.args(["test", "--workspace", "--no-fail-fast", "--"]);
    test.args(["--exact", "--test-threads=1"]).args(&failed);
    environment(&mut test);
    let passed = exec::run_visible(&mut test)?;
    Ok(Outcome {
        flaky: if passed { failed } else { Vec::new() },
        passed,
    })
}

/// Reads the output of test harnesses for the lists of what failed.
#[derive(Debug, Default)]
pub struct Failures {
    /// Those of all harnesses whose verdict has been read.
    pub names: Vec<String>,
    /// The list under the last `failures:`, which counts if the verdict follows it.
    list: Option<Vec<String>>,
}

impl Failures {
    /// Takes the next line.
    pub fn line(&mut self, line: &str) {
        if line == "failures:" {
            // The first of two has the tests' output under it, the second their names.
            self.list = Some(Vec::new());
        } else if line.starts_with("test result: FAILED.") {
            self.names.extend(self.list.take().unwrap_or_default());
        } else if let (Some(list), Some(name)) = (&mut self.list, line.strip_prefix("    ")) {
            list.push(name.to_owned());
        } else if !line.is_empty() {
            self.list = None;
        }
    }
}

#[cfg(test)]
#[path = "again_test.rs"]
mod tests;
