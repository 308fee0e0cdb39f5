//! A burst of descriptor chains, popped at once, with private copies of every descriptor.
#![expect(
    unsafe_code,
    reason = "copies through host pointers that the burst's memory map keeps alive"
)]

use std::{ptr::NonNull, sync::Arc};

use crate::{
    MemoryMap,
    copy::{copy_from_guest, copy_guest_to_guest, copy_to_guest, prefetch, prefetch_for_write},
};

/// Segments after which a burst takes no further chain, so that its storage stays bounded.
pub(crate) const SEGMENTS_PER_BURST: usize = 2048;

/// A piece of a buffer: contiguous host memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) host: NonNull<u8>,
    pub(crate) len: u32,
}

/// What a completion names a chain by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    id: u16,
    slots: u16,
}

impl Head {
    pub(crate) fn new(id: u16, slots: u16) -> Self {
        Self { id, slots }
    }

    /// Index of the head descriptor; in a packed ring the buffer id.
    #[inline]
    pub fn id(self) -> u16 {
        self.id
    }

    /// Places of the ring that the chain takes: in a packed ring all descriptors outside of an indirect table.
    #[inline]
    pub(crate) fn slots(self) -> u16 {
        self.slots
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainMeta {
    pub(crate) head: Head,
    /// First segment in the burst's storage; the readable ones come first, then the writable ones.
    pub(crate) first: u32,
    pub(crate) readable: u32,
    pub(crate) writable: u32,
    pub(crate) readable_len: u32,
    pub(crate) writable_len: u32,
}

/// Reusable storage for up to [`Burst::MAX`] chains of one queue. Holds the memory map its segments point into until
/// [`Burst::release`]d.
#[derive(Debug, Default)]
pub struct Burst {
    mem: Option<Arc<MemoryMap>>,
    /// `mem` has a dirty log.
    logs: bool,
    pub(crate) segments: Vec<Segment>,
    pub(crate) chains: Vec<ChainMeta>,
}

// SAFETY: segments point into mappings that `mem` keeps alive, and are only used for raw copies.
unsafe impl Send for Burst {}

impl Burst {
    /// Chains in one burst at most.
    pub const MAX: usize = 64;

    /// An empty burst.
    pub fn new() -> Self {
        Self {
            mem: None,
            logs: false,
            segments: Vec::with_capacity(SEGMENTS_PER_BURST),
            chains: Vec::with_capacity(Self::MAX),
        }
    }

    /// Chains held.
    #[inline]
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// No chain held.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Chain `index`, oldest first.
    #[inline]
    pub fn chain(&self, index: usize) -> Option<Chain<'_>> {
        let meta = self.chains.get(index)?;
        let first = meta.first as usize;
        let middle = first + meta.readable as usize;
        Some(Chain {
            head: meta.head,
            readable: Segments {
                list: self.segments.get(first..middle)?,
                len: meta.readable_len,
                log: None,
            },
            writable: Segments {
                list: self.segments.get(middle..middle + meta.writable as usize)?,
                len: meta.writable_len,
                log: if self.logs { self.mem.as_deref() } else { None },
            },
        })
    }

    /// Begins to load the first bytes of the buffers of chain `from` and later ones: enough for a virtio-net header and the
    /// headers of a frame. They come while others are being worked on.
    #[inline]
    pub fn prefetch(&self, from: usize) {
        // A header of its own, and what follows it.
        const SEGMENTS: u32 = 2;
        for chain in self.chains.get(from..).unwrap_or_default() {
            let count = (chain.readable + chain.writable).min(SEGMENTS);
            let first = chain.first as usize;
            let segments = self.segments.get(first..first + count as usize);
            for segment in segments.unwrap_or_default() {
                if chain.readable == 0 {
                    prefetch_for_write(segment.host, segment.len);
                } else {
                    prefetch(segment.host, segment.len);
                }
            }
        }
    }

    /// What the chains are completed by, oldest first.
    #[inline]
    pub fn heads(&self) -> impl Iterator<Item = Head> + '_ {
        self.chains.iter().map(|meta| meta.head)
    }

