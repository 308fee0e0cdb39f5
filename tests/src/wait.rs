//! Waiting for a condition instead of for a time.
use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// Polls until `condition` gives a value; panics with `what` after `patience`.
///
/// # Panics
/// The deadline passed.
#[track_caller]
pub fn wait_until<T>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {} s",
            patience.as_secs()
        );
        thread::sleep(POLL);
    }
}
