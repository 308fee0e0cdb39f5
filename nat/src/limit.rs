//! A limit of bytes per second that datagrams and connections share.
use std::time::Duration;
use switch::{Rate, TokenBucket};

/// What an idle limit saves up, at least.
const BURST: u64 = 64 << 10;
/// Credit that connections leave to datagrams.
const FOR_DATAGRAMS: u64 = 16 << 10;

/// A connection can wait for credit, a datagram without any is lost. So connections leave some to datagrams, and never borrow more
/// than half of the rate: whoever sends datagrams without end gets the other half.
#[derive(Debug)]
pub(crate) struct Limit {
    all: TokenBucket,
    /// the half that is the connections' in any case
    streams: TokenBucket,
}

impl Limit {
    pub(crate) fn new(per_second: u64, now: Duration) -> Self {
        let half = Rate {
            per_second: per_second.div_ceil(2),
            burst: FOR_DATAGRAMS,
        };
        Self {
            all: TokenBucket::new(Rate::with_default_burst(per_second, BURST), now),
            streams: TokenBucket::new(half, now),
        }
    }

    /// Whether a datagram may pass now; it is counted then.
    pub(crate) fn admit(&mut self, now: Duration, bytes: usize) -> bool {
        self.all.take(now, bytes as u64)
    }

    /// Bytes of connections that may pass now.
    pub(crate) fn room(&mut self, now: Duration) -> usize {
        let spare = self.all.available(now).saturating_sub(FOR_DATAGRAMS);
        let room = spare.max(self.streams.available(now));
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Bytes of a connection have passed.
    pub(crate) fn passed(&mut self, bytes: usize) {
        self.all.spend(bytes as u64, BURST);
        // What they had because nobody else wanted it is not to be paid back.
        self.streams.spend(bytes as u64, 0);
    }
}

#[cfg(test)]
#[path = "limit_test.rs"]
mod tests;
