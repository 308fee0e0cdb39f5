//! What the windows of all flows may promise together.
//!
//! A link to guests has room for so many bytes at a time, and drops what comes beyond it: then a guest's TCP sends again and slows
//! down. So each flow that is busy promises a share of that room; flows that are idle promise more, as they send nothing.
use std::time::Duration;

/// A flow is busy until the end of the epoch after that of its last payload: 16 to 32 ms.
const EPOCH: Duration = Duration::from_millis(16);
/// Least share: ten segments of an Ethernet link, with which a connection begins (RFC 6928).
const LEAST: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Windows {
    room: usize,
    /// of now; the first one is 1
    epoch: u64,
    /// flows with payload in this epoch, and in the one before
    busy: usize,
    before: usize,
}

impl Windows {
    /// For a link that has room for so many bytes.
    pub(crate) const fn new(room: usize) -> Self {
        Self {
            room,
            epoch: 1,
            busy: 0,
            before: 0,
        }
    }

    /// A flow has payload; `last` is the epoch when it had some the last time, 0 if it never had.
    pub(crate) fn note(&mut self, now: Duration, last: &mut u64) {
        let epoch = u64::try_from(now.as_nanos() / EPOCH.as_nanos()).unwrap_or(u64::MAX - 1) + 1;
        if self.epoch < epoch {
            self.before = if self.epoch + 1 == epoch {
                self.busy
            } else {
                0
            };
            self.busy = 0;
            self.epoch = epoch;
        }
        if *last < self.epoch {
            *last = self.epoch;
            self.busy += 1;
        }
    }

    /// Bytes that a busy flow may promise.
    pub(crate) fn share(&self) -> usize {
        (self.room / self.busy.max(self.before).max(1)).max(LEAST)
    }
}

#[cfg(test)]
#[path = "windows_test.rs"]
mod tests;
