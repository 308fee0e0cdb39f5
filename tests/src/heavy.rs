//! Machines are small: tests that boot guests or measure go one after another.
use crate::say;
use std::fs::File;
use xtask::{machine, repo};

/// While it lives, no other heavy test runs on this machine with this target directory.
#[derive(Debug)]
pub struct Heavy {
    _lock: File,
}

/// Waits for the turn of this test, whatever process the others are in.
pub fn heavy() -> Heavy {
    let cache = repo::lab_cache();
    std::fs::create_dir_all(&cache).expect("the lab's cache can be created");
    let lock = File::create(cache.join("heavy.lock")).expect("a lock file can be created");
    lock.lock().expect("a file lock can be had");
    Heavy { _lock: lock }
}

/// Whether we are root; if not, says that the test is skipped, and why.
pub fn needs_root(test: &str) -> bool {
    let root = machine::is_root();
    if !root {
        say(&format!(
            "SKIPPED {test}: network namespaces need root; run `sudo -E cargo xtask test`"
        ));
    }
    root
}
