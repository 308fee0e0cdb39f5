//! The commonest thing to carry: a frame that asks for nothing, for a receiver that takes it as it is.
use super::frame::HEAD;
use virtqueue::{NET_HEADER_LEN, Segments};

/// What a receive chain is to hold: virtio-net header and start of the frame from private memory, the rest from the sender's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    start: &'a [u8],
    /// The sender's chain, and where the rest begins there.
    rest: Option<(Segments<'a>, u32)>,
    rest_len: u32,
}

impl<'a> Packet<'a> {
    /// `start`: header and [`HEAD`] bytes of a frame of `frame_len`, or all of it. `chain`: the sender's, and the length of its header.
    #[inline]
    pub(super) fn new(
        start: &'a [u8],
        frame_len: u32,
        chain: impl FnOnce() -> Option<(Segments<'a>, u32)>,
    ) -> Option<Self> {
        let rest_len = frame_len.saturating_sub(HEAD_LEN);
        let rest = if rest_len == 0 {
            None
        } else {
            let (chain, header_len) = chain()?;
            Some((chain, header_len + HEAD_LEN))
        };
        Some(Self {
            start,
            rest,
            rest_len,
        })
    }

    /// The start of the frame.
    #[inline]
    pub(super) fn head(&self) -> &'a [u8] {
        self.start.get(NET_HEADER_LEN..).unwrap_or_default()
    }

    /// All bytes, header included.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        // At most HEAD and a header.
        u32::try_from(self.start.len()).unwrap_or(u32::MAX) + self.rest_len
    }

    /// Copies all of it to the start of a chain; false: it has less room.
    #[inline]
    pub(super) fn copy_to(&self, room: &Segments<'_>) -> bool {
        if let Some((chain, from)) = self.rest {
            // The header last: its cache line is not needed while the payload streams through.
            let at = PREFIX_LEN + HEAD_LEN;
            if chain.copy_to(from, room, at, self.rest_len) != self.rest_len {
                return false;
            }
        }
        room.write_at(0, self.start) == self.start.len()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "244 and 12")]
const HEAD_LEN: u32 = HEAD as u32;
#[expect(clippy::cast_possible_truncation, reason = "244 and 12")]
const PREFIX_LEN: u32 = NET_HEADER_LEN as u32;
