//! `cargo xtask lint`: formatting, clippy, dependencies.
use super::build::cargo;
use crate::exec;
use crate::ui::Ui;
use anyhow::Result;
use std::process::ExitCode;

const BARE: &str = "benches/bare/Cargo.toml";

/// Runs every check even if one fails, so that one run shows everything.
pub fn run(ui: Ui) -> Result<ExitCode> {
    let mut failed = Vec::new();
    for (name, arguments) in [
        ("fmt", &["fmt", "--all", "--check"][..]),
        (
            "clippy",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        ),
        // A workspace of its own.
        (
            "fmt of the bare guest",
            &["fmt", "--check", "--manifest-path", BARE],
        ),
        (
            "clippy of the bare guest",
            &[
                "clippy",
                "--release",
                "--manifest-path",
                BARE,
                "--target-dir",
                "target/bare",
                "--",
                "-D",
                "warnings",
            ],
        ),
    ] {
        ui.heading(&format!("cargo {name}"));
        if !exec::run_visible(cargo().args(arguments))? {
            failed.push(name);
        }
    }
    if exec::find_program("cargo-deny").is_some() {
        ui.heading("cargo deny");
        if !exec::run_visible(cargo().args(["deny", "check"]))? {
            failed.push("deny");
        }
    } else {
        ui.note(
            "SKIPPED: licences and advisories (deny.toml): `cargo install --locked cargo-deny`",
        );
    }
    if failed.is_empty() {
        ui.note("lint: nothing to complain about");
        Ok(ExitCode::SUCCESS)
    } else {
        ui.note(&format!("lint failed: {}", failed.join(", ")));
        Ok(ExitCode::FAILURE)
    }
}
