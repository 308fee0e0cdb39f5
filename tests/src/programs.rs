//! The programs under test.
use std::path::PathBuf;
use std::sync::LazyLock;
use xtask::commands::build::{self, Profile};
use xtask::ui::Ui;

/// Environment variables that name what `cargo xtask test` has built, in the order of
/// [`build::programs`].
const VARIABLES: [&str; 3] = ["NETBACKEND_BIN", "VMM_BIN", "STOCK_BACKEND_BIN"];

static PROGRAMS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let given: Option<Vec<PathBuf>> = VARIABLES
        .iter()
        .map(|variable| std::env::var_os(variable).map(PathBuf::from))
        .collect();
    given.unwrap_or_else(|| {
        build::programs(Ui::new(), Profile::Dev).expect("the programs under test can be built")
    })
});

/// All programs under test; built now if nobody built them before.
pub fn all() -> &'static [PathBuf] {
    &PROGRAMS
}

/// The daemon.
pub fn netbackend() -> &'static PathBuf {
    &PROGRAMS[0]
}

/// The VMM.
pub fn vmm() -> &'static PathBuf {
    &PROGRAMS[1]
}
