//! Frames from the device, read where it wrote them.
use super::{Area, LocalError, LocalRing};
use crate::{DriverBuffer, DriverQueue, NET_HEADER_LEN, NetHeader, QueueFault};

/// Bytes of one buffer. A frame of an ordinary MTU takes one, the largest 17.
const BUFFER_LEN: u32 = 4096;
pub(super) const BUFFER: usize = BUFFER_LEN as usize;
/// The largest frame with its header.
const LONGEST: usize = NET_HEADER_LEN + LocalReceiver::LONGEST_FRAME;

/// The driver's end of a receive ring with mergeable buffers.
///
/// The buffers are offered in the order in which they lie in memory, and the device takes them in order. So a frame that is spread
/// over several buffers is in one piece nevertheless, unless it goes round the end.
#[derive(Debug)]
pub struct LocalReceiver {
    area: Area,
    queue: DriverQueue,
    /// Buffers.
    count: u16,
    /// The buffer that the next frame starts in.
    next: u16,
    /// Buffers from `next` on that are not given back yet: those of the frame handed out last.
    held: u16,
    /// For frames that go round the end.
    wrapped: Box<[u8]>,
}

impl LocalReceiver {
    /// Bytes of a frame at most: 64 KiB of payload of an IPv6 packet, its header, two VLAN tags and Ethernet. A device that brings more
    /// has broken the ring.
    pub const LONGEST_FRAME: usize = 65_535 + 40 + 8 + 14;

    /// A ring of `size` entries, all of them buffers on offer.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(size: u16) -> Result<Self, LocalError> {
        let area = Area::new(size, usize::from(size) * BUFFER)?;
        let queue = area.queue()?;
        let mut receiver = Self {
            area,
            queue,
            count: size,
            next: 0,
            held: 0,
            wrapped: vec![0; LONGEST].into_boxed_slice(),
        };
        for buffer in 0..size {
            receiver.offer(buffer);
        }
        let _ = receiver.queue.publish();
        Ok(receiver)
    }

    /// For the device's end.
    pub fn ring(&self) -> LocalRing {
        self.area.ring.clone()
    }

    /// The next frame; `None`: there is none. The one before is given back.
    ///
    /// # Errors
    /// The device broke the ring, which ends it.
    pub fn receive(&mut self) -> Result<Option<(NetHeader, &[u8])>, QueueFault> {
        self.give_back();
        let Some(used) = self.queue.poll_used()? else {
            return Ok(None);
        };
        let first = self.next;
        if used.token != u64::from(first) {
            return Err(QueueFault::Used(u32::from(first)));
        }
        self.held = 1;
        let offset = usize::from(first) * BUFFER;
        // SAFETY: the device completed this buffer, and it is not offered again before `give_back`.
        let header = unsafe { self.area.bytes(offset, NET_HEADER_LEN) };
        let header = header
            .and_then(|bytes| bytes.try_into().ok())
            .and_then(NetHeader::decode)
            .ok_or(QueueFault::Used(u32::from(first)))?;
        let mut len = usize::try_from(used.written).unwrap_or(usize::MAX);
        for _ in 1..header.num_buffers {
            let more = self.queue.poll_used()?;
            let more = more.ok_or(QueueFault::Used(u32::from(first)))?;
            self.held += 1;
            len = len.saturating_add(usize::try_from(more.written).unwrap_or(usize::MAX));
        }
        let payload = len
            .checked_sub(NET_HEADER_LEN)
            .filter(|_| len <= usize::from(self.held) * BUFFER && len <= LONGEST)
            .ok_or(QueueFault::Used(used.written))?;
        let frame = self.frame(offset + NET_HEADER_LEN, payload);
        frame
            .map(|frame| Some((header, frame)))
            .ok_or(QueueFault::Used(used.written))
    }

    /// The bytes of a frame, put together if they go round the end.
    fn frame(&mut self, offset: usize, len: usize) -> Option<&[u8]> {
        let before_end = self.area.len.checked_sub(offset)?.min(len);
        // SAFETY: the bytes are in buffers that the device completed and that are not offered again before `give_back`.
        let start = unsafe { self.area.bytes(offset, before_end) }?;
        if before_end == len {
            return Some(start);
        }
        // SAFETY: as above.
        let rest = unsafe { self.area.bytes(0, len - before_end) }?;
        let wrapped = self.wrapped.get_mut(..len)?;
        let (to_start, to_rest) = wrapped.split_at_mut(before_end);
        to_start.copy_from_slice(start);
        to_rest.copy_from_slice(rest);
        Some(wrapped)
    }

    fn give_back(&mut self) {
        for _ in 0..std::mem::take(&mut self.held) {
            self.offer(self.next);
            self.next = (self.next + 1) % self.count;
        }
    }

    fn offer(&mut self, buffer: u16) {
        let whole = DriverBuffer {
            addr: self.area.addr(usize::from(buffer) * BUFFER),
            len: BUFFER_LEN,
            writable: true,
        };
        // There is a descriptor for every buffer.
        let _ = self.queue.add(&[whole], buffer.into());
    }

    /// Makes what was given back known, once per burst; true: the device wants a kick.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        self.give_back();
        self.queue.publish()
    }

    /// Asks to be called for the next frame; true: there is one already.
    #[must_use]
    pub fn arm(&mut self) -> bool {
        self.queue.arm_calls()
    }
}
