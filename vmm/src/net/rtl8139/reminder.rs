//! Frames in the ring of C mode that the driver was told of, and left.
//!
//! Linux' 8139too acknowledges ROK after each frame. When its budget of 64 ends with frames in the ring, it looks at the ISR, finds
//! nothing, and waits for an interrupt. On a wire the next frame brings one; here there may be none, because the ring is full of
//! what the driver waits for, or because the sender waits for an answer to just these frames.
use std::time::{Duration, Instant};

/// How long the driver may leave them, at first: longer than any that is at work needs for a frame.
const FIRST: Duration = Duration::from_millis(1);
/// And at last: who has left them for two seconds has gone, and must not keep a thread awake.
const LAST: Duration = Duration::from_secs(1);

/// When to tell the driver once more.
#[derive(Debug, Default)]
pub(super) struct Reminder {
    /// Where the driver was when it was looked at last (CAPR), if it had left frames.
    capr: Option<u16>,
    pause: Duration,
    due: Option<Instant>,
}

impl Reminder {
    /// The driver has read to `capr`, and frames are `left` or not; true: it is time to raise ROK.
    pub(super) fn look(&mut self, now: Instant, capr: u16, left: bool) -> bool {
        if !left {
            *self = Self::default();
            return false;
        }
        if self.capr.replace(capr) != Some(capr) {
            self.pause = FIRST;
            self.due = Some(now + FIRST);
            return false;
        }
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        self.pause *= 2;
        self.due = (self.pause <= LAST).then(|| now + self.pause);
        true
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }
}
