//! The packed ring in memory (virtio 1.2, 2.8): flags, and single accesses to shared words.
#![expect(unsafe_code, reason = "atomic access to rings shared with the guest")]

use std::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::cursor::Cursor;
use crate::{
    MemoryMap, QueueConfig, QueueFault,
    area::{MAX_SIZE, area},
    copy::{prefetch, prefetch_for_write},
};

/// VIRTQ_DESC_F_NEXT: the chain continues in the next descriptor of the ring.
pub(super) const DESC_F_NEXT: u16 = 1;
/// VIRTQ_DESC_F_WRITE: the buffer is device-writable; in a used descriptor: was written to.
pub(super) const DESC_F_WRITE: u16 = 2;
/// VIRTQ_DESC_F_INDIRECT: the buffer is a table of descriptors.
pub(super) const DESC_F_INDIRECT: u16 = 4;
/// VIRTQ_DESC_F_AVAIL (2.8.1)
const DESC_F_AVAIL: u16 = 1 << 7;
/// VIRTQ_DESC_F_USED
const DESC_F_USED: u16 = 1 << 15;
const LAP_FLAGS: u16 = DESC_F_AVAIL | DESC_F_USED;

/// Bytes of a descriptor.
pub(super) const DESC_SIZE: usize = 16;
/// The same, as descriptors count bytes.
pub(super) const DESC_SIZE_U32: u32 = 16;
/// Descriptors of a cache line.
pub(super) const LINE: u16 = 4;
/// Bytes of an event suppression area (2.8.10).
const EVENT_SIZE: usize = 4;

/// The second half of a descriptor: what a side writes last, and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Word {
    pub(super) len: u32,
    /// Buffer ID
    pub(super) id: u16,
    pub(super) flags: u16,
}

impl Word {
    #[inline]
    fn decode(bits: u64) -> Self {
        let [l0, l1, l2, l3, i0, i1, f0, f1] = bits.to_ne_bytes();
        Self {
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            id: u16::from_le_bytes([i0, i1]),
            flags: u16::from_le_bytes([f0, f1]),
        }
    }

    #[inline]
    pub(super) fn encode(self) -> u64 {
        let bits = u64::from(self.len) | u64::from(self.id) << 32 | u64::from(self.flags) << 48;
        bits.to_le()
    }

    #[inline]
    pub(super) fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The driver has made it available in the lap of `wrap`.
    #[inline]
    pub(super) fn is_available(self, wrap: bool) -> bool {
        self.flags & LAP_FLAGS == if wrap { DESC_F_AVAIL } else { DESC_F_USED }
    }

    /// The device has used it in the lap of `wrap`.
    #[inline]
    pub(super) fn is_used(self, wrap: bool) -> bool {
        self.flags & LAP_FLAGS == if wrap { LAP_FLAGS } else { 0 }
    }

    /// The lap in which it was made available last; in a ring of zeros the one before the first.
    #[inline]
    pub(super) fn lap(self) -> bool {
        self.has(DESC_F_AVAIL)
    }

    /// What marks it available in the lap of `wrap`.
    #[inline]
    pub(super) fn available_flags(wrap: bool) -> u16 {
        if wrap { DESC_F_AVAIL } else { DESC_F_USED }
    }

    /// What marks it used in the lap of `wrap`.
    #[inline]
    pub(super) fn used_flags(wrap: bool) -> u16 {
        if wrap { LAP_FLAGS } else { 0 }
    }
}

/// What a side wants to hear (2.8.10, `struct pvirtq_event_suppress`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// RING_EVENT_FLAGS_ENABLE, and the reserved value: of everything.
    Enable,
    /// RING_EVENT_FLAGS_DISABLE: of nothing.
    Disable,
    /// RING_EVENT_FLAGS_DESC: once this descriptor is passed.
    Desc(Cursor),
}

impl Event {
    const DISABLE: u16 = 1;
    const DESC: u16 = 2;

    fn decode(bits: u32) -> Self {
        let [d0, d1, f0, f1] = bits.to_ne_bytes();
        match u16::from_le_bytes([f0, f1]) & 3 {
            Self::DISABLE => Self::Disable,
            Self::DESC => Self::Desc(Cursor::decode(u16::from_le_bytes([d0, d1]))),
            _ => Self::Enable,
        }
    }

