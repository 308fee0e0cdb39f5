//! Private copies of how frames begin.
use super::{BURST, frame::HEAD};
use virtqueue::NET_HEADER_LEN;

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

    /// The header that was read into that room; what is beyond `header_len` is zero.
    #[inline]
    pub(super) fn header(&self, place: usize, header_len: usize) -> Option<[u8; NET_HEADER_LEN]> {
        let room: &[u8; NET_HEADER_LEN] = self.0.get(place)?.0.first_chunk()?;
        if header_len == NET_HEADER_LEN {
            return Some(*room);
        }
        let mut header = [0; NET_HEADER_LEN];
        let short = room.get(NET_HEADER_LEN.checked_sub(header_len)?..)?;
        header.get_mut(..header_len)?.copy_from_slice(short);
        Some(header)
    }

    /// The start of a frame.
    #[inline]
    pub(super) fn start(&self, place: usize, len: usize) -> &[u8] {
        let room = self.0.get(place);
        room.and_then(|Lines(room)| room.get(NET_HEADER_LEN..NET_HEADER_LEN + len))
            .unwrap_or_default()
    }

    /// Writes the header of a frame that asks for nothing, as receivers want it.
    #[inline]
    pub(super) fn make_plain(&mut self, place: usize) {
        let room = self.0.get_mut(place);
        if let Some(header) = room.and_then(|Lines(room)| room.first_chunk_mut()) {
            *header = PLAIN;
        }
    }

    /// Header and start of a frame, `len` bytes of it.
    #[inline]
    pub(super) fn packet(&self, place: usize, len: usize) -> Option<&[u8]> {
        self.0.get(place)?.0.get(..NET_HEADER_LEN + len)
    }
}
