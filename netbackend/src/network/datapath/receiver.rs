//! Frames into a receive ring.
use super::{
    super::{command::PortOffloads, counters::PortShared, queue_stats::Tally},
    frame::Outgoing,
    packet::Packet,
    ring::Ring,
};
use arrayvec::ArrayVec;
use switch::PortId;
use virtqueue::{Burst, NET_HEADER_LEN};

/// Where `hdr_len` is in the header (virtio 1.2, 5.1.6).
const HDR_LEN_AT: u32 = 2;

/// Puts frames into a receive ring, one burst of chains after the other.
#[derive(Debug)]
pub(super) struct Receiver<'a> {
    ring: &'a mut Ring,
    burst: &'a mut Burst,
    shared: &'a PortShared,
    offloads: PortOffloads,
    /// Where the frames came in, if the driver wants to know.
    source: Option<PortId>,
    /// Frames expected: how many chains to take at once.
    expected: usize,
    /// Bytes written into the first chains of the burst, whose completion is not staged yet.
    written: ArrayVec<u32, { Burst::MAX }>,
    completed: bool,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(
        ring: &'a mut Ring,
        burst: &'a mut Burst,
        shared: &'a PortShared,
        (offloads, source): (PortOffloads, PortId),
        expected: usize,
    ) -> Self {
        burst.clear();
        Self {
            ring,
            burst,
            shared,
            offloads,
            source: offloads.wants_source.then_some(source),
            expected,
            written: ArrayVec::new(),
            completed: false,
        }
    }

    /// Announces `count` more frames than were expected.
    pub(super) fn expect(&mut self, count: usize) {
        self.expected = self.expected.saturating_add(count);
    }

    /// Copies a packet into the next chain; false: it is not there, or has no room for all of it. Then it may still
    /// [take several](Self::put).
    #[inline]
    pub(super) fn put_packet(&mut self, packet: &Packet<'_>) -> bool {
        let expected = self.expected;
        // The packet itself is not one of those that come behind it.
        self.expected = expected.saturating_sub(1);
        let is_put = self.try_packet(packet);
        if !is_put {
            self.expected = expected;
        }
        is_put
    }

    #[inline]
    fn try_packet(&mut self, packet: &Packet<'_>) -> bool {
        if self.next() == self.burst.len() && !self.refill(0, packet.len()) {
            return false;
        }
        let Some(chain) = self.burst.chain(self.next()) else {
            return false;
        };
        let room = chain.writable();
        if room.len() < packet.len() || !packet.copy_to(&room) {
            return false;
        }
        if let Some(PortId(source)) = self.source
            && room.write_at(HDR_LEN_AT, &source.to_le_bytes()) != size_of_val(&source)
        {
            return false;
        }
        self.take_next(packet.len());
        true
    }

    /// Copies a frame into the next chains; false: the driver has left no room for it.
    pub(super) fn put(&mut self, frame: &Outgoing<'_>) -> bool {
        let total = frame.len.saturating_add(self.offloads.header_len);
        self.expected = self.expected.saturating_sub(1);
        let Some(chains) = self.reserve(total) else {
            return false;
        };
        self.fill(frame, chains)
    }

    /// First chain in the burst that is not used yet.
    #[inline]
    fn next(&self) -> usize {
        self.written.len()
    }

    /// The next chain has so many bytes of a frame now.
    #[inline]
    fn take_next(&mut self, written: u32) {
        // There is room: as much as for chains.
        let _ = self.written.try_push(written);
    }

    /// Finds how many chains, from the next one on, hold `total` bytes.
    fn reserve(&mut self, total: u32) -> Option<usize> {
        let mut room = 0u32;
        let mut chains = 0;
        while room < total {
            if chains > 0 && !self.offloads.mergeable {
                return None;
            }
            if self.next() + chains == self.burst.len() && !self.refill(chains, total - room) {
                return None;
            }
            let len = self.burst.writable_len(self.next() + chains)?;
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
            if self.next() == 0 {
                return false;
            }
            // Make room: what is completed is not needed any more, the rest is taken again.
            self.stage_and_return();
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
            .and_then(|last| self.burst.writable_len(last))
            .map_or(u32::MAX, |len| len.max(1));
        let for_frame = usize::try_from(missing.div_ceil(last)).unwrap_or(Burst::MAX);
        let want = for_frame
            .saturating_add(self.expected)
            .min(Burst::MAX - self.burst.len());
        self.ring.pop(self.burst, want, self.shared) > 0
    }

    /// Copies header and frame into `chains` chains and stages their completion.
    fn fill(&mut self, frame: &Outgoing<'_>, chains: usize) -> bool {
        let first = self.next();
        // The header last: its cache line is not needed while the payload streams through.
        let is_filled = self.fill_chains(frame, chains) && self.write_header(frame, chains, first);
        if !is_filled {
            self.written.truncate(first);
        }
        is_filled
    }

    /// Copies a frame into the next `chains` chains, behind room for the header.
    fn fill_chains(&mut self, frame: &Outgoing<'_>, chains: usize) -> bool {
        let mut reader = frame.reader();
        let mut left = frame.len;
        let mut at = self.offloads.header_len;
        for _ in 0..chains {
            let Some(chain) = self.burst.chain(self.next()) else {
                return false;
            };
            let room = chain.writable();
            let part = room.len().saturating_sub(at).min(left);
            if !reader.copy_to(part, &room, at) {
                return false;
            }
            left -= part;
            self.take_next(at + part);
            at = 0;
        }
        left == 0
    }

    #[inline]
    fn write_header(&self, frame: &Outgoing<'_>, chains: usize, first: usize) -> bool {
        let Some(first) = self.burst.chain(first) else {
            return false;
        };
        let mut header = frame.header();
        // Virtio 1.2, 5.1.6.3.2: 1 unless mergeable buffers were negotiated.
        header.num_buffers = u16::try_from(chains).unwrap_or(u16::MAX);
        if let Some(PortId(source)) = self.source {
            header.hdr_len = source;
        }
        let bytes: [u8; NET_HEADER_LEN] = header.encode();
        let len = usize::try_from(self.offloads.header_len).unwrap_or(NET_HEADER_LEN);
        bytes
            .get(..len)
            .is_some_and(|bytes| first.writable().write_at(0, bytes) == len)
    }

    /// Stages the completion of the used chains and gives back the others: the burst is empty then.
    fn stage_and_return(&mut self) {
        self.completed |= !self.written.is_empty();
        self.ring.complete_written(self.burst, &self.written);
        self.ring.unpop(self.burst, self.written.len());
        self.burst.clear();
        self.written.clear();
    }

    /// Gives back unused chains, counts, publishes the used ones, calls the driver. In this order: who has seen a frame finds it counted.
    pub(super) fn finish(&mut self, tally: &Tally) {
        self.ring.unpop(self.burst, self.written.len());
        self.ring.stats().add(tally);
        if self.completed || !self.written.is_empty() {
            self.ring.publish_written(self.burst, &self.written);
        }
        self.burst.clear();
    }
}

#[cfg(test)]
#[path = "receiver_test.rs"]
mod tests;
