//! `netbackend reload`: what it has done.
use super::{Failure, print_json};
use control::{Client, ReloadReport};
use std::io::{self, Write};

pub(super) fn run(client: &Client, json: bool) -> Result<(), Failure> {
    let report = client.reload().map_err(|error| match error {
        control::ClientError::Api(error) if error.code == "bad-config" => Failure::usage(error),
        error => Failure::at_run_time(error),
    })?;
    let mut out = io::stdout().lock();
    if json {
        print_json(&mut out, &report)?;
    } else {
        show(&mut out, &report)?;
    }
    if report.failed.is_empty() {
        return Ok(());
    }
    Err(Failure::told(1))
}

fn show(out: &mut impl Write, report: &ReloadReport) -> io::Result<()> {
    for (what, names) in [
        ("added", &report.added),
        ("removed", &report.removed),
        ("changed", &report.changed),
        ("untouched", &report.untouched),
    ] {
        if !names.is_empty() {
            writeln!(out, "{what}: {}", names.join(", "))?;
        }
    }
    for warning in &report.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for failed in &report.failed {
        writeln!(out, "failed: {failed}")?;
    }
    Ok(())
}
