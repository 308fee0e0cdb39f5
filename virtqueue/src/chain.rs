//! The buffers of one descriptor chain on their way into a burst: what both ring formats ask of them.

use crate::{
    Burst, Head, MemoryMap, QueueFault, burst::ChainMeta, memory::Window, segments::Segment,
};

/// Descriptors in an indirect table at most, for queues smaller than this: QEMU's and Linux' own limit.
const INDIRECT_MAX: u16 = 1024;

/// Appends the commonest chain: one buffer, not empty, in one region. All of it in registers, and stored once. False: it is another
/// kind.
#[inline]
pub(crate) fn append_single(
    mem: &MemoryMap,
    window: &mut Window,
    burst: &mut Burst,
    head: Head,
    (addr, len, writable): (u64, u32, bool),
) -> bool {
    let Some(host) = window.find(mem, addr, len) else {
        return false;
    };
    let only = Segment { host, len };
    only.prefetch(writable);
    let (readable_len, writable_len) = if writable { (0, len) } else { (len, 0) };
    burst.chains.push(ChainMeta {
        head,
        only,
        first: 0,
        pieces: 1,
        readable: u32::from(!writable),
        readable_len,
        writable_len,
    });
    true
}

/// Appends the chain that `walk` goes through; it says by which head the chain is completed. On a fault the burst is as before.
pub(crate) fn append_chain(
    mem: &MemoryMap,
    burst: &mut Burst,
    walk: impl FnOnce(&mut ChainBuilder<'_>) -> Result<Head, QueueFault>,
) -> Result<Head, QueueFault> {
    // Far fewer than fit: a burst takes no chain beyond its 2048 segments, and no chain has more than its tables' entries.
    let first = burst.segments.len();
    let mut builder = ChainBuilder {
        mem,
        window: Window::NONE,
        segments: &mut burst.segments,
        meta: ChainMeta {
            head: Head::default(),
            only: Segment::NONE,
            first: u32::try_from(first).unwrap_or(u32::MAX),
            pieces: 0,
            readable: 0,
            readable_len: 0,
            writable_len: 0,
        },
        saw_writable: false,
    };
    match walk(&mut builder) {
        Ok(head) => {
            let mut meta = ChainMeta {
                head,
                ..builder.meta
            };
            prefetch(burst.segments.get(first..).unwrap_or_default(), &meta);
            if meta.pieces == 1 {
                meta.only = burst.segments.pop().unwrap_or(Segment::NONE);
            }
            burst.chains.push(meta);
            Ok(head)
        }
        Err(fault) => {
            burst.segments.truncate(first);
            Err(fault)
        }
    }
}

/// Begins to load what a frame starts with: often a header of its own, and what follows it.
fn prefetch(segments: &[Segment], meta: &ChainMeta) {
    for segment in segments.iter().take(2) {
        segment.prefetch(meta.readable == 0);
    }
}

/// A chain that is being read.
pub(crate) struct ChainBuilder<'a> {
    mem: &'a MemoryMap,
    /// Where the buffer before was.
    window: Window,
    segments: &'a mut Vec<Segment>,
    meta: ChainMeta,
    /// A writable buffer was met, even an empty one.
    saw_writable: bool,
}

impl ChainBuilder<'_> {
    /// The next buffer.
    #[inline]
    pub(crate) fn buffer(&mut self, addr: u64, len: u32, writable: bool) -> Result<(), QueueFault> {
        if !writable && self.saw_writable {
            return Err(QueueFault::Order);
        }
        let meta = &self.meta;
        if meta
            .readable_len
            .checked_add(meta.writable_len)
            .and_then(|sum| sum.checked_add(len))
            .is_none()
        {
            return Err(QueueFault::ChainLength);
        }
        let added = if let Some(host) = self.window.find(self.mem, addr, len) {
            self.segments.push(Segment { host, len });
            1
        } else {
            append_pieces(self.mem, self.segments, addr, len)?
        };
        let meta = &mut self.meta;
        meta.pieces += added;
        if writable {
            meta.writable_len += len;
            self.saw_writable = true;
        } else {
            meta.readable += added;
            meta.readable_len += len;
        }
        Ok(())
    }
}

/// Appends the pieces of a buffer that spans adjacent regions; returns how many. Nothing forbids empty buffers: they add none.
#[cold]
fn append_pieces(
    mem: &MemoryMap,
    segments: &mut Vec<Segment>,
    addr: u64,
    len: u32,
) -> Result<u32, QueueFault> {
    let unmapped = QueueFault::BufferUnmapped(addr);
    let (mut at, mut left, mut added) = (addr, u64::from(len), 0);
    while left > 0 {
        let (host, covered) = mem.span(at, left).ok_or(unmapped)?;
        let len = u32::try_from(covered).map_err(|_| unmapped)?;
        segments.push(Segment { host, len });
        left -= covered;
        at = at.wrapping_add(covered);
        added += 1;
    }
    Ok(added)
}

/// Entries of an indirect table of `len` bytes for a queue of `size` entries.
pub(crate) fn indirect_entries(len: u32, size: u16, entry: u32) -> Result<u16, QueueFault> {
    let bad_length = QueueFault::IndirectLength(len);
    let count = len / entry;
    if count == 0 || !len.is_multiple_of(entry) {
        return Err(bad_length);
    }
    let count = u16::try_from(count).map_err(|_| bad_length)?;
    if count > size.max(INDIRECT_MAX) {
        return Err(bad_length);
    }
    Ok(count)
}
