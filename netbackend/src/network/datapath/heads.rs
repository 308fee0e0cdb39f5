//! Private copies of how frames begin.
use super::{BURST, frame::HEAD};
use virtqueue::{NET_HEADER_LEN, NetHeader, Segments};

/// The header of a frame in one buffer that asks for nothing (virtio 1.2, 5.1.6.3.2: `num_buffers` is 1).
const PLAIN: [u8; NET_HEADER_LEN] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// Private copies of the starts of a burst's frames, each behind the virtio-net header that came with it: both are read at
/// once.
#[derive(Debug)]
pub(super) struct Heads(Box<[Lines]>);

/// In whole cache lines, so that they are copied in place.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Lines([u8; NET_HEADER_LEN + HEAD]);

/// What the header of a frame asks for.
#[derive(Debug)]
pub(super) enum Asked {
    Nothing,
    /// What this says; what is beyond its length is zero.
    For([u8; NET_HEADER_LEN]),
}

impl Heads {
    pub(super) fn new() -> Self {
        Self(vec![Lines([0; NET_HEADER_LEN + HEAD]); BURST].into_boxed_slice())
    }

    /// Room for the first bytes of the packet at `place`: a header of `header_len` bytes, and the start of a frame of `len`.
    #[inline]
    pub(super) fn room(&mut self, place: usize, header_len: usize, len: u32) -> Option<&mut [u8]> {
        let len = usize::try_from(len).ok()?.min(HEAD);
        let Lines(room) = self.0.get_mut(place)?;
        room.get_mut(NET_HEADER_LEN.checked_sub(header_len)?..NET_HEADER_LEN + len)
    }

    /// Reads header and start of a packet at `place`, once: `header_len` bytes and `len` of the frame. `None`: there is less.
    #[inline]
    pub(super) fn read(
        &mut self,
        place: usize,
        packet: &Segments<'_>,
        (header_len, len): (usize, u32),
    ) -> Option<Asked> {
        let len = usize::try_from(len).ok()?.min(HEAD);
        let Lines(lines) = self.0.get_mut(place)?;
        let before = NET_HEADER_LEN.checked_sub(header_len)?;
        let room = lines.get_mut(before..NET_HEADER_LEN + len)?;
        if packet.read_at(0, room) != room.len() {
            return None;
        }
        let kept: &mut [u8; NET_HEADER_LEN] = lines.first_chunk_mut()?;
        let mut header = *kept;
        if before > 0 {
            header.rotate_left(before);
            header.get_mut(header_len..)?.fill(0);
        }
        if NetHeader::is_plain(&header) {
            // Nearly always: kept as receivers want it.
            *kept = PLAIN;
            return Some(Asked::Nothing);
        }
        Some(Asked::For(header))
    }

    /// The start of a frame.
    #[inline]
    pub(super) fn start(&self, place: usize, len: usize) -> &[u8] {
        let room = self.0.get(place);
        room.and_then(|Lines(room)| room.get(NET_HEADER_LEN..NET_HEADER_LEN + len))
            .unwrap_or_default()
    }

    /// Header and start of a frame, `len` bytes of it.
    #[inline]
    pub(super) fn packet(&self, place: usize, len: usize) -> Option<&[u8]> {
        self.0.get(place)?.0.get(..NET_HEADER_LEN + len)
    }
}
