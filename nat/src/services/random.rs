//! Numbers that a stranger cannot guess, from a secret seed.
use std::hash::{DefaultHasher, Hasher};

/// SipHash of a counter under a secret: who has not seen the seed cannot tell the next number from those before.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(crate) fn u64(&mut self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write_u64(self.drawn);
        self.drawn = self.drawn.wrapping_add(1);
        hasher.finish()
    }

    pub(crate) fn u16(&mut self) -> u16 {
        let [high, low, ..] = self.u64().to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// A number below `bound`, or 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.u64().checked_rem(bound).unwrap_or(0)
    }
}
