//! Frames in the ring of C mode that the driver was told of, and left.
//!
//! Linux' 8139too acknowledges ROK after each frame. When its budget of 64 ends with frames in the ring, it looks at the ISR, finds
//! nothing, and waits for an interrupt. On a wire the next frame brings one; here there may be none, because the ring is full of
//! what the driver waits for, or because the sender waits for an answer to just these frames.
use std::time::{Duration, Instant};

/// How long the driver may leave them, at first: longer than any that is at work needs for a frame.
const FIRST: Duration = Duration::from_millis(1);
/// And at most between two reminders.
const LAST: Duration = Duration::from_millis(50);

/// When to tell the driver once more.
#[derive(Debug, Default)]
pub(super) struct Reminder {
    /// Where the driver was when it was looked at last (CAPR).
    capr: u16,
    pause: Duration,
    due: Option<Instant>,
}

impl Reminder {
    /// The driver has read to `capr`, and frames are `left` or not; true: it is time to raise ROK.
    pub(super) fn look(&mut self, now: Instant, capr: u16, left: bool) -> bool {
        if !left {
            self.due = None;
            return false;
        }
        let Some(due) = self.due.filter(|_| capr == self.capr) else {
            self.capr = capr;
            self.pause = FIRST;
            self.due = Some(now + FIRST);
            return false;
        };
        if now < due {
            return false;
        }
        self.pause = (self.pause * 2).min(LAST);
        self.due = Some(now + self.pause);
        true
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }
}