    fn encode(self) -> u32 {
        let (desc, flags) = match self {
            Self::Enable => (0, 0),
            Self::Disable => (0, Self::DISABLE),
            Self::Desc(cursor) => (cursor.encode(), Self::DESC),
        };
        (u32::from(desc) | u32::from(flags) << 16).to_le()
    }

    /// Whether who wants this must be told of `slots` descriptors before `now`.
    #[inline]
    pub(super) fn is_due(self, now: Cursor, slots: u16, size: u16) -> bool {
        match self {
            Self::Enable => true,
            Self::Disable => false,
            Self::Desc(_) if slots >= size => true,
            Self::Desc(event) => {
                // All counted in the lap of `now`: what the other side names in the lap before is that much further back.
                let place = if event.wrap() == now.wrap() {
                    event.index()
                } else {
                    event.index().wrapping_sub(size)
                };
                let old = now.index().wrapping_sub(slots);
                crate::area::need_event(place, now.index(), old)
            }
        }
    }
}

/// The three areas of one ring, resolved and checked once. Addresses stay valid while the memory map they came from lives: whoever
/// holds a `Ring` holds that map too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ring {
    pub(super) size: u16,
    desc: NonNull<u8>,
    driver: NonNull<u8>,
    device: NonNull<u8>,
}

// SAFETY: the pointers lead into shared mappings that are only touched through atomics and raw copies.
unsafe impl Send for Ring {}

impl Ring {
    pub(super) fn new(mem: &MemoryMap, config: &QueueConfig) -> Result<Self, QueueFault> {
        let size = config.size;
        if size == 0 || size > MAX_SIZE {
            return Err(QueueFault::Size(size));
        }
        let (desc, driver, device) = area_sizes(size);
        Ok(Self {
            size,
            desc: area(mem, config.desc, desc, 16)?,
            driver: area(mem, config.avail, driver, 4)?,
            device: area(mem, config.used, device, 4)?,
        })
    }

    /// A place that the peer or its front-end names, if the ring has it.
    pub(super) fn cursor(&self, bits: u16) -> Result<Cursor, QueueFault> {
        let cursor = Cursor::decode(bits);
        if cursor.index() < self.size {
            Ok(cursor)
        } else {
            Err(QueueFault::Position(bits))
        }
    }

    /// Half `half` of descriptor `index`, which is below the size: every cursor is.
    #[inline]
    fn half(&self, index: u16, half: usize) -> &AtomicU64 {
        debug_assert!(index < self.size, "a cursor beyond the ring");
        let offset = DESC_SIZE * usize::from(index) + 8 * half;
        // SAFETY: `index` is below the size that `new` checked the area for, 16-byte aligned; an atomic may be shared with
        // other writers.
        unsafe { AtomicU64::from_ptr(self.desc.as_ptr().add(offset).cast()) }
    }

    /// Element Address of descriptor `index`.
    #[inline]
    pub(super) fn load_addr(&self, index: u16) -> u64 {
        u64::from_le(self.half(index, 0).load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn store_addr(&self, index: u16, addr: u64) {
        self.half(index, 0).store(addr.to_le(), Ordering::Relaxed);
    }

    /// The rest of descriptor `index`, with acquire: what it announces is read after it.
    #[inline]
    pub(super) fn load(&self, index: u16) -> Word {
        Word::decode(self.half(index, 1).load(Ordering::Acquire))
    }

    /// Writes it; `Release` for the word that the other side waits for.
    #[inline]
    pub(super) fn store(&self, index: u16, word: Word, order: Ordering) {
        self.half(index, 1).store(word.encode(), order);
    }

    /// Writes both halves of descriptor `index` with one instruction, with release: a device that is killed has written all of
    /// it or nothing.
    #[inline]
    pub(super) fn store_whole(&self, index: u16, addr: u64, word: Word) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            use std::arch::x86_64::_mm_set_epi64x;
            debug_assert!(index < self.size, "a cursor beyond the ring");
            let (low, high) = (addr.to_le().cast_signed(), word.encode().cast_signed());
            // SAFETY: SSE2 is part of x86-64.
            let value = unsafe { _mm_set_epi64x(high, low) };
            // SAFETY: as in `half`: a descriptor of the ring, 16-byte aligned. Nothing before is moved behind: the compiler has
            // to assume that the instruction reads memory, and the CPU keeps stores in order.
            unsafe {
                std::arch::asm!(
                    "movdqa [{place}], {value}",
                    place = in(reg) self.place(index).as_ptr(),
                    value = in(xmm_reg) value,
                    options(nostack, preserves_flags)
                );
            }
        }
        #[cfg(any(not(target_arch = "x86_64"), miri))]
        {
            self.store_addr(index, addr);
            self.store(index, word, Ordering::Release);
        }
    }

