//! A ring on the driver's side, with one buffer for each entry.

use std::{collections::VecDeque, sync::Arc};

use virtqueue::{DriverBuffer, DriverQueue, MemoryMap, QueueConfig};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::memory::{BUFFERS, Memory, RING_AREA};

/// Distance of two buffers, as that of a DPDK driver's mbufs: 2 KiB of room and what precedes it.
const USUAL_STRIDE: u64 = 2368;
const CACHE_LINE: u64 = 64;

/// A ring and its buffers, slot by slot.
#[derive(Debug)]
pub struct Ring {
    queue: DriverQueue,
    pub(crate) config: QueueConfig,
    pub(crate) kick: EventFd,
    pub(crate) call: EventFd,
    buffers: u64,
    stride: u64,
    /// Slots that nobody uses, the one that has rested longest first.
    free: VecDeque<u64>,
}

/// Distance of two buffers for frames of `room` bytes, header included: an odd number of cache lines, or the starts of all
/// buffers would meet in a few sets of the cache.
pub(crate) fn stride(room: u64) -> u64 {
    room.max(USUAL_STRIDE).next_multiple_of(CACHE_LINE) | CACHE_LINE
}

impl Ring {
    /// Ring `index` of a device.
    pub(crate) fn new(memory: &Memory, index: u16, size: u16, stride: u64) -> anyhow::Result<Self> {
        let (desc, avail, _) = DriverQueue::layout(size);
        let start = u64::from(index) * RING_AREA;
        let avail_at = start + desc as u64;
        let config = QueueConfig {
            size,
            desc: start,
            avail: avail_at,
            used: (avail_at + avail as u64).next_multiple_of(CACHE_LINE),
            ..QueueConfig::default()
        };
        let mut queue = DriverQueue::new(Arc::clone(memory.map()), &config)?;
        // We poll, as DPDK's drivers do.
        queue.suppress_calls();
        Ok(Self {
            queue,
            config,
            kick: EventFd::new(EFD_NONBLOCK)?,
            call: EventFd::new(EFD_NONBLOCK)?,
            buffers: BUFFERS + u64::from(index) * u64::from(size) * stride,
            stride,
            free: (0..u64::from(size)).collect(),
        })
    }

    /// Address of the buffer of `slot`; slots beyond the ring's size begin anew.
    #[inline]
    pub fn buffer(&self, slot: u64) -> u64 {
        // Sizes of split rings are powers of two.
        let slot = slot & (u64::from(self.config.size) - 1);
        self.buffers + slot * self.stride
    }

    /// All slots.
    pub(crate) fn slots(&self) -> std::ops::Range<u64> {
        0..u64::from(self.config.size)
    }

    /// The slot that [`Self::send`] would use.
    #[inline]
    pub(crate) fn next_slot(&self) -> Option<u64> {
        self.free.front().copied()
    }

    /// Adds `len` bytes of the next slot for the device to read; false: there is none.
    #[inline]
    pub(crate) fn send(&mut self, len: u32) -> bool {
        let Some(slot) = self.next_slot() else {
            return false;
        };
        let added = self.add(slot, len, false);
        if added {
            self.free.pop_front();
        }
        added
    }

    /// Gives all buffers to the device to write into.
    pub(crate) fn fill(&mut self) {
        while let Some(slot) = self.free.pop_front() {
            self.refill(slot);
        }
        self.publish();
    }

    /// Gives one buffer back to the device to write into.
    #[inline]
    pub(crate) fn refill(&mut self, slot: u64) {
        if !self.add(slot, u32::try_from(self.stride).unwrap_or(u32::MAX), true) {
            self.free.push_back(slot);
        }
    }

    /// Adds the buffer of `slot`, whoever uses it; false: the ring is full.
    #[inline]
    pub fn add(&mut self, slot: u64, len: u32, writable: bool) -> bool {
        let addr = self.buffer(slot);
        let buffer = DriverBuffer {
            addr,
            len,
            writable,
        };
        self.queue.add(&[buffer], slot)
    }

    /// Publishes what was added, with a kick if the back-end wants one.
    #[inline]
    pub fn publish(&mut self) {
        if self.queue.publish() {
            // A full counter is a kick that is still pending.
            let _ = self.kick.write(1);
        }
    }

    /// The next buffer that the back-end is done with: its slot and the bytes written.
    #[inline]
    pub fn done(&mut self) -> anyhow::Result<Option<(u64, u32)>> {
        Ok(self
            .queue
            .poll_used()?
            .map(|used| (used.token, used.written)))
    }

    /// Takes back what was sent; returns how many.
    #[inline]
    pub(crate) fn reclaim(&mut self) -> anyhow::Result<u64> {
        let mut count = 0;
        while let Some((slot, _)) = self.done()? {
            self.free.push_back(slot);
            count += 1;
        }
        Ok(count)
    }

    /// Buffers that the device has.
    pub(crate) fn is_drained(&self) -> bool {
        self.free.len() == usize::from(self.config.size)
    }

    /// Writes `bytes` into every buffer.
    pub(crate) fn write_all(&self, map: &MemoryMap, bytes: &[u8]) -> anyhow::Result<()> {
        for slot in self.slots() {
            let written = map.write(self.buffer(slot), bytes);
            anyhow::ensure!(written, "a buffer lies outside guest memory");
        }
        Ok(())
    }
}
