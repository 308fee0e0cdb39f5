//! Frames to the device, written where it reads them.
use super::{Area, LocalError, LocalRing};
use crate::{DriverBuffer, DriverQueue, NET_HEADER_LEN, NetHeader, QueueFault};
use std::collections::VecDeque;

/// Frames start at multiples of a cache line.
const ALIGN: usize = 64;

/// The driver's end of a transmit ring.
///
/// Buffers are cut from one run of bytes, in turn, each as long as its frame; the device completes them in order.
#[derive(Debug)]
pub struct LocalSender {
    area: Area,
    queue: DriverQueue,
    /// Frames on their way: where each ends.
    sent: VecDeque<usize>,
    /// Where the oldest frame on its way starts.
    tail: usize,
    /// Where the next frame may start.
    head: usize,
}

impl LocalSender {
    /// A ring of `size` entries with `len` bytes for frames.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(size: u16, len: usize) -> Result<Self, LocalError> {
        let area = Area::new(size, len)?;
        Ok(Self {
            queue: area.queue()?,
            area,
            sent: VecDeque::with_capacity(usize::from(size)),
            tail: 0,
            head: 0,
        })
    }

    /// For the device's end.
    pub fn ring(&self) -> LocalRing {
        self.area.ring.clone()
    }

    /// Queues a frame of `len` bytes that `fill` writes; false: no room now, try again when the device has completed some.
    #[must_use]
    pub fn send(
        &mut self,
        header: &NetHeader,
        len: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> bool {
        let Some(start) = self.room(NET_HEADER_LEN + len) else {
            return false;
        };
        // SAFETY: the bytes from `start` on belong to no frame on its way: `room` says so.
        let Some(bytes) = (unsafe { self.area.bytes_mut(start, NET_HEADER_LEN + len) }) else {
            return false;
        };
        let (head, frame) = bytes.split_at_mut(NET_HEADER_LEN);
        head.copy_from_slice(&header.encode());
        fill(frame);
        let buffer = DriverBuffer {
            addr: self.area.addr(start),
            len: u32::try_from(NET_HEADER_LEN + len).unwrap_or(u32::MAX),
            writable: false,
        };
        let end = start + NET_HEADER_LEN + len;
        if !self.queue.add(&[buffer], 0) {
            return false;
        }
        if self.sent.is_empty() {
            self.tail = start;
        }
        self.sent.push_back(end);
        self.head = end.next_multiple_of(ALIGN);
        true
    }

    /// Whether a frame of `len` bytes finds room.
    #[must_use]
    pub fn has_room(&self, len: usize) -> bool {
        self.room(NET_HEADER_LEN + len).is_some()
    }

    /// How many frames of up to `len` bytes surely find room.
    #[must_use]
    pub fn room_for(&self, len: usize) -> usize {
        let each = (NET_HEADER_LEN + len).next_multiple_of(ALIGN);
        let free = if self.sent.is_empty() {
            self.area.len / each
        } else if self.head < self.tail {
            (self.tail - self.head - 1) / each
        } else {
            // Behind the newest frame, and then in front of the oldest.
            self.area.len.saturating_sub(self.head) / each + self.tail.saturating_sub(1) / each
        };
        free.min(self.queue.free().into())
    }

    /// Where `len` bytes are free in one piece. Ahead of the oldest frame one byte stays free at least, so that `head` is never at or behind `tail` there.
    fn room(&self, len: usize) -> Option<usize> {
        if self.queue.free() == 0 {
            return None;
        }
        if self.sent.is_empty() {
            return (len <= self.area.len).then_some(0);
        }
        // The next frame starts at a multiple of ALIGN: so far must it be free.
        let end = |start: usize| start.checked_add(len)?.checked_next_multiple_of(ALIGN);
        if self.head < self.tail {
            return (end(self.head)? < self.tail).then_some(self.head);
        }
        if self.head.checked_add(len)? <= self.area.len {
            return Some(self.head);
        }
        (end(0)? < self.tail).then_some(0)
    }

    /// Takes back what the device has completed; whether that was anything.
    ///
    /// # Errors
    /// The device broke the ring, which ends it.
    pub fn reclaim(&mut self) -> Result<bool, QueueFault> {
        let mut some = false;
        while self.queue.poll_used()?.is_some() {
            some = true;
            if let Some(end) = self.sent.pop_front() {
                self.tail = end;
            }
        }
        Ok(some)
    }

    /// Makes queued frames known, once per burst; true: the device wants a kick.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// Asks to be called when frames are completed; true: some are already.
    #[must_use]
    pub fn arm(&mut self) -> bool {
        self.queue.arm_calls()
    }
}
