//! A ring on the driver's side, with one buffer for each entry.

use std::{collections::VecDeque, os::fd::AsRawFd, sync::Arc, time::Duration};

use anyhow::ensure;
use virtqueue::{DriverBuffer, DriverQueue, MemoryMap, QueueConfig, RingFeatures, RingPosition};
use vmm_sys_util::{
    epoll::{ControlOperation, Epoll, EpollEvent, EventSet},
    eventfd::{EFD_NONBLOCK, EventFd},
};

use crate::memory::{BUFFERS, Memory, RING_AREA};

/// Distance of two buffers, as that of a DPDK driver's mbufs: 2 KiB of room and what precedes it.
const USUAL_STRIDE: u64 = 2368;
const CACHE_LINE: u64 = 64;
/// Bytes of a buffer when a frame may take several: what a driver with mergeable buffers posts.
const MERGEABLE_ROOM: u32 = 2048;

/// A ring and its buffers, slot by slot.
#[derive(Debug)]
pub struct Ring {
    queue: DriverQueue,
    pub(crate) config: QueueConfig,
    pub(crate) kick: EventFd,
    pub(crate) call: EventFd,
    buffers: u64,
    shape: Shape,
    /// A chain being built.
    chain: Vec<DriverBuffer>,
    /// Slots that nobody uses, the one that has rested longest first.
    free: VecDeque<u64>,
    /// Made by the first that sleeps.
    sleeper: Option<Epoll>,
}

/// How frames lie in buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Distance of two buffers.
    stride: u64,
    /// Bytes of a buffer.
    room: u32,
    /// Buffers of one frame that is sent: a slot is as many.
    pieces: u16,
}

impl Shape {
    /// Frames of up to `frame` bytes, header included, in one buffer each.
    pub(crate) fn whole(frame: u64) -> Self {
        let stride = stride(frame);
        Self {
            stride,
            room: u32::try_from(stride).unwrap_or(u32::MAX),
            pieces: 1,
        }
    }

    /// The same in as many buffers of 2 KiB as it takes.
    pub(crate) fn in_pieces(frame: u64) -> Self {
        Self {
            stride: stride(MERGEABLE_ROOM.into()),
            room: MERGEABLE_ROOM,
            pieces: u16::try_from(frame.div_ceil(MERGEABLE_ROOM.into())).unwrap_or(u16::MAX),
        }
    }

    /// Bytes that `size` buffers take.
    pub(crate) fn extent(self, size: u16) -> u64 {
        u64::from(size) * self.stride
    }
}

/// Distance of two buffers for frames of `room` bytes, header included: an odd number of cache lines, or the starts of all
/// buffers would meet in a few sets of the cache.
fn stride(room: u64) -> u64 {
    room.max(USUAL_STRIDE).next_multiple_of(CACHE_LINE) | CACHE_LINE
}

impl Ring {
    /// Ring `index` of a device.
    pub(crate) fn new(
        memory: &Memory,
        index: u16,
        size: u16,
        shape: Shape,
        packed: bool,
    ) -> anyhow::Result<Self> {
        ensure!(size.is_power_of_two(), "a ring of {size} entries");
        let (desc, avail, _) = if packed {
            DriverQueue::packed_layout(size)
        } else {
            DriverQueue::layout(size)
        };
        // Of what a packed ring has in addition, order is the one that costs nothing and gains something.
        let features = RingFeatures {
            in_order: packed,
            packed,
            ..RingFeatures::default()
        };
        let start = u64::from(index) * RING_AREA;
        let avail_at = start + desc as u64;
        let config = QueueConfig {
            size,
            desc: start,
            avail: avail_at,
            used: (avail_at + avail as u64).next_multiple_of(CACHE_LINE),
            features,
            position: RingPosition::start(features),
        };
        let mut queue = DriverQueue::new(Arc::clone(memory.map()), &config)?;
        // We poll, as DPDK's drivers do.
        queue.suppress_calls();
        Ok(Self {
            queue,
            config,
            kick: EventFd::new(EFD_NONBLOCK)?,
            call: EventFd::new(EFD_NONBLOCK)?,
            buffers: BUFFERS + u64::from(index) * shape.extent(size),
            shape,
            chain: Vec::with_capacity(shape.pieces.into()),
            free: (0..slots(size, shape)).collect(),
            sleeper: None,
        })
    }

    /// Address of the first buffer of `slot`; slots beyond the ring's size begin anew.
    #[inline]
    pub fn buffer(&self, slot: u64) -> u64 {
        // Sizes are powers of two.
        let first = (slot * u64::from(self.shape.pieces)) & (u64::from(self.config.size) - 1);
        self.buffers + first * self.shape.stride
    }

    /// Bytes of a buffer.
    pub(crate) fn room(&self) -> u32 {
        self.shape.room
    }

