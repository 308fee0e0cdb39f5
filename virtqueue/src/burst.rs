//! A burst of descriptor chains, popped at once, with private copies of every descriptor.
use std::marker::PhantomData;

/// Reusable storage for up to [`Burst::MAX`] chains of one queue. Holds the memory map its segments point into until
/// [`Burst::release`]d.
#[derive(Debug, Default)]
pub struct Burst {}

impl Burst {
    /// Chains in one burst at most.
    pub const MAX: usize = 64;
    /// An empty burst.
    pub fn new() -> Self {
        todo!()
    }
    /// Chains held.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// No chain held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Chain `index`, oldest first.
    pub fn chain(&self, _index: usize) -> Option<Chain<'_>> {
        todo!()
    }
    /// Forgets the chains, keeps storage and the memory map for the next burst.
    pub fn clear(&mut self) {
        todo!()
    }
    /// Forgets the chains and lets go of the memory map (before a quiesce is acknowledged).
    pub fn release(&mut self) {
        todo!()
    }
}

/// One descriptor chain, validated.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'b> {
    _m: PhantomData<&'b ()>,
}

impl<'b> Chain<'b> {
    /// Head descriptor index, as [`crate::DeviceQueue::complete`] takes it.
    pub fn head(&self) -> u16 {
        todo!()
    }
    /// Device-readable part.
    pub fn readable(&self) -> Segments<'b> {
        todo!()
    }
    /// Device-writable part.
    pub fn writable(&self) -> Segments<'b> {
        todo!()
    }
}

/// A scatter list in guest memory, addressed by byte offset. Copy type; no Rust reference points into the memory.
#[derive(Debug, Clone, Copy)]
pub struct Segments<'b> {
    _m: PhantomData<&'b ()>,
}

impl Segments<'_> {
    /// Total bytes.
    pub fn len(&self) -> u32 {
        todo!()
    }
    /// No bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Copies from `offset` into `dst`; returns bytes copied (less than asked only at the end).
    pub fn read_at(&self, _offset: u32, _dst: &mut [u8]) -> usize {
        todo!()
    }
    /// Copies `src` to `offset`; returns bytes copied (less than given only at the end).
    pub fn write_at(&self, _offset: u32, _src: &[u8]) -> usize {
        todo!()
    }
    /// Copies `len` bytes guest to guest: from `offset` here to `dst_offset` in `dst`. Returns bytes copied.
    pub fn copy_to(&self, _offset: u32, _dst: &Segments<'_>, _dst_offset: u32, _len: u32) -> u32 {
        todo!()
    }
    /// Appends the host ranges of `len` bytes from `offset`, for `writev`/`readv`. The ranges are valid while the
    /// burst holds its memory map. Returns the bytes covered.
    pub fn append_iovecs(&self, _offset: u32, _len: u32, _out: &mut Vec<libc::iovec>) -> u32 {
        todo!()
    }
}
