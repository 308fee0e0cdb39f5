//! A place in a packed ring, with the wrap counter that belongs to it.

use super::layout::LINE;

/// The wrap counter on the wire.
const WRAP: u16 = 1 << 15;
/// The same in a [`Cursor`].
const LAP: u32 = 1 << 31;

/// Next descriptor to look at or to write, and the lap it is in (virtio 1.2, 2.8.1). The index is in the lower half, so that `size` more
/// fit. In 32 bits for the reason that [`crate::wide::Wide`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor(u32);

impl Cursor {
    pub(super) fn new(index: u16, wrap: bool) -> Self {
        Self::decode(index & !WRAP | if wrap { WRAP } else { 0 })
    }

    /// Bits 0 to 14 place, bit 15 wrap counter: as in event suppression areas and in GET_VRING_BASE.
    #[inline]
    pub(super) fn decode(bits: u16) -> Self {
        Self(u32::from(bits & !WRAP) | u32::from(bits & WRAP) << 16)
    }

    /// See [`Self::decode`].
    #[inline]
    pub(super) fn encode(self) -> u16 {
        self.index() | if self.wrap() { WRAP } else { 0 }
    }

    /// The descriptor's.
    #[inline]
    pub(super) fn index(self) -> u16 {
        let [low, high, ..] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Driver Ring Wrap Counter or Device Ring Wrap Counter.
    #[inline]
    pub(super) fn wrap(self) -> bool {
        self.0 & LAP != 0
    }

    /// Whether a cache line of descriptors begins here.
    #[inline]
    pub(super) fn begins_line(self) -> bool {
        self.index().is_multiple_of(LINE)
    }

    /// `slots` further in a ring of `size`; at most one lap.
    #[inline]
    pub(super) fn after(self, slots: u16, size: u16) -> Self {
        // Both at most 32768, and one of them less: the lap is left alone.
        let moved = Self(self.0.wrapping_add(slots.into()));
        if moved.index() >= size {
            Self(moved.0.wrapping_sub(size.into()) ^ LAP)
        } else {
            moved
        }
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
