//! The programs under test, and the one at a time that heavy tests get.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use xtask::{
    commands::build::{self, Profile},
    image::guest,
    setup::kernels::{self, Flavour},
    ui::Ui,
};

/// Two cores carry one emulated machine room, not two: tests that boot guests take turns.
pub fn take_turns() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed with the turn has cleaned up by the destructors of what it started.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All programs that the lab needs: those that `cargo xtask test` built, else built now.
pub fn all() -> anyhow::Result<Vec<PathBuf>> {
    let built = ["NETBACKEND_BIN", "VMM_BIN", "STOCK_BACKEND_BIN"]
        .iter()
        .map(|name| std::env::var_os(name).map(PathBuf::from))
        .collect::<Option<Vec<_>>>();
    match built {
        Some(programs) => Ok(programs),
        None => build::programs(Ui::new(), Profile::Dev),
    }
}

/// The program of this name.
pub fn find(name: &str) -> anyhow::Result<PathBuf> {
    let programs = all()?;
    let found = programs
        .into_iter()
        .find(|path| path.file_name().is_some_and(|file| file == name));
    found.with_context(|| format!("{name} is not among the built programs"))
}

/// The stock kernel and the initramfs of guests.
pub fn guest_image() -> anyhow::Result<(PathBuf, PathBuf)> {
    let kernel = kernels::kernel(Ui::new(), Flavour::Cloud)?;
    let initrd = guest::build(&kernel)?;
    Ok((kernel.image, initrd))
}
