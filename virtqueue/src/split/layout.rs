//! The split ring in memory (virtio 1.2, 2.7): offsets, flags, and single accesses to shared words.
#![expect(
    unsafe_code,
    reason = "atomic and volatile access to rings shared with the guest"
)]

use std::{
    ptr::NonNull,
    sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering},
};

use crate::{
    MemoryMap, QueueConfig, QueueFault,
    area::{MAX_SIZE, area},
};

/// The buffer continues in `next`.
pub(in crate::split) const DESC_F_NEXT: u16 = 1;
/// The buffer is device-writable.
pub(in crate::split) const DESC_F_WRITE: u16 = 2;
/// The buffer is a table of descriptors.
pub(in crate::split) const DESC_F_INDIRECT: u16 = 4;
/// `avail.flags`: the driver wants no interrupts.
pub(in crate::split) const AVAIL_F_NO_INTERRUPT: u16 = 1;
/// `used.flags`: the device wants no kicks.
pub(in crate::split) const USED_F_NO_NOTIFY: u16 = 1;
/// Bytes of a descriptor.
pub(in crate::split) const DESC_SIZE: usize = 16;
/// Bytes of a used element.
const USED_SIZE: u32 = 8;
/// Used elements in a cache line.
const USED_PER_LINE: usize = 8;
/// Bytes of an avail entry.
const AVAIL_SIZE: u32 = 2;
/// Half of those in a cache line: wherever in a line the first one is.
const AVAIL_PER_HALF_LINE: usize = 16;
/// Bytes of a descriptor, as descriptors count them.
pub(in crate::split) const DESC_SIZE_U32: u32 = 16;

/// A private copy of one descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::split) struct Descriptor {
    pub(in crate::split) addr: u64,
    pub(in crate::split) len: u32,
    pub(in crate::split) flags: u16,
    pub(in crate::split) next: u16,
}

impl Descriptor {
    pub(in crate::split) fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn decode(low: u64, high: u64) -> Self {
        let bytes = high.to_ne_bytes();
        let [l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
        Self {
            addr: u64::from_le(low),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        }
    }

    /// Its two halves as memory has them.
    #[inline]
    fn words(self) -> (u64, u64) {
        let [l0, l1, l2, l3] = self.len.to_le_bytes();
        let [f0, f1] = self.flags.to_le_bytes();
        let [n0, n1] = self.next.to_le_bytes();
        let high = u64::from_ne_bytes([l0, l1, l2, l3, f0, f1, n0, n1]);
        (self.addr.to_le(), high)
    }

    pub(in crate::split) fn encode(self) -> [u8; DESC_SIZE] {
        let (low, high) = self.words();
        let mut bytes = [0; DESC_SIZE];
        bytes[..8].copy_from_slice(&low.to_ne_bytes());
        bytes[8..].copy_from_slice(&high.to_ne_bytes());
        bytes
    }
}

/// The three areas of one ring, resolved and checked once. Addresses stay valid while the memory map they came from lives: whoever
/// holds a `Ring` holds that map too.
#[derive(Debug, Clone, Copy)]
pub(in crate::split) struct Ring {
    pub(in crate::split) size: u16,
    desc: NonNull<u8>,
    avail: NonNull<u8>,
    used: NonNull<u8>,
}

// SAFETY: the pointers lead into shared mappings that are only touched through atomics, volatile reads and raw copies.
unsafe impl Send for Ring {}

impl Ring {
    pub(in crate::split) fn new(mem: &MemoryMap, config: &QueueConfig) -> Result<Self, QueueFault> {
        let size = config.size;
        if size == 0 || size > MAX_SIZE || !size.is_power_of_two() {
            return Err(QueueFault::Size(size));
        }
        let (desc, avail, used) = area_sizes(size);
        Ok(Self {
            size,
            desc: area(mem, config.desc, desc, 16)?,
            avail: area(mem, config.avail, avail, 2)?,
            used: area(mem, config.used, used, 4)?,
        })
    }

    #[inline]
    fn slot(self, index: u16) -> usize {
        usize::from(index & (self.size - 1))
    }

