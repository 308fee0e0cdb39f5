//! Building the programs under test.
use crate::exec;
use crate::repo;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// Cargo's build profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build; what tests run.
    Dev,
    /// What people run.
    Release,
}

impl Profile {
    fn directory(self) -> &'static str {
        match self {
            Profile::Dev => "debug",
            Profile::Release => "release",
        }
    }
}

/// Cargo itself: the one that started us, else the one in `PATH`.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(repo::root());
    command
}

/// The programs that go into the lab: package, and name of the binary.
const PROGRAMS: &[(&str, &str)] = &[
    ("netbackend", "netbackend"),
    ("vmm", "vmm"),
    ("tests", "stock-backend"),
];

/// Builds the programs that go into the lab and returns their paths.
pub fn programs(ui: Ui, profile: Profile) -> Result<Vec<PathBuf>> {
    let mut command = cargo();
    command.arg("build");
    if profile == Profile::Release {
        command.arg("--release");
    }
    for (package, binary) in PROGRAMS {
        command.args(["--package", package, "--bin", binary]);
    }
    build(ui, profile, &mut command)
}

/// Builds every program and every test, exactly as `cargo test --workspace` wants them, and returns
/// the paths of the programs that go into the lab.
///
/// A build of single packages would choose other features for shared dependencies and make cargo
/// build half of them twice.
pub fn workspace(ui: Ui) -> Result<Vec<PathBuf>> {
    let mut command = cargo();
    command.args(["build", "--workspace", "--bins", "--tests"]);
    build(ui, Profile::Dev, &mut command)
}

fn build(ui: Ui, profile: Profile, command: &mut Command) -> Result<Vec<PathBuf>> {
    ui.heading(&exec::describe(command));
    if !exec::run_visible(command)? {
        bail!("the build failed: see the compiler's messages above");
    }
    PROGRAMS
        .iter()
        .map(|(_, binary)| {
            let path = repo::target_dir().join(profile.directory()).join(binary);
            path.canonicalize()
                .with_context(|| format!("cargo did not build {}", path.display()))
        })
        .collect()
}
