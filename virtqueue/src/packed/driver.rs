//! Driver side of a packed ring (virtio 1.2, 2.8). The device is not trusted either.

use std::sync::{
    Arc,
    atomic::{Ordering, fence},
};

use super::{
    cursor::Cursor,
    layout::{
        DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_SIZE, DESC_SIZE_U32, Event, Ring, Word,
        area_sizes,
    },
};
use crate::{
    DriverBuffer, MemoryMap, QueueConfig, QueueFault, RingFeatures, RingPosition, Used, wide::Wide,
};

/// Descriptors that are asked for ahead: a burst of most devices.
const PREFETCHED: u16 = 32;

/// What the driver remembers of a chain it gave away, by buffer id.
#[derive(Debug, Clone, Copy, Default)]
struct Given {
    token: u64,
    /// Descriptors of the ring; 0: the id is free.
    slots: u16,
    /// Writable bytes.
    room: u32,
}

/// Buffer ids, the one that has rested longest first. Those that are out stay in their places until their places are needed:
/// with VIRTIO_F_IN_ORDER that is the order in which they come back.
#[derive(Debug)]
struct Ids {
    list: Box<[u16]>,
    /// Place of the next id to give.
    next: Wide,
    /// Place of the oldest one that is out; ids that come back go there.
    oldest: Wide,
}

impl Ids {
    fn new(size: u16) -> Self {
        Self {
            list: (0..size).collect(),
            next: Wide::new(0),
            oldest: Wide::new(0),
        }
    }

    fn at(&self, place: Wide) -> u16 {
        let place = usize::from(place.get());
        self.list.get(place).copied().unwrap_or(0)
    }

    fn following(&self, place: Wide) -> Wide {
        let next = place.get().wrapping_add(1);
        Wide::new(if usize::from(next) < self.list.len() {
            next
        } else {
            0
        })
    }

    /// The next one; there is one wherever there is a free descriptor.
    fn give(&mut self) -> u16 {
        let id = self.at(self.next);
        self.next = self.following(self.next);
        id
    }

    /// Takes back the oldest one that is out.
    fn take_oldest(&mut self) -> u16 {
        let id = self.at(self.oldest);
        self.oldest = self.following(self.oldest);
        id
    }

    /// Takes back any one, for a device that does not keep the order.
    fn take(&mut self, id: u16) {
        if let Some(place) = self.list.get_mut(usize::from(self.oldest.get())) {
            *place = id;
        }
        self.oldest = self.following(self.oldest);
    }
}

/// The driver's end of a packed virtqueue.
#[derive(Debug)]
pub(crate) struct Driver {
    ring: Ring,
    features: RingFeatures,
    given: Box<[Given]>,
    ids: Ids,
    free: Wide,
    /// Where the next chain goes.
    next_avail: Cursor,
    /// Descriptors added, not yet published.
    added: Wide,
    /// The first of these and what is still to be stored there.
    first: Option<(Cursor, Word)>,
    /// Next descriptor that the device will use.
    next_used: Cursor,
    /// Completions until descriptors are asked for again.
    prefetched: Wide,
    /// The last id of a batch in order that is being taken back, and the bytes written there.
    batch: Option<(u16, u32)>,
    fault: Option<QueueFault>,
    mem: Arc<MemoryMap>,
}

impl Driver {
    pub(crate) fn new(mem: Arc<MemoryMap>, config: &QueueConfig) -> Result<Self, QueueFault> {
        let ring = Ring::new(&mem, config)?;
        let (desc, driver, device) = area_sizes(ring.size);
        for (addr, len) in [
            (config.desc, desc),
            (config.avail, driver),
            (config.used, device),
        ] {
            if !mem.write(addr, &vec![0; len]) {
                return Err(QueueFault::RingUnmapped(addr));
            }
        }
        let start = ring.cursor(RingPosition::PACKED_START.next_avail)?;
        Ok(Self {
            given: vec![Given::default(); usize::from(ring.size)].into_boxed_slice(),
            ids: Ids::new(ring.size),
            free: Wide::new(ring.size),
            ring,
            features: config.features,
            next_avail: start,
            added: Wide::new(0),
            first: None,
            next_used: start,
            prefetched: Wide::new(0),
            batch: None,
            fault: None,
            mem,
        })
    }

