//! A vhost-user port in the datapath: its rings, and frames into receive rings.
use super::{
    super::{command::PortOffloads, counters::PortShared},
    cell::{Opened, RingCell, SharedRing},
    frame::Outgoing,
    ring::Ring,
};
use virtqueue::{Burst, NET_HEADER_LEN, Segments};

/// The rings of a port as one worker sees them.
#[derive(Debug)]
pub(super) struct VhostPort {
    /// By queue pair. Those that this worker serves.
    transmit: Vec<Option<Ring>>,
    /// By queue pair. All workers put frames into them.
    receive: Vec<RingCell>,
    pub(super) offloads: PortOffloads,
    /// Queue pairs whose receive ring carries frames.
    receiving: Vec<u16>,
}

impl VhostPort {
    /// A port of so many rings at most, with the receive rings that its workers share; none: there is one worker.
    pub(super) fn new(rings: u16, shared: &[SharedRing]) -> Self {
        let pairs = usize::from(rings / 2);
        let shared = shared.iter().map(|ring| RingCell::Shared(ring.clone()));
        let own = (0..pairs).map(|_| RingCell::default());
        Self {
            transmit: (0..pairs).map(|_| None).collect(),
            receive: shared.chain(own).take(pairs).collect(),
            offloads: PortOffloads::default(),
            receiving: Vec::with_capacity(pairs),
        }
    }

    /// Rings at most.
    pub(super) fn rings(&self) -> u16 {
        u16::try_from(self.transmit.len() * 2).unwrap_or(u16::MAX)
    }

    /// The place of a ring as vhost-user counts: receive rings even, transmit rings odd.
    pub(super) fn place(&mut self, index: u16) -> Option<Opened<'_>> {
        let queue = index / 2;
        if index.is_multiple_of(2) {
            self.receive(queue)
        } else {
            self.transmit_place(queue).map(Opened::Own)
        }
    }

    /// The transmit ring of a queue pair, if this worker serves it.
    pub(super) fn transmit(&mut self, queue: u16) -> Option<&mut Ring> {
        self.transmit_place(queue)?.as_mut()
    }

    /// Where the transmit ring of a queue pair is while this worker serves it.
    pub(super) fn transmit_place(&mut self, queue: u16) -> Option<&mut Option<Ring>> {
        self.transmit.get_mut(usize::from(queue))
    }

    /// The place of the receive ring of a queue pair; other workers wait while it is open.
    pub(super) fn receive(&mut self, queue: u16) -> Option<Opened<'_>> {
        self.receive.get_mut(usize::from(queue)).map(RingCell::open)
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

    /// Ends the use of all rings of truncated memory until they are set up again; false: there are none.
    pub(super) fn latch_truncated(
        &mut self,
        fault: &dyn std::fmt::Display,
        shared: &PortShared,
    ) -> bool {
        let is_truncated = (0..self.rings()).any(|index| {
            self.place(index)
                .is_some_and(|place| place.as_ref().is_some_and(Ring::memory_is_truncated))
        });
        for index in (0..self.rings()).filter(|_| is_truncated) {
            if let Some(mut place) = self.place(index)
                && let Some(ring) = place.as_mut()
            {
                ring.latch(fault, shared);
            }
        }
        is_truncated
    }

    /// Looks again which receive rings carry frames.
    pub(super) fn refresh(&mut self) {
        self.receiving.clear();
        for (queue, cell) in (0u16..).zip(&mut self.receive) {
            if cell.open().as_ref().is_some_and(Ring::carries) {
                self.receiving.push(queue);
            }
        }
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
            self.ring.unpop(self.burst, self.next);
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
        self.ring.unpop(self.burst, self.next);
        self.burst.clear();
        if self.completed {
            self.ring.publish();
        }
    }
}

#[cfg(test)]
#[path = "vhost_port_test.rs"]
mod tests;
