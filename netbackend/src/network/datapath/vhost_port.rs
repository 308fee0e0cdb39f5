//! A vhost-user port in the datapath: its rings, and frames into receive rings.
use super::{
    super::{command::PortOffloads, counters::PortShared},
    frame::Outgoing,
    ring::Ring,
};
use virtqueue::{Burst, NET_HEADER_LEN, Segments};

/// The rings of a port, receive rings even, transmit rings odd.
#[derive(Debug)]
pub(super) struct VhostPort {
    pub(super) rings: Vec<Option<Ring>>,
    pub(super) offloads: PortOffloads,
    /// Queue pairs whose receive ring carries frames.
    receiving: Vec<u16>,
}

impl VhostPort {
    pub(super) fn new(rings: u16) -> Self {
        Self {
            rings: (0..rings).map(|_| None).collect(),
            offloads: PortOffloads::default(),
            receiving: Vec::with_capacity(usize::from(rings / 2)),
        }
    }

    pub(super) fn ring(&mut self, index: u16) -> Option<&mut Ring> {
        self.rings.get_mut(usize::from(index))?.as_mut()
    }

    /// The transmit ring of a queue pair.
    pub(super) fn transmit(&mut self, queue: u16) -> Option<&mut Ring> {
        self.ring(queue.checked_mul(2)?.checked_add(1)?)
    }

    /// The receive ring of a queue pair.
    pub(super) fn receive(&mut self, queue: u16) -> Option<&mut Ring> {
        self.ring(queue.checked_mul(2)?)
    }

    /// Queue pair whose receive ring takes a flow; `None`: none carries frames.
    pub(super) fn receive_queue(&self, hash: impl FnOnce() -> u32) -> Option<u16> {
        match self.receiving.as_slice() {
            [] => None,
            [only] => Some(*only),
            several => {
                let index = usize::try_from(hash()).ok()? % several.len();
                several.get(index).copied()
            }
        }
    }

    /// Whether a ring's memory was truncated by its owner.
    pub(super) fn memory_is_truncated(&self) -> bool {
        self.rings.iter().flatten().any(Ring::memory_is_truncated)
    }

    /// Ends the use of all rings until they are set up again.
    pub(super) fn latch_all(&mut self, fault: &dyn std::fmt::Display, shared: &PortShared) {
        for ring in self.rings.iter_mut().flatten() {
            ring.latch(fault, shared);
        }
    }

    /// Looks again which rings carry frames; returns the queue pairs of which both do.
    pub(super) fn refresh(&mut self) -> u16 {
        self.receiving.clear();
        let mut pairs = 0;
        for (queue, pair) in (0u16..).zip(self.rings.chunks_exact(2)) {
            let carries = |ring: Option<&Option<Ring>>| {
                ring.and_then(Option::as_ref).is_some_and(Ring::carries)
            };
            if carries(pair.first()) {
                self.receiving.push(queue);
                pairs += u16::from(carries(pair.last()));
            }
        }
        pairs
    }
}

