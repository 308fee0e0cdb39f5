//! Waiting for a condition, with a deadline instead of a hope.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Polls `condition` until it holds; false: not within `time`.
pub fn until(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > time {
            return false;
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}
