//! Where things are in this repository.
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The repository's root directory.
pub fn root() -> &'static Path {
    // The manifest directory is `ROOT/xtask`, so it always has a parent.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Cargo's target directory: `CARGO_TARGET_DIR`, else `ROOT/target`.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// What the lab downloads and builds; kept between runs, safe to delete.
pub fn lab_cache() -> PathBuf {
    target_dir().join("lab-cache")
}

/// The file of a lock that all who use this target directory share ([`File::lock`]).
///
/// # Errors
/// The file cannot be made.
pub fn lock_file(name: &str) -> Result<File> {
    let cache = lab_cache();
    fs::create_dir_all(&cache)?;
    let path = cache.join(format!("{name}.lock"));
    File::create(&path).with_context(|| format!("cannot create {}", display(&path)))
}

/// Sources of the lab: scenarios, guest jobs, init scripts.
pub fn lab_sources() -> PathBuf {
    root().join("tests/lab")
}

/// `path` relative to the current directory or the root where that is shorter to read.
pub fn display(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}