    #[inline]
    pub(crate) fn add(&mut self, buffers: &[DriverBuffer], token: u64) -> bool {
        let [buffer] = buffers else {
            return self.add_chain(buffers, token);
        };
        if self.free.get() == 0 {
            return false;
        }
        let id = self.ids.give();
        let (flags, room) = if buffer.writable {
            (DESC_F_WRITE, buffer.len)
        } else {
            (0, 0)
        };
        self.put(buffer.addr, (buffer.len, id, flags), true);
        self.give(id, 1, room, token);
        true
    }

    fn add_chain(&mut self, buffers: &[DriverBuffer], token: u64) -> bool {
        let Ok(count) = u16::try_from(buffers.len()) else {
            return false;
        };
        if count == 0 || count > self.free.get() {
            return false;
        }
        let id = self.ids.give();
        let mut room = 0u32;
        for (left, buffer) in (0..count).rev().zip(buffers) {
            let mut flags = if left > 0 { DESC_F_NEXT } else { 0 };
            if buffer.writable {
                flags |= DESC_F_WRITE;
                room = room.saturating_add(buffer.len);
            }
            let head = left + 1 == count;
            self.put(buffer.addr, (buffer.len, id, flags), head);
        }
        self.give(id, count, room, token);
        true
    }

    pub(crate) fn add_indirect(
        &mut self,
        table: u64,
        buffers: &[DriverBuffer],
        token: u64,
    ) -> bool {
        let Ok(count) = u16::try_from(buffers.len()) else {
            return false;
        };
        if count == 0 || self.free.get() == 0 {
            return false;
        }
        let mut addr = table;
        let mut room = 0u32;
        for buffer in buffers {
            let mut word = Word {
                len: buffer.len,
                ..Word::default()
            };
            if buffer.writable {
                word.flags = DESC_F_WRITE;
                room = room.saturating_add(buffer.len);
            }
            let mut bytes = [0; DESC_SIZE];
            bytes[..8].copy_from_slice(&buffer.addr.to_le_bytes());
            bytes[8..].copy_from_slice(&word.encode().to_ne_bytes());
            if !self.mem.write(addr, &bytes) {
                return false;
            }
            addr = addr.wrapping_add(DESC_SIZE as u64);
        }
        let id = self.ids.give();
        let len = u32::from(count) * DESC_SIZE_U32;
        self.put(table, (len, id, DESC_F_INDIRECT), true);
        self.give(id, 1, room, token);
        true
    }

    /// Writes the next descriptor. The device comes no further than to the first one that is not published: only that one's
    /// flags have to wait.
    #[inline]
    fn put(&mut self, addr: u64, (len, id, flags): (u32, u16, u16), is_head: bool) {
        let at = self.next_avail;
        let flags = flags | Word::available_flags(at.wrap());
        let word = Word { len, id, flags };
        self.ring.store_addr(at.index(), addr);
        if is_head && self.first.is_none() {
            self.first = Some((at, word));
        } else {
            self.ring.store(at.index(), word, Ordering::Relaxed);
        }
        self.next_avail = at.after(1, self.ring.size);
    }

    #[inline]
    fn give(&mut self, id: u16, slots: u16, room: u32, token: u64) {
        if let Some(given) = self.given.get_mut(usize::from(id)) {
            *given = Given { token, slots, room };
        }
        self.free = Wide::new(self.free.get() - slots);
        self.added = Wide::new(self.added.get() + slots);
    }

