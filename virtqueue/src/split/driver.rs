//! Driver side of a split ring (virtio 1.2, 2.7). The device is not trusted either.

use std::sync::{
    Arc,
    atomic::{Ordering, fence},
};

use super::layout::{
    AVAIL_F_NO_INTERRUPT, DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_SIZE, DESC_SIZE_U32,
    Descriptor, Ring, USED_F_NO_NOTIFY, area_sizes,
};
use crate::{
    DriverBuffer, MemoryMap, QueueConfig, QueueFault, RingFeatures, Used, area::need_event,
    wide::Wide,
};

impl DriverBuffer {
    #[inline]
    fn descriptor(self, next: Option<u16>) -> Descriptor {
        let mut flags = if self.writable { DESC_F_WRITE } else { 0 };
        if next.is_some() {
            flags |= DESC_F_NEXT;
        }
        Descriptor {
            addr: self.addr,
            len: self.len,
            flags,
            next: next.unwrap_or(0),
        }
    }
}

/// Completions looked at ahead: a burst of most devices.
const PREFETCHED: u16 = 32;

/// What the driver remembers of a descriptor it gave away; guest memory is never trusted to remember it.
#[derive(Debug, Clone, Copy)]
struct Slot {
    token: u64,
    /// Descriptors of the chain that starts here; 0: no chain starts here.
    chain_len: u16,
    /// Next descriptor in the chain or in the free list.
    next: u16,
}

/// The driver's end of a split virtqueue.
#[derive(Debug)]
pub(crate) struct Driver {
    ring: Ring,
    features: RingFeatures,
    slots: Box<[Slot]>,
    free_head: Wide,
    free: Wide,
    /// Avail index including chains not yet published.
    avail: Wide,
    /// Avail index as last published.
    published: u16,
    /// Next used entry to read.
    next_used: Wide,
    /// Used index as last seen: its cache line, which the device writes, is asked for once per burst.
    used_seen: u16,
    fault: Option<QueueFault>,
    mem: Arc<MemoryMap>,
}

impl Driver {
    /// Resolves the ring areas and initialises them (zeroed rings, free descriptor list).
    pub(crate) fn new(mem: Arc<MemoryMap>, config: &QueueConfig) -> Result<Self, QueueFault> {
        let ring = Ring::new(&mem, config)?;
        let (desc, avail, used) = area_sizes(ring.size);
        for (addr, len) in [
            (config.desc, desc),
            (config.avail, avail),
            (config.used, used),
        ] {
            if !mem.write(addr, &vec![0; len]) {
                return Err(QueueFault::RingUnmapped(addr));
            }
        }
        let start = config.position.next_avail;
        ring.avail_idx().store(start.to_le(), Ordering::Release);
        ring.used_idx()
            .store(config.position.next_used.to_le(), Ordering::Release);
        let slots = (0..ring.size)
            .map(|i| Slot {
                token: 0,
                chain_len: 0,
                next: (i + 1) % ring.size,
            })
            .collect();
        Ok(Self {
            ring,
            features: config.features,
            slots,
            free_head: Wide::new(0),
            free: Wide::new(ring.size),
            avail: Wide::new(start),
            published: start,
            next_used: Wide::new(config.position.next_used),
            used_seen: config.position.next_used,
            fault: None,
            mem,
        })
    }

    /// Adds a chain; false: not enough free descriptors, or no buffer (nothing was added).
    #[inline]
    pub(crate) fn add(&mut self, buffers: &[DriverBuffer], token: u64) -> bool {
        let [buffer] = buffers else {
            return self.add_chain(buffers, token);
        };
        if self.free.get() == 0 {
            return false;
        }
        let head = self.free_head.get();
        self.ring.store_descriptor(head, buffer.descriptor(None));
        self.give(head, self.next_of(head), 1, token);
        true
    }

    fn add_chain(&mut self, buffers: &[DriverBuffer], token: u64) -> bool {
        let Ok(count) = u16::try_from(buffers.len()) else {
            return false;
        };
        if count == 0 || count > self.free.get() {
            return false;
        }
        let head = self.free_head.get();
        let mut index = head;
        for (at, buffer) in buffers.iter().enumerate() {
            let next = self.next_of(index);
            let last = at + 1 == buffers.len();
            self.ring
                .store_descriptor(index, buffer.descriptor((!last).then_some(next)));
            index = next;
        }
        self.give(head, index, count, token);
        true
    }