    #[inline]
    #[expect(
        clippy::unused_self,
        reason = "the borrow bounds the lifetime of the atomic"
    )]
    fn u16_at(&self, base: NonNull<u8>, offset: usize) -> &AtomicU16 {
        // SAFETY: every caller passes an offset inside the area that `new` checked, even, and the area is 2-byte aligned; an
        // atomic may be shared with other writers.
        unsafe { AtomicU16::from_ptr(base.as_ptr().add(offset).cast()) }
    }

    #[inline]
    #[expect(
        clippy::unused_self,
        reason = "the borrow bounds the lifetime of the atomic"
    )]
    fn u32_at(&self, base: NonNull<u8>, offset: usize) -> &AtomicU32 {
        // SAFETY: as above, with offsets that are multiples of 4 in the 4-byte aligned used area.
        unsafe { AtomicU32::from_ptr(base.as_ptr().add(offset).cast()) }
    }

    #[inline]
    #[expect(
        clippy::unused_self,
        reason = "the borrow bounds the lifetime of the atomic"
    )]
    fn u64_at(&self, base: NonNull<u8>, offset: usize) -> &AtomicU64 {
        // SAFETY: as above, with offsets that are multiples of 8 in the 16-byte aligned descriptor table.
        unsafe { AtomicU64::from_ptr(base.as_ptr().add(offset).cast()) }
    }

    /// `avail.flags`
    #[inline]
    pub(in crate::split) fn avail_flags(&self) -> &AtomicU16 {
        self.u16_at(self.avail, 0)
    }
    /// `avail.idx`
    #[inline]
    pub(in crate::split) fn avail_idx(&self) -> &AtomicU16 {
        self.u16_at(self.avail, 2)
    }
    /// `avail.ring[index mod size]`
    #[inline]
    pub(in crate::split) fn avail_slot(&self, index: u16) -> &AtomicU16 {
        self.u16_at(self.avail, 4 + 2 * self.slot(index))
    }
    /// `avail.used_event`
    #[inline]
    pub(in crate::split) fn used_event(&self) -> &AtomicU16 {
        self.u16_at(self.avail, 4 + 2 * usize::from(self.size))
    }
    /// `used.flags`
    #[inline]
    pub(in crate::split) fn used_flags(&self) -> &AtomicU16 {
        self.u16_at(self.used, 0)
    }
    /// `used.idx`
    #[inline]
    pub(in crate::split) fn used_idx(&self) -> &AtomicU16 {
        self.u16_at(self.used, 2)
    }
    /// `used.avail_event`
    #[inline]
    pub(in crate::split) fn avail_event(&self) -> &AtomicU16 {
        self.u16_at(self.used, 4 + 8 * usize::from(self.size))
    }

    /// Where the device writes, and how many bytes.
    pub(in crate::split) fn used_area(&self) -> (NonNull<u8>, u64) {
        (self.used, area_sizes(self.size).2 as u64)
    }

    /// Writes `used.ring[index mod size]`; visible to the driver once `used.idx` passes it.
    #[inline]
    pub(in crate::split) fn store_used(&self, index: u16, id: u32, len: u32) {
        let offset = 4 + 8 * self.slot(index);
        self.u32_at(self.used, offset)
            .store(id.to_le(), Ordering::Relaxed);
        self.u32_at(self.used, offset + 4)
            .store(len.to_le(), Ordering::Relaxed);
    }

    /// Begins to load the lines of `count` used elements from `index`, to be written.
    #[inline]
    pub(in crate::split) fn prefetch_used(&self, index: u16, count: u16) {
        for element in (0..count).step_by(USED_PER_LINE) {
            let offset = 4 + 8 * self.slot(index.wrapping_add(element));
            if let Some(place) = NonNull::new(self.used.as_ptr().wrapping_add(offset)) {
                crate::copy::prefetch_for_write(place, USED_SIZE);
            }
        }
    }

    /// Begins to load the line of an avail entry, to be read.
    #[inline]
    pub(in crate::split) fn prefetch_slot(&self, index: u16) {
        let offset = 4 + 2 * self.slot(index);
        if let Some(place) = NonNull::new(self.avail.as_ptr().wrapping_add(offset)) {
            crate::copy::prefetch(place, AVAIL_SIZE);
        }
    }

    /// Begins to load the lines of `count` avail entries from `index`, to be written.
    #[inline]
    pub(in crate::split) fn prefetch_avail(&self, index: u16, count: u16) {
        for entry in (0..count).step_by(AVAIL_PER_HALF_LINE) {
            let offset = 4 + 2 * self.slot(index.wrapping_add(entry));
            if let Some(place) = NonNull::new(self.avail.as_ptr().wrapping_add(offset)) {
                crate::copy::prefetch_for_write(place, AVAIL_SIZE);
            }
        }
    }

    /// Begins to load the descriptor that a used element names, to be written; any other number is masked.
    #[inline]
    pub(in crate::split) fn prefetch_descriptor(&self, id: u32) {
        let index = u16::try_from(id).unwrap_or(0);
        let offset = DESC_SIZE * self.slot(index);
        if let Some(place) = NonNull::new(self.desc.as_ptr().wrapping_add(offset)) {
            crate::copy::prefetch_for_write(place, DESC_SIZE_U32);
        }
    }

    /// Reads `used.ring[index mod size]`: id and length.
    #[inline]
    pub(in crate::split) fn load_used(&self, index: u16) -> (u32, u32) {
        let offset = 4 + 8 * self.slot(index);
        let id = self.u32_at(self.used, offset).load(Ordering::Relaxed);
        let len = self.u32_at(self.used, offset + 4).load(Ordering::Relaxed);
        (u32::from_le(id), u32::from_le(len))
    }

    /// The descriptor table as a table to walk.
    pub(in crate::split) fn table(&self) -> Table {
        Table {
            base: self.desc,
            len: self.size,
        }
    }

    /// Writes descriptor `index` (masked) of the table.
    #[inline]
    pub(in crate::split) fn store_descriptor(&self, index: u16, descriptor: Descriptor) {
        let (low, high) = descriptor.words();
        let offset = DESC_SIZE * self.slot(index);
        self.u64_at(self.desc, offset).store(low, Ordering::Relaxed);
        self.u64_at(self.desc, offset + 8)
            .store(high, Ordering::Relaxed);
    }
}