/// Puts frames into a receive ring, one burst of chains after the other.
#[derive(Debug)]
pub(super) struct Receiver<'a> {
    ring: &'a mut Ring,
    burst: &'a mut Burst,
    shared: &'a PortShared,
    offloads: PortOffloads,
    /// First chain in the burst that is not used yet.
    next: usize,
    /// Frames expected: how many chains to take at once.
    expected: usize,
    completed: bool,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(
        ring: &'a mut Ring,
        burst: &'a mut Burst,
        shared: &'a PortShared,
        offloads: PortOffloads,
        expected: usize,
    ) -> Self {
        burst.clear();
        Self {
            ring,
            burst,
            shared,
            offloads,
            next: 0,
            expected,
            completed: false,
        }
    }

    /// Announces `count` more frames than were expected.
    pub(super) fn expect(&mut self, count: usize) {
        self.expected = self.expected.saturating_add(count);
    }

    /// Copies a frame into the next chains; false: the driver has left no room for it.
    pub(super) fn put(&mut self, frame: &Outgoing<'_>) -> bool {
        let total = frame.len.saturating_add(self.offloads.header_len);
        self.expected = self.expected.saturating_sub(1);
        // Nearly always: the next chain is there, and holds the frame.
        if let Some(chain) = self.burst.chain(self.next)
            && chain.writable().len() >= total
        {
            return self.put_whole(frame, total);
        }
        let Some(chains) = self.reserve(total) else {
            return false;
        };
        if !self.fill(frame, chains) {
            return false;
        }
        self.next += chains;
        true
    }

    /// Copies a frame, `total` bytes with its header, into the next chain, which has room for it.
    #[inline]
    fn put_whole(&mut self, frame: &Outgoing<'_>, total: u32) -> bool {
        let Some(chain) = self.burst.chain(self.next) else {
            return false;
        };
        let room = chain.writable();
        if !frame.copy_to(0, frame.len, &room, self.offloads.header_len)
            || !self.write_header(frame, 1, &room)
        {
            return false;
        }
        self.ring.complete(chain.head(), total);
        self.next += 1;
        self.completed = true;
        true
    }

    /// Finds how many chains, from `next` on, hold `total` bytes.
    fn reserve(&mut self, total: u32) -> Option<usize> {
        let mut room = 0u32;
        let mut chains = 0;
        while room < total {
            if chains > 0 && !self.offloads.mergeable {
                return None;
            }
            if self.next + chains == self.burst.len() && !self.refill(chains, total - room) {
                return None;
            }
            let len = self.burst.chain(self.next + chains)?.writable().len();
            // The header stands whole in the first chain (virtio 1.2, 5.1.6.3.2 asks for more).
            if chains == 0 && len < self.offloads.header_len {
                return None;
            }
            room = room.saturating_add(len);
            chains += 1;
        }
        Some(chains)
    }

    /// Takes more chains from the ring, `missing` bytes being wanted; false: there are none.
    fn refill(&mut self, reserved: usize, missing: u32) -> bool {
        if self.burst.len() == Burst::MAX {
            if self.next == 0 {
                return false;
            }
            // Make room: what is completed is not needed any more, the rest is taken again.
            self.ring.unpop(self.burst.len() - self.next);
            self.burst.clear();
            self.next = 0;
            let mut again = self.ring.pop(self.burst, Burst::MAX, self.shared);
            if again == reserved {
                // A pop ends at the avail index as last loaded, and that is where the reserved
                // chains ended. Only now is it loaded again.
                again += self.ring.pop(self.burst, Burst::MAX - again, self.shared);
            }
            return again > reserved;
        }
        // Chains of one ring are mostly alike: the last one tells how many are wanted.
        let last = self
            .burst
            .len()
            .checked_sub(1)
            .and_then(|last| self.burst.chain(last))
            .map_or(u32::MAX, |chain| chain.writable().len().max(1));
        let for_frame = usize::try_from(missing.div_ceil(last)).unwrap_or(Burst::MAX);
        let want = for_frame
            .saturating_add(self.expected)
            .min(Burst::MAX - self.burst.len());
        self.ring.pop(self.burst, want, self.shared) > 0
    }

    /// Copies header and frame into `chains` chains and stages their completion.
    fn fill(&mut self, frame: &Outgoing<'_>, chains: usize) -> bool {
        let header_len = self.offloads.header_len;
        let mut offset = 0;
        for index in 0..chains {
            let Some(chain) = self.burst.chain(self.next + index) else {
                return false;
            };
            let room = chain.writable();
            let at = if index == 0 { header_len } else { 0 };
            let part = room.len().saturating_sub(at).min(frame.len - offset);
            if !frame.copy_to(offset, part, &room, at) {
                return false;
            }
            offset += part;
        }
        if offset != frame.len {
            // The driver changed descriptors between two looks at them.
            return false;
        }
        // The header last: its cache line is not needed while the payload streams through.
        let Some(first) = self.burst.chain(self.next) else {
            return false;
        };
        if !self.write_header(frame, chains, &first.writable()) {
            return false;
        }
        let mut left = frame.len + header_len;
        for index in 0..chains {
            let Some(chain) = self.burst.chain(self.next + index) else {
                return false;
            };
            let written = chain.writable().len().min(left);
            self.ring.complete(chain.head(), written);
            left -= written;
        }
        self.completed = true;
        true
    }

    #[inline]
    fn write_header(&self, frame: &Outgoing<'_>, chains: usize, first: &Segments<'_>) -> bool {
        let mut header = frame.header();
        // Virtio 1.2, 5.1.6.3.2: 1 unless mergeable buffers were negotiated.
        header.num_buffers = u16::try_from(chains).unwrap_or(u16::MAX);
        let bytes: [u8; NET_HEADER_LEN] = header.encode();
        let len = usize::try_from(self.offloads.header_len).unwrap_or(NET_HEADER_LEN);
        bytes
            .get(..len)
            .is_some_and(|bytes| first.write_at(0, bytes) == len)
    }

    /// Gives back unused chains, publishes the used ones, calls the driver.
    pub(super) fn finish(self) {
        self.ring.unpop(self.burst.len() - self.next);
        self.burst.clear();
        if self.completed {
            self.ring.publish();
        }
    }
}

#[cfg(test)]
#[path = "vhost_port_test.rs"]
mod tests;