    /// Adds a chain through an indirect table that the caller placed at `table` (guest physical, 16 bytes per buffer). False: no
    /// free descriptor, no buffer, or the table is not mapped.
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
        for (at, buffer) in (0u16..).zip(buffers) {
            let next = (at + 1 < count).then_some(at + 1);
            if !self.mem.write(addr, &buffer.descriptor(next).encode()) {
                return false;
            }
            addr = addr.wrapping_add(DESC_SIZE as u64);
        }
        let head = self.free_head.get();
        let descriptor = Descriptor {
            addr: table,
            len: u32::from(count) * DESC_SIZE_U32,
            flags: DESC_F_INDIRECT,
            next: 0,
        };
        self.ring.store_descriptor(head, descriptor);
        self.give(head, self.next_of(head), 1, token);
        true
    }

    #[inline]
    fn next_of(&self, index: u16) -> u16 {
        self.slots
            .get(usize::from(index))
            .map_or(0, |slot| slot.next)
    }

    #[inline]
    fn give(&mut self, head: u16, free_head: u16, count: u16, token: u64) {
        if let Some(slot) = self.slots.get_mut(usize::from(head)) {
            slot.token = token;
            slot.chain_len = count;
        }
        self.free_head = Wide::new(free_head);
        self.free = Wide::new(self.free.get() - count);
        let avail = self.avail.get();
        self.ring
            .avail_slot(avail)
            .store(head.to_le(), Ordering::Relaxed);
        self.avail = Wide::new(avail.wrapping_add(1));
    }

    /// Publishes added chains; true: the device wants a kick.
    pub(crate) fn publish(&mut self) -> bool {
        let old = self.published;
        let avail = self.avail.get();
        if old == avail {
            return false;
        }
        self.published = avail;
        // Release: descriptors and ring slots are visible before the index.
        self.ring
            .avail_idx()
            .store(avail.to_le(), Ordering::Release);
        // The index must be visible before the device's wish is read (2.7.13.4.1).
        fence(Ordering::SeqCst);
        if self.features.event_idx {
            let event = u16::from_le(self.ring.avail_event().load(Ordering::Relaxed));
            need_event(event, avail, old)
        } else {
            u16::from_le(self.ring.used_flags().load(Ordering::Relaxed)) & USED_F_NO_NOTIFY == 0
        }
    }

    /// Next completed chain. A device that lies (bad id, index jump) latches a fault.
    #[inline]
    pub(crate) fn poll_used(&mut self) -> Result<Option<Used>, QueueFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let next = self.next_used.get();
        if next == self.used_seen && !self.refresh()? {
            return Ok(None);
        }
        let (id, written) = self.ring.load_used(next);
        let Some(used) = self.take_back(id, written) else {
            return Err(self.latch(id));
        };
        self.next_used = Wide::new(next.wrapping_add(1));
        Ok(Some(used))
    }

    /// Loads the used index; true: there is something to read.
    #[inline]
    fn refresh(&mut self) -> Result<bool, QueueFault> {
        // Acquire: used elements and buffer contents are read after the index.
        let index = u16::from_le(self.ring.used_idx().load(Ordering::Acquire));
        let waiting = index.wrapping_sub(self.next_used.get());
        if waiting > self.ring.size - self.free.get() {
            return Err(self.latch(u32::from(index)));
        }
        self.used_seen = index;
        self.prefetch(waiting);
        Ok(waiting != 0)
    }

    /// Begins to load what the next chains are written to, where so many have come back: their descriptors, and the avail ring. The device
    /// has read them last; one after the other they would be waited for.
    #[inline]
    fn prefetch(&self, waiting: u16) {
        let count = waiting.min(PREFETCHED);
        for ahead in 0..count {
            let (id, _) = self
                .ring
                .load_used(self.next_used.get().wrapping_add(ahead));
            self.ring.prefetch_descriptor(id);
        }
        self.ring.prefetch_avail(self.avail.get(), count);
    }

    fn latch(&mut self, what: u32) -> QueueFault {
        let fault = QueueFault::Used(what);
        self.fault = Some(fault);
        fault
    }

    #[inline]
    fn take_back(&mut self, id: u32, written: u32) -> Option<Used> {
        let head = u16::try_from(id).ok()?;
        let slot = self.slots.get_mut(usize::from(head))?;
        let count = std::mem::take(&mut slot.chain_len);
        if count == 0 {
            return None;
        }
        let token = slot.token;
        // Walk to the end of the chain along the private links and put it in front of the free list.
        let mut last = head;
        for _ in 1..count {
            last = self.next_of(last);
        }
        let free_head = self.free_head.get();
        if let Some(slot) = self.slots.get_mut(usize::from(last)) {
            slot.next = free_head;
        }
        self.free_head = Wide::new(head);
        self.free = Wide::new(self.free.get() + count);
        Some(Used { token, written })
    }

    /// Tells the device not to interrupt.
    pub(crate) fn suppress_calls(&mut self) {
        if self.features.event_idx {
            // The completion that was taken last: a device comes to it again after 65535 others.
            let passed = self.next_used.get().wrapping_sub(1);
            self.ring
                .used_event()
                .store(passed.to_le(), Ordering::Relaxed);
        } else {
            self.ring
                .avail_flags()
                .store(AVAIL_F_NO_INTERRUPT.to_le(), Ordering::Relaxed);
        }
    }

    /// Asks for interrupts again; true: completions arrived meanwhile.
    pub(crate) fn arm_calls(&mut self) -> bool {
        if self.features.event_idx {
            self.ring
                .used_event()
                .store(self.next_used.get().to_le(), Ordering::Relaxed);
        } else {
            self.ring.avail_flags().store(0, Ordering::Relaxed);
        }
        // The wish must be visible before the index is read again (2.7.14).
        fence(Ordering::SeqCst);
        self.has_used()
    }

    /// Whether completions wait to be taken.
    #[inline]
    pub(crate) fn has_used(&self) -> bool {
        u16::from_le(self.ring.used_idx().load(Ordering::Acquire)) != self.next_used.get()
    }

    /// Free descriptors.
    pub(crate) fn free(&self) -> u16 {
        self.free.get()
    }
}