/// A table of descriptors in guest memory: a ring's own or an indirect one.
#[derive(Debug, Clone, Copy)]
pub(in crate::split) struct Table {
    base: NonNull<u8>,
    len: u16,
}

impl Table {
    /// An indirect table of `len` descriptors, which must lie within one region.
    pub(in crate::split) fn indirect(mem: &MemoryMap, addr: u64, len: u16) -> Option<Self> {
        let base = mem.contiguous(addr, u64::from(len) * DESC_SIZE as u64)?;
        Some(Self { base, len })
    }

    #[inline]
    pub(in crate::split) fn len(self) -> u16 {
        self.len
    }

    /// Begins to load descriptor `index`, if there is one.
    #[inline]
    pub(in crate::split) fn prefetch(self, index: u16) {
        if index < self.len {
            let place = self
                .base
                .as_ptr()
                .wrapping_add(DESC_SIZE * usize::from(index));
            if let Some(place) = NonNull::new(place) {
                crate::copy::prefetch(place, DESC_SIZE_U32);
            }
        }
    }

    /// One read of descriptor `index` into private memory; `None` beyond the table.
    #[inline]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "alignment is looked at before it is relied on"
    )]
    pub(in crate::split) fn load(self, index: u16) -> Option<Descriptor> {
        if index >= self.len {
            return None;
        }
        // SAFETY: `index` is inside the table, whose whole length was checked when it was made.
        let place = unsafe { self.base.add(DESC_SIZE * usize::from(index)) }
            .as_ptr()
            .cast::<u64>();
        if place.is_aligned() {
            // SAFETY: aligned and inside the table; volatile, so that the compiler reads it exactly once.
            let low = unsafe { place.read_volatile() };
            // SAFETY: the second half of the same 16 bytes.
            let high = unsafe { place.add(1).read_volatile() };
            return Some(Descriptor::decode(low, high));
        }
        // Nothing in the specification aligns an indirect table.
        let mut bytes = [0u8; DESC_SIZE];
        for (offset, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: inside the table; bytes have no alignment.
            *byte = unsafe { place.cast::<u8>().add(offset).read_volatile() };
        }
        let [a, b] = [0, 8].map(|at| {
            let mut half = [0; 8];
            half.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(half)
        });
        Some(Descriptor::decode(a, b))
    }
}

/// Bytes of the descriptor, avail and used areas of `size` entries, event indices included (2.7).
pub(crate) fn area_sizes(size: u16) -> (usize, usize, usize) {
    let n = usize::from(size);
    (DESC_SIZE * n, 6 + 2 * n, 6 + 8 * n)
}
