//! A scatter list in guest memory: what a chain's buffers are to those who copy.
#![expect(
    unsafe_code,
    reason = "copies through host pointers that the burst's memory map keeps alive"
)]

use std::ptr::NonNull;

use crate::{
    MemoryMap,
    copy::{copy_from_guest, copy_guest_to_guest, copy_to_guest, prefetch, prefetch_for_write},
};

/// A piece of a buffer: contiguous host memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) host: NonNull<u8>,
    pub(crate) len: u32,
}

// SAFETY: it points into mappings that the burst's memory map keeps alive, and is only used for raw copies.
unsafe impl Send for Segment {}

impl Segment {
    /// No bytes, nowhere.
    pub(crate) const NONE: Self = Self {
        host: NonNull::dangling(),
        len: 0,
    };

    /// Begins to load the first bytes: enough for a virtio-net header and the headers of a frame. They come while other chains are
    /// being read.
    #[inline]
    pub(crate) fn prefetch(self, writable: bool) {
        if writable {
            prefetch_for_write(self.host, self.len);
        } else {
            prefetch(self.host, self.len);
        }
    }
}

/// A scatter list in guest memory, addressed by byte offset. No Rust reference points into the memory itself; the lifetime
/// is that of the burst, which keeps the memory mapped.
#[derive(Debug, Clone, Copy)]
pub struct Segments<'b> {
    pub(crate) list: &'b [Segment],
    pub(crate) len: u32,
    /// The map whose dirty log hears of writes.
    pub(crate) log: Option<&'b MemoryMap>,
}

impl<'b> Segments<'b> {
    /// All bytes from `offset` on, to be read one after the other.
    #[inline]
    pub fn cursor(&self, offset: u32) -> Cursor<'b> {
        let mut cursor = Cursor {
            list: self.list,
            at: 0,
        };
        cursor.skip(offset);
        cursor
    }

    /// Total bytes.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// No bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where `len` bytes from `offset` are, if they lie in the first segment: nearly always they do.
    #[inline]
    fn in_first(&self, offset: u32, len: usize) -> Option<NonNull<u8>> {
        let first = self.list.first()?;
        let behind = first.len.checked_sub(offset)?;
        if len > behind as usize {
            return None;
        }
        // SAFETY: `offset` is not beyond the end of the segment.
        Some(unsafe { first.host.add(offset as usize) })
    }

    /// Calls `visit` with each contiguous piece of `len` bytes from `offset`; returns the bytes covered.
    #[inline]
    fn pieces(&self, offset: u32, len: u32, mut visit: impl FnMut(NonNull<u8>, u32)) -> u32 {
        let mut skip = offset;
        let mut left = len;
        for segment in self.list {
            if left == 0 {
                break;
            }
            if skip >= segment.len {
                skip -= segment.len;
                continue;
            }
            let now = (segment.len - skip).min(left);
            // SAFETY: `skip < segment.len`, so the sum stays inside the segment.
            let host = unsafe { segment.host.add(skip as usize) };
            visit(host, now);
            skip = 0;
            left -= now;
        }
        len - left
    }

    /// Copies from `offset` into `dst`; returns bytes copied (less than asked only at the end).
    #[inline]
    pub fn read_at(&self, offset: u32, dst: &mut [u8]) -> usize {
        if let Some(host) = self.in_first(offset, dst.len()) {
            // SAFETY: so many bytes from there lie in a mapped segment.
            unsafe { copy_from_guest(host, dst) };
            return dst.len();
        }
        self.read_pieces(offset, dst)
    }

    #[cold]
    fn read_pieces(&self, offset: u32, dst: &mut [u8]) -> usize {
        let mut done = 0;
        let len = u32::try_from(dst.len()).unwrap_or(u32::MAX);
        self.pieces(offset, len, |host, n| {
            if let Some(part) = dst.get_mut(done..done + n as usize) {
                // SAFETY: the piece has `n` mapped bytes.
                unsafe { copy_from_guest(host, part) };
                done += n as usize;
            }
        });
        done
    }

    /// Copies `src` to `offset`; returns bytes copied (less than given only at the end).
    #[inline]
    pub fn write_at(&self, offset: u32, src: &[u8]) -> usize {
        if self.log.is_none()
            && let Some(host) = self.in_first(offset, src.len())
        {
            // SAFETY: so many bytes from there lie in a mapped segment.
            unsafe { copy_to_guest(src, host) };
            return src.len();
        }
        self.write_pieces(offset, src)
    }

    #[cold]
    fn write_pieces(&self, offset: u32, src: &[u8]) -> usize {
        let mut done = 0;
        let len = u32::try_from(src.len()).unwrap_or(u32::MAX);
        self.pieces(offset, len, |host, n| {
            if let Some(part) = src.get(done..done + n as usize) {
                // SAFETY: the piece has `n` mapped bytes.
                unsafe { copy_to_guest(part, host) };
                self.mark(host, n);
                done += n as usize;
            }
        });
        done
    }

    #[inline]
    fn mark(&self, host: NonNull<u8>, len: u32) {
        if let Some(map) = self.log {
            map.mark_host(host, len.into());
        }
    }

    /// Tells the dirty log, if there is one, that `len` bytes from `offset` were written through
    /// [`append_iovecs`](Self::append_iovecs).
    pub fn mark_written(&self, offset: u32, len: u32) {
        if self.log.is_some() {
            self.pieces(offset, len, |host, n| self.mark(host, n));
        }
    }

    /// Copies `len` bytes guest to guest: from `offset` here to `dst_offset` in `dst`. Returns bytes copied.
    #[inline]
    pub fn copy_to(&self, offset: u32, dst: &Segments<'_>, dst_offset: u32, len: u32) -> u32 {
        let bytes = len as usize;
        if dst.log.is_none()
            && let Some(from) = self.in_first(offset, bytes)
            && let Some(to) = dst.in_first(dst_offset, bytes)
        {
            // SAFETY: `len` bytes from both places lie in mapped segments.
            unsafe { copy_guest_to_guest(from, to, bytes) };
            return len;
        }
        self.cursor(offset).copy_to(dst, dst_offset, len)
    }

    /// Appends the host ranges of `len` bytes from `offset`, for `writev`/`readv`. The ranges are valid while the
    /// burst holds its memory map; who writes to them says so ([`mark_written`](Self::mark_written)). Returns the bytes covered.
    pub fn append_iovecs(&self, offset: u32, len: u32, out: &mut Vec<libc::iovec>) -> u32 {
        self.pieces(offset, len, |host, n| {
            out.push(libc::iovec {
                iov_base: host.as_ptr().cast(),
                iov_len: n as usize,
            });
        })
    }
}