    /// All slots.
    pub(crate) fn slots(&self) -> std::ops::Range<u64> {
        0..slots(self.config.size, self.shape)
    }

    /// Writes `bytes` into the frame in `slot`, from `at` on.
    #[inline]
    pub(crate) fn write(&self, map: &MemoryMap, slot: u64, at: usize, bytes: &[u8]) -> bool {
        let first = self.buffer(slot);
        let room = self.shape.room as usize;
        if at + bytes.len() <= room {
            return map.write(first + at as u64, bytes);
        }
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let (piece, inside) = ((at / room) as u64, at % room);
            let (now, later) = rest.split_at(rest.len().min(room - inside));
            if !map.write(first + piece * self.shape.stride + inside as u64, now) {
                return false;
            }
            (at, rest) = (at + now.len(), later);
        }
        true
    }

    /// The slot that [`Self::send`] would use.
    #[inline]
    pub(crate) fn next_slot(&self) -> Option<u64> {
        self.free.front().copied()
    }

    /// Begins to load the lines at `at` in the next `count` slots, to be written. The back-end has read them last.
    #[inline]
    pub(crate) fn prefetch(&self, map: &MemoryMap, count: u16, at: usize) {
        for &slot in self.free.iter().take(count.into()) {
            map.prefetch_for_write(self.buffer(slot) + at as u64);
        }
    }

    /// Adds `len` bytes of the next slot for the device to read; false: there is none.
    #[inline]
    pub(crate) fn send(&mut self, len: u32) -> bool {
        let Some(slot) = self.next_slot() else {
            return false;
        };
        let added = match self.shape.pieces {
            1 => self.add(slot, len, false),
            _ => self.add_pieces(slot, len),
        };
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
        if !self.add(slot, self.shape.room, true) {
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

    /// Adds `len` bytes of the next slot, and behind them those of another buffer, for the device to read; false: there is no room.
    pub(crate) fn send_with(&mut self, len: u32, more: DriverBuffer) -> bool {
        let Some(slot) = self.next_slot() else {
            return false;
        };
        let first = DriverBuffer {
            addr: self.buffer(slot),
            len,
            writable: false,
        };
        let added = self.queue.add(&[first, more], slot);
        if added {
            self.free.pop_front();
        }
        added
    }

    fn add_pieces(&mut self, slot: u64, len: u32) -> bool {
        let (mut addr, mut left) = (self.buffer(slot), len);
        self.chain.clear();
        while left > 0 {
            let len = left.min(self.shape.room);
            self.chain.push(DriverBuffer {
                addr,
                len,
                writable: false,
            });
            addr += self.shape.stride;
            left -= len;
        }
        self.queue.add(&self.chain, slot)
    }

    /// Publishes what was added, with a kick if the back-end wants one.
    #[inline]
    pub fn publish(&mut self) {
        if self.queue.publish() {
            // A full counter is a kick that is still pending.
            let _ = self.kick.write(1);
        }
    }

    /// The next buffer that the back-end is done with: its slot and the bytes written. Both of 64 bits: a shorter one would be stored
    /// alone and loaded with its padding, which a CPU answers only once all stores before have left for the cache.
    #[inline]
    pub fn done(&mut self) -> anyhow::Result<Option<(u64, u64)>> {
        Ok(self
            .queue
            .poll_used()?
            .map(|used| (used.token, used.written.into())))
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
        self.free.len() as u64 == self.slots().end
    }

    /// Writes `bytes` at the start of every slot.
    pub(crate) fn write_all(&self, map: &MemoryMap, bytes: &[u8]) -> anyhow::Result<()> {
        for slot in self.slots() {
            let written = self.write(map, slot, 0, bytes);
            anyhow::ensure!(written, "a buffer lies outside guest memory");
        }
        Ok(())
    }

    /// Sleeps, as a guest does, until the back-end calls or has called; false: it has not within `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> anyhow::Result<bool> {
        let sleeper = match &self.sleeper {
            Some(sleeper) => sleeper,
            None => self.sleeper.insert(watch(&self.call)?),
        };
        if self.queue.arm_calls() {
            self.queue.suppress_calls();
            return Ok(true);
        }
        let mut event = [EpollEvent::default()];
        let called = sleeper.wait(i32::try_from(patience.as_millis())?, &mut event)?;
        self.queue.suppress_calls();
        Ok(called > 0)
    }
}

/// Edge-triggered: each call wakes once and the counter need not be read.
fn watch(call: &EventFd) -> anyhow::Result<Epoll> {
    let sleeper = Epoll::new()?;
    let event = EpollEvent::new(EventSet::IN | EventSet::EDGE_TRIGGERED, 0);
    sleeper.ctl(ControlOperation::Add, call.as_raw_fd(), event)?;
    Ok(sleeper)
}

/// Slots of a ring.
fn slots(size: u16, shape: Shape) -> u64 {
    u64::from(size) / u64::from(shape.pieces)
}
