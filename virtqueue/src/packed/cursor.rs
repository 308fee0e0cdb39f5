//! A place in a packed ring, with the wrap counter that belongs to it.

const WRAP: u16 = 1 << 15;

/// Next descriptor to look at or to write, and the lap it is in (virtio 1.2, 2.8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) index: u16,
    /// Driver Ring Wrap Counter or Device Ring Wrap Counter.
    pub(super) wrap: bool,
}

impl Cursor {
    /// Bits 0 to 14 place, bit 15 wrap counter: as in event suppression areas and in GET_VRING_BASE.
    pub(super) fn decode(bits: u16) -> Self {
        Self {
            index: bits & !WRAP,
            wrap: bits & WRAP != 0,
        }
    }

    /// See [`Self::decode`].
    #[inline]
    pub(super) fn encode(self) -> u16 {
        self.index | if self.wrap { WRAP } else { 0 }
    }

    /// `slots` further in a ring of `size`; at most one lap.
    #[inline]
    pub(super) fn after(self, slots: u16, size: u16) -> Self {
        let index = u32::from(self.index) + u32::from(slots);
        let size = u32::from(size);
        let (index, wrap) = if index >= size {
            (index - size, !self.wrap)
        } else {
            (index, self.wrap)
        };
        Self {
            index: u16::try_from(index).unwrap_or(0),
            wrap,
        }
    }

    /// `slots` back in a ring of `size`; at most one lap.
    #[inline]
    pub(super) fn before(self, slots: u16, size: u16) -> Self {
        match self.index.checked_sub(slots) {
            Some(index) => Self { index, ..self },
            None => Self {
                index: self.index.wrapping_add(size).wrapping_sub(slots),
                wrap: !self.wrap,
            },
        }
    }
}

#[cfg(test)]
#[path = "cursor_test.rs"]
mod tests;
