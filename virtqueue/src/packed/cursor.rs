//! A place in a packed ring, with the wrap counter that belongs to it.

use super::layout::LINE;
use crate::wide::Wide;

const WRAP: u16 = 1 << 15;

/// Next descriptor to look at or to write, and the lap it is in (virtio 1.2, 2.8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor(Wide);

impl Cursor {
    pub(super) fn new(index: u16, wrap: bool) -> Self {
        Self::decode(index & !WRAP | if wrap { WRAP } else { 0 })
    }

    /// Bits 0 to 14 place, bit 15 wrap counter: as in event suppression areas and in GET_VRING_BASE.
    #[inline]
    pub(super) fn decode(bits: u16) -> Self {
        Self(Wide::new(bits))
    }

    /// See [`Self::decode`].
    #[inline]
    pub(super) fn encode(self) -> u16 {
        self.0.get()
    }

    /// The descriptor's.
    #[inline]
    pub(super) fn index(self) -> u16 {
        self.encode() & !WRAP
    }

    /// Driver Ring Wrap Counter or Device Ring Wrap Counter.
    #[inline]
    pub(super) fn wrap(self) -> bool {
        self.encode() & WRAP != 0
    }

    /// Whether a cache line of descriptors begins here.
    #[inline]
    pub(super) fn begins_line(self) -> bool {
        self.encode().is_multiple_of(LINE)
    }

    /// `slots` further in a ring of `size`; at most one lap.
    #[inline]
    pub(super) fn after(self, slots: u16, size: u16) -> Self {
        // Both at most 32768, and one of them less.
        let index = self.index().wrapping_add(slots);
        let wrap = self.encode() & WRAP;
        Self::decode(if index >= size {
            index.wrapping_sub(size) | wrap ^ WRAP
        } else {
            index | wrap
        })
    }

    /// `slots` back in a ring of `size`; at most one lap.
    #[inline]
    pub(super) fn before(self, slots: u16, size: u16) -> Self {
        match self.index().checked_sub(slots) {
            Some(index) => Self::new(index, self.wrap()),
            None => Self::new(
                self.index().wrapping_add(size).wrapping_sub(slots),
                !self.wrap(),
            ),
        }
    }
}

#[cfg(test)]
#[path = "cursor_test.rs"]
mod tests;