    /// Forgets the chains, keeps storage and the memory map for the next burst.
    #[inline]
    pub fn clear(&mut self) {
        self.chains.clear();
        self.segments.clear();
    }

    /// Forgets all but the oldest `len` chains.
    pub(crate) fn truncate(&mut self, len: usize) {
        if let Some(first_gone) = self.chains.get(len) {
            self.segments.truncate(first_gone.first as usize);
            self.chains.truncate(len);
        }
    }

    /// Forgets the chains and lets go of the memory map (before a quiesce is acknowledged).
    pub fn release(&mut self) {
        self.clear();
        self.mem = None;
    }

    /// Takes hold of `mem`; false: the burst still holds chains of another map.
    #[inline]
    pub(crate) fn hold(&mut self, mem: &Arc<MemoryMap>) -> bool {
        if self.mem.as_ref().is_some_and(|held| Arc::ptr_eq(held, mem)) {
            return true;
        }
        if !self.is_empty() {
            return false;
        }
        self.logs = mem.logs();
        self.mem = Some(Arc::clone(mem));
        true
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.chains.len() >= Self::MAX || self.segments.len() >= SEGMENTS_PER_BURST
    }
}

/// One descriptor chain, validated.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'b> {
    head: Head,
    readable: Segments<'b>,
    writable: Segments<'b>,
}

impl<'b> Chain<'b> {
    /// What it is completed by ([`crate::DeviceQueue::complete`]).
    #[inline]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Device-readable part.
    #[inline]
    pub fn readable(&self) -> Segments<'b> {
        self.readable
    }

    /// Device-writable part.
    #[inline]
    pub fn writable(&self) -> Segments<'b> {
        self.writable
    }
}

/// A scatter list in guest memory, addressed by byte offset. No Rust reference points into the memory itself; the lifetime
/// is that of the burst, which keeps the memory mapped.
#[derive(Debug, Clone, Copy)]
pub struct Segments<'b> {
    list: &'b [Segment],
    len: u32,
    /// The map whose dirty log hears of writes.
    log: Option<&'b MemoryMap>,
}

impl Segments<'_> {
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
    fn in_first(&self, offset: u32, len: u32) -> Option<NonNull<u8>> {
        let first = self.list.first()?;
        if u64::from(offset) + u64::from(len) > u64::from(first.len) {
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
        let mut done = 0;
        let len = u32::try_from(dst.len()).unwrap_or(u32::MAX);
        if let Some(host) = self.in_first(offset, len)
            && len as usize == dst.len()
        {
            // SAFETY: `len` bytes from there lie in a mapped segment.
            unsafe { copy_from_guest(host, dst) };
            return dst.len();
        }
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
        let mut done = 0;
        let len = u32::try_from(src.len()).unwrap_or(u32::MAX);
        if let Some(host) = self.in_first(offset, len)
            && len as usize == src.len()
        {
            // SAFETY: `len` bytes from there lie in a mapped segment.
            unsafe { copy_to_guest(src, host) };
            self.mark(host, len);
            return src.len();
        }
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
        if let (Some(from), Some(to)) = (self.in_first(offset, len), dst.in_first(dst_offset, len))
        {
            // SAFETY: `len` bytes from both places lie in mapped segments.
            unsafe { copy_guest_to_guest(from, to, len as usize) };
            dst.mark(to, len);
            return len;
        }
        let mut done = 0;
        self.pieces(offset, len, |src, n| {
            let mut at = src;
            let at_dst = dst_offset.saturating_add(done);
            done += dst.pieces(at_dst, n, |to, m| {
                // SAFETY: `m` bytes at `to` are a piece of `dst`; `m` bytes at `at` remain of the piece of `n` at `src`.
                unsafe { copy_guest_to_guest(at, to, m as usize) };
                dst.mark(to, m);
                // SAFETY: stays inside, or at the end of, the source piece.
                at = unsafe { at.add(m as usize) };
            });
        });
        done
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
