//! What a stream consists of: bytes without a pattern that repeat after a while, so that all of them are known beforehand.

use crate::content::noise;

/// The bytes of every stream.
#[derive(Debug)]
pub struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    /// After so many bytes it begins anew. As much as 256 large frames have: it comes from memory, as a guest's data do, and not from a
    /// cache that is near the back-end.
    pub(crate) const PERIOD: u64 = 16 << 20;

    /// Made once.
    pub fn new() -> Self {
        let len = usize::try_from(Self::PERIOD).unwrap_or(usize::MAX);
        Self { bytes: noise(len) }
    }

    /// All bytes of one period.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether `bytes` are those of a stream from `place` on.
    pub fn matches(&self, place: u64, bytes: &[u8]) -> bool {
        let (mut place, mut rest) = (place, bytes);
        while !rest.is_empty() {
            let from = usize::try_from(place % Self::PERIOD).unwrap_or(usize::MAX);
            let known = self.bytes.get(from..).unwrap_or_default();
            let (now, later) = rest.split_at(rest.len().min(known.len()));
            if known.get(..now.len()) != Some(now) || now.is_empty() {
                return false;
            }
            place = place.wrapping_add(now.len() as u64);
            rest = later;
        }
        true
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[path = "pattern_test.rs"]
mod tests;
