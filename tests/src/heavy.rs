//! Machines are small: tests that boot guests or measure go one after another, but for scenarios of the lab, which take a CPU each.
use crate::say;
use std::{
    fs::File,
    sync::atomic::{AtomicUsize, Ordering},
};
use xtask::{machine, repo};

/// Scenarios at once, each with some GiB of memory.
const SCENARIOS: usize = 2;

/// While it lives, no other heavy test runs on this machine with this target directory.
#[derive(Debug)]
pub struct Heavy {
    _locks: Vec<File>,
}

fn lock_file(name: &str) -> File {
    repo::lock_file(name).expect("the lab's cache can be written")
}

/// Waits for the turn of this test, whatever process the others are in.
pub fn heavy() -> Heavy {
    let lock = lock_file("heavy");
    lock.lock().expect("a file lock can be had");
    Heavy { _locks: vec![lock] }
}

/// The same for a scenario of the lab: another one may run meanwhile.
pub fn scenario() -> Heavy {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let place = NEXT.fetch_add(1, Ordering::Relaxed) % SCENARIOS;
    let place = lock_file(&format!("scenario-{place}"));
    place.lock().expect("a file lock can be had");
    let lock = lock_file("heavy");
    lock.lock_shared().expect("a file lock can be had");
    Heavy {
        _locks: vec![place, lock],
    }
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