    pub(crate) fn publish(&mut self) -> bool {
        let Some((at, word)) = self.first.take() else {
            return false;
        };
        // Release: buffers and the descriptors behind it are visible before it.
        self.ring.store(at.index(), word, Ordering::Release);
        let slots = self.added.get();
        self.added = Wide::new(0);
        // It must be visible before the device's wish is read.
        fence(Ordering::SeqCst);
        let event = self.ring.device_event();
        event.is_due(self.next_avail, slots, self.ring.size)
    }

    #[inline]
    pub(crate) fn poll_used(&mut self) -> Result<Option<Used>, QueueFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.batch.is_none() {
            let word = self.ring.load(self.next_used.index());
            if !word.is_used(self.next_used.wrap()) {
                self.prefetched = Wide::new(0);
                return Ok(None);
            }
            // Not what we have given, or given and not yet published.
            if self.slots_of(word.id) == 0 || self.next_used == self.unpublished() {
                return Err(self.latch(word.id));
            }
            let written = if word.has(DESC_F_WRITE) { word.len } else { 0 };
            if !self.features.in_order {
                self.ids.take(word.id);
                return Ok(Some(self.take_back(word.id, Some(written))));
            }
            self.batch = Some((word.id, written));
        }
        Ok(self.next_of_batch())
    }

    /// 2.8.8: the device may name only the last of a batch; the ones before it were used in full.
    fn next_of_batch(&mut self) -> Option<Used> {
        let (last, written) = self.batch?;
        let id = self.ids.take_oldest();
        let is_last = id == last;
        if is_last {
            self.batch = None;
        }
        Some(self.take_back(id, is_last.then_some(written)))
    }

    /// Begins to load what the next completions are read from, and what the next chains are written to. The device has had these lines
    /// last; one after the other they would be waited for.
    #[inline]
    fn prefetch(&mut self) {
        if let Some(left) = self.prefetched.get().checked_sub(1) {
            self.prefetched = Wide::new(left);
            return;
        }
        self.prefetched = Wide::new(PREFETCHED - 1);
        self.ring.prefetch_for_write(self.next_avail, PREFETCHED);
        if !self.features.in_order && self.next_used.index() != self.next_avail.index() {
            self.ring.prefetch_for_write(self.next_used, PREFETCHED);
        }
    }

    /// The first descriptor that the device cannot have seen.
    fn unpublished(&self) -> Cursor {
        self.first.map_or(self.next_avail, |(at, _)| at)
    }

    fn slots_of(&self, id: u16) -> u16 {
        self.given
            .get(usize::from(id))
            .map_or(0, |given| given.slots)
    }

    fn latch(&mut self, id: u16) -> QueueFault {
        let fault = QueueFault::Used(id.into());
        self.fault = Some(fault);
        fault
    }

    #[inline]
    fn take_back(&mut self, id: u16, written: Option<u32>) -> Used {
        self.prefetch();
        let given = self.given.get_mut(usize::from(id));
        let given = given.map(std::mem::take).unwrap_or_default();
        self.free = Wide::new(self.free.get() + given.slots);
        self.next_used = self.next_used.after(given.slots, self.ring.size);
        Used {
            token: given.token,
            written: written.unwrap_or(given.room),
        }
    }

    pub(crate) fn suppress_calls(&mut self) {
        self.ring.set_driver_event(Event::Disable);
    }

    pub(crate) fn arm_calls(&mut self) -> bool {
        self.ring.set_driver_event(if self.features.event_idx {
            Event::Desc(self.next_used)
        } else {
            Event::Enable
        });
        // The wish must be visible before the descriptor is read again.
        fence(Ordering::SeqCst);
        self.has_used()
    }

    /// Whether completions wait to be taken.
    #[inline]
    pub(crate) fn has_used(&self) -> bool {
        let word = self.ring.load(self.next_used.index());
        self.batch.is_some() || word.is_used(self.next_used.wrap())
    }

    pub(crate) fn free(&self) -> u16 {
        self.free.get()
    }
}
