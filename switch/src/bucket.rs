//! A token bucket: how much may pass in the long run, and how much at once.
use std::time::Duration;

/// Credit is kept in tokens times nanoseconds per second, so that no rate loses a fraction of a token.
const SCALE: i128 = 1_000_000_000;

/// How much may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// tokens per second
    pub per_second: u64,
    /// tokens that an idle bucket holds
    pub burst: u64,
}

impl Rate {
    /// `per_second` tokens, with a burst of what passes in 50 ms, but `least_burst` at least.
    pub fn with_default_burst(per_second: u64, least_burst: u64) -> Self {
        Self {
            per_second,
            burst: (per_second / 20).max(least_burst),
        }
    }
}

/// A bucket that fills at a [`Rate`].
///
/// Something passes while there is credit, and may take the bucket below zero by what it is larger than the
/// credit: so a GSO frame of 64 KiB passes a bucket of any size, and the rate over time is exact.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    rate: Rate,
    credit: i128,
    filled: Duration,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: Rate, now: Duration) -> Self {
        Self {
            rate,
            credit: i128::from(rate.burst) * SCALE,
            filled: now,
        }
    }

    /// Takes `tokens`; false: there is no credit, and nothing was taken. A `now` before the last one counts as the last.
    #[inline]
    pub fn take(&mut self, now: Duration, tokens: u64) -> bool {
        self.take_above(now, tokens, 0)
    }

    /// The same for those who come second: what there is must be more than `reserve` tokens.
    #[inline]
    pub fn take_above(&mut self, now: Duration, tokens: u64, reserve: u64) -> bool {
        self.fill(now);
        if self.credit <= i128::from(reserve) * SCALE {
            return false;
        }
        self.credit -= i128::from(tokens) * SCALE;
        true
    }

    /// Takes `tokens` for something that has passed already, whether there is credit or not; false: there is none left. What is
    /// owed is never more than the bucket holds, or an outburst would count for ever.
    #[inline]
    pub fn charge(&mut self, now: Duration, tokens: u64) -> bool {
        self.fill(now);
        self.spend(tokens, self.rate.burst);
        self.credit > 0
    }

    /// Whether it holds so many tokens.
    #[inline]
    pub fn holds(&mut self, now: Duration, tokens: u64) -> bool {
        self.fill(now);
        self.credit >= i128::from(tokens) * SCALE
    }

    /// Tokens that it holds when it is full.
    pub fn burst(&self) -> u64 {
        self.rate.burst
    }

    /// Whole tokens that there are.
    pub fn available(&mut self, now: Duration) -> u64 {
        self.fill(now);
        u64::try_from(self.credit / SCALE).unwrap_or(0)
    }

    /// Takes `tokens`, whether there are so many or not; no more than `owed` of them are owed then.
    #[inline]
    pub fn spend(&mut self, tokens: u64, owed: u64) {
        let left = self.credit - i128::from(tokens) * SCALE;
        // What was owed before stays so.
        let least = (-i128::from(owed) * SCALE).min(self.credit);
        self.credit = left.max(least);
    }

    #[inline]
    fn fill(&mut self, now: Duration) {
        if let Some(passed) = now.checked_sub(self.filled) {
            self.filled = now;
            let nanos = i128::try_from(passed.as_nanos()).unwrap_or(i128::MAX);
            let gained = nanos.saturating_mul(i128::from(self.rate.per_second));
            let full = i128::from(self.rate.burst) * SCALE;
            self.credit = self.credit.saturating_add(gained).min(full);
        }
    }
}

#[cfg(test)]
#[path = "bucket_test.rs"]
mod tests;
