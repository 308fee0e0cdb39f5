//! cargo-fuzz, which builds and links fuzz targets.
use crate::commands::build::cargo;
use crate::exec;
use crate::repo;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// The version that is known to get along with the stable toolchain.
const VERSION: &str = "0.13.2";

/// The path of cargo-fuzz; installs it below the target directory if the machine has none.
pub fn install(ui: Ui) -> Result<PathBuf> {
    if exec::find_program("c++").is_none() {
        bail!("libFuzzer is C++, and there is no `c++` here; on Debian: `apt-get install g++`");
    }
    if let Some(program) = exec::find_program("cargo-fuzz").filter(|program| works(program)) {
        return Ok(program);
    }
    let root = repo::lab_cache().join("cargo-fuzz");
    let program = root.join("bin/cargo-fuzz");
    if works(&program) {
        return Ok(program);
    }
    ui.step("install cargo-fuzz (once)", |_| {
        let mut command = cargo();
        command.args(["install", "--locked", "--version", VERSION, "--root"]);
        exec::run(command.arg(&root).arg("cargo-fuzz"))
            .context("cargo-fuzz cannot be installed; is crates.io within reach?")
    })?;
    Ok(program)
}

fn works(program: &std::path::Path) -> bool {
    program.is_file() && exec::run(Command::new(program).args(["fuzz", "--version"])).is_ok()
}