/// A place in a scatter list that only ever goes on: who copies a long one piece by piece need not look for it each time.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'b> {
    list: &'b [Segment],
    /// Bytes of the first segment that are passed.
    at: u32,
}

impl Cursor<'_> {
    fn skip(&mut self, mut count: u32) {
        while count > 0
            && let Some((_, passed)) = self.next_piece(count)
        {
            count -= passed;
        }
    }

    /// The contiguous piece that comes next, of `most` bytes at most; `None`: that was all.
    #[inline]
    fn next_piece(&mut self, most: u32) -> Option<(NonNull<u8>, u32)> {
        let (first, rest) = self.list.split_first()?;
        // SAFETY: `at` is not beyond the end of the segment.
        let host = unsafe { first.host.add(self.at as usize) };
        let left = first.len - self.at;
        if most < left {
            self.at += most;
            return Some((host, most));
        }
        self.list = rest;
        self.at = 0;
        Some((host, left))
    }

    /// Copies the next `len` bytes guest to guest, to `offset` in `dst`. Returns bytes copied: less only where either ends.
    #[inline]
    pub fn copy_to(&mut self, dst: &Segments<'_>, offset: u32, len: u32) -> u32 {
        if dst.log.is_some() {
            return self.copy_to_pieces(dst, offset, len);
        }
        let Some(to) = dst.in_first(offset, len as usize) else {
            return self.copy_to_pieces(dst, offset, len);
        };
        let mut done = 0;
        while done < len
            && let Some((from, count)) = self.next_piece(len - done)
        {
            // SAFETY: `count` bytes at `from` are a piece of the list; `len` bytes at `to` lie in a mapped segment, and
            // `done + count <= len`.
            unsafe { copy_guest_to_guest(from, to.add(done as usize), count as usize) };
            done += count;
        }
        done
    }

    #[cold]
    fn copy_to_pieces(&mut self, dst: &Segments<'_>, offset: u32, len: u32) -> u32 {
        let mut done = 0;
        while done < len
            && let Some((mut from, count)) = self.next_piece(len - done)
        {
            let copied = dst.pieces(offset.saturating_add(done), count, |to, part| {
                // SAFETY: `part` bytes at `to` are a piece of `dst`; as many at `from` are left of the `count` there.
                unsafe { copy_guest_to_guest(from, to, part as usize) };
                dst.mark(to, part);
                // SAFETY: stays inside, or at the end of, the source piece.
                from = unsafe { from.add(part as usize) };
            });
            done += copied;
            if copied < count {
                break;
            }
        }
        done
    }
}
