//! Acknowledgements that wait for data to go with (RFC 9293, 3.8.6.3).
//!
//! An answer that follows its question at once acknowledges it by the way: a segment of its own would only be work for gateway and
//! guest. But a guest that sends in small parts, with Nagle's algorithm, waits for the acknowledgement of the first, so one that
//! waits in vain is a loss. So it waits only where the last question was answered in time, for a few milliseconds, and for less than
//! two segments; and after it has waited in vain, only when many questions were answered in time, each time twice as many.
use std::time::Duration;

/// How long it waits: a tick of the timers, where Linux takes 40 ms.
const DELAY: Duration = Duration::from_millis(4);
/// Questions that have to be answered in time after the first one that was not.
const FIRST_PROBATION: u32 = 8;
/// At most.
const LONGEST_PROBATION: u32 = 1 << 16;

#[derive(Debug)]
pub(crate) struct AckDelay {
    /// the world answered the last question in time
    answers: bool,
    /// questions that have to be answered in time before an acknowledgement waits again
    probation: u32,
    /// of the next time that one waits in vain
    next_probation: u32,
    /// when the guest sent what was not answered yet
    asked: Option<Duration>,
    /// bytes in order since the last acknowledgement
    unacknowledged: usize,
    /// when one has waited long enough
    due: Option<Duration>,
}

impl Default for AckDelay {
    fn default() -> Self {
        Self {
            answers: false,
            probation: 0,
            next_probation: FIRST_PROBATION,
            asked: None,
            unacknowledged: 0,
            due: None,
        }
    }
}

impl AckDelay {
    /// Payload came in order, and the guest may send `window` bytes more. True: it is to be acknowledged now.
    pub(crate) fn received(&mut self, now: Duration, len: usize, mss: u16, window: usize) -> bool {
        self.asked = Some(now);
        self.unacknowledged = self.unacknowledged.saturating_add(len);
        let two_segments = 2 * usize::from(mss);
        let waits = self.answers && self.unacknowledged < two_segments && window >= two_segments;
        if waits {
            self.due.get_or_insert(now + DELAY);
        }
        !waits
    }

    /// All that came is acknowledged.
    pub(crate) fn acknowledged(&mut self) {
        self.unacknowledged = 0;
        self.due = None;
    }

    /// Data go to the guest, which acknowledge by the way.
    pub(crate) fn answered(&mut self, now: Duration) {
        if let Some(asked) = self.asked.take() {
            let in_time = now.saturating_sub(asked) <= DELAY;
            self.answers = in_time && self.probation == 0;
            if in_time {
                self.probation = self.probation.saturating_sub(1);
            }
        }
        self.acknowledged();
    }

    /// When [`AckDelay::expire`] is due.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.due
    }

    /// True: an acknowledgement has waited in vain, and is to be sent.
    pub(crate) fn expire(&mut self, now: Duration) -> bool {
        let expired = self.due.is_some_and(|due| due <= now);
        if expired {
            self.due = None;
            self.answers = false;
            self.probation = self.next_probation;
            self.next_probation = (self.next_probation * 2).min(LONGEST_PROBATION);
        }
        expired
    }
}