    #[inline]
    fn place(&self, index: u16) -> NonNull<u8> {
        // SAFETY: as in `half`.
        unsafe { self.desc.add(DESC_SIZE * usize::from(index)) }
    }

    /// Begins to load `count` descriptors from `cursor` on, or as many as the ring has, to be written.
    #[inline]
    pub(super) fn prefetch_for_write(&self, cursor: Cursor, count: u16) {
        for ahead in (0..count.min(self.size)).step_by(LINE.into()) {
            let index = cursor.after(ahead, self.size).index();
            prefetch_for_write(self.place(index), 1);
        }
    }

    /// Where `count` descriptors from `cursor` are, and how many bytes: one range, or two around the end.
    pub(super) fn ranges(&self, cursor: Cursor, count: u16) -> [(NonNull<u8>, u64); 2] {
        let here = count.min(self.size - cursor.index());
        let bytes = |count: u16| u64::from(count) * u64::from(DESC_SIZE_U32);
        [
            (self.place(cursor.index()), bytes(here)),
            (self.desc, bytes(count - here)),
        ]
    }

    #[inline]
    #[expect(
        clippy::unused_self,
        reason = "the borrow bounds the lifetime of the atomic"
    )]
    fn event(&self, area: NonNull<u8>) -> &AtomicU32 {
        // SAFETY: both areas have the 4 bytes of the structure, aligned; an atomic may be shared with other writers.
        unsafe { AtomicU32::from_ptr(area.as_ptr().cast()) }
    }

    /// What the driver wants to hear: Driver Event Suppression.
    #[inline]
    pub(super) fn driver_event(&self) -> Event {
        Event::decode(self.event(self.driver).load(Ordering::Relaxed))
    }

    pub(super) fn set_driver_event(&self, event: Event) {
        // Both fields at once, so nobody sees one of them alone.
        self.event(self.driver)
            .store(event.encode(), Ordering::Relaxed);
    }

    /// What the device wants to hear: Device Event Suppression.
    #[inline]
    pub(super) fn device_event(&self) -> Event {
        Event::decode(self.event(self.device).load(Ordering::Relaxed))
    }

    pub(super) fn set_device_event(&self, event: Event) {
        self.event(self.device)
            .store(event.encode(), Ordering::Relaxed);
    }

    /// Where the device's area is, and how many bytes.
    pub(super) fn device_area(&self) -> (NonNull<u8>, u64) {
        (self.device, EVENT_SIZE as u64)
    }
}

/// An indirect table in guest memory (2.8.7): all of its entries are one chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    base: NonNull<u8>,
    len: u16,
}

impl Table {
    /// A table of `len` descriptors, which must lie within one region.
    pub(super) fn new(mem: &MemoryMap, addr: u64, len: u16) -> Option<Self> {
        let base = mem.contiguous(addr, u64::from(len) * DESC_SIZE as u64)?;
        prefetch(base, u32::from(len) * DESC_SIZE_U32);
        Some(Self { base, len })
    }

    /// Its descriptors, each read once: address and the rest.
    pub(super) fn entries(self) -> impl Iterator<Item = (u64, Word)> {
        (0..self.len).map(move |index| {
            let mut bytes = [0; DESC_SIZE];
            // SAFETY: `index` is inside the table, whose whole length was checked when it was made.
            let place = unsafe { self.base.add(DESC_SIZE * usize::from(index)) };
            // Nothing in the specification aligns an indirect table, and a copy needs no alignment.
            // SAFETY: 16 mapped bytes; what a guest changes meanwhile is read as some mixture, once.
            unsafe { crate::copy::copy_from_guest(place, &mut bytes) };
            let [a, b] = [0, 8].map(|at| {
                let mut half = [0; 8];
                half.copy_from_slice(&bytes[at..at + 8]);
                u64::from_ne_bytes(half)
            });
            (u64::from_le(a), Word::decode(b))
        })
    }
}

/// Bytes of the descriptor ring and of the driver's and the device's event suppression areas (2.8.10).
pub(crate) fn area_sizes(size: u16) -> (usize, usize, usize) {
    (DESC_SIZE * usize::from(size), EVENT_SIZE, EVENT_SIZE)
}
