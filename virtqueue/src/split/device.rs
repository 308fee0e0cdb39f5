//! Device side of a split ring (virtio 1.2, 2.7).
//!
//! # Theory of operation
//! The avail index is loaded once per burst and cached. Chains are copied descriptor by descriptor into private memory and
//! validated there. Completions are staged: used elements are written as they come, and one release store publishes them all.
//! Chains complete in the order in which they were popped, so the ring can be recovered from its used index alone.
//!
//! The first fault latches the queue: fetching ends, chains popped before may still be completed, and nothing else of the
//! device is touched. Without the latch a broken ring would report the same fault for ever.

use std::sync::{
    Arc,
    atomic::{Ordering, fence},
};

use super::{
    chain::read_chain,
    layout::{AVAIL_F_NO_INTERRUPT, Ring, USED_F_NO_NOTIFY},
};
use crate::{
    Burst, Head, MemoryMap, QueueConfig, QueueFault, RingFeatures, RingPosition, area::need_event,
    memory::Window,
};

/// The device's end of a split virtqueue.
#[derive(Debug)]
pub(crate) struct Device {
    ring: Ring,
    features: RingFeatures,
    /// Next avail entry to fetch.
    next_avail: u16,
    /// Avail index as last seen.
    avail_seen: u16,
    /// Used index as last published.
    used: u16,
    /// Completions written behind `used`, not yet published.
    staged: u16,
    /// Chains popped and not completed.
    in_flight: u16,
    /// Head of the chain that comes next, as a guess of what to prefetch: the last one, which a driver that has few under way uses
    /// again, or what [`Self::foresee`] saw.
    foreseen: u16,
    fault: Option<QueueFault>,
    /// Where in `mem` buffers are.
    window: Window,
    mem: Arc<MemoryMap>,
}

impl Device {
    /// Resolves and checks the three ring areas.
    pub(crate) fn new(mem: Arc<MemoryMap>, config: &QueueConfig) -> Result<Self, QueueFault> {
        let ring = Ring::new(&mem, config)?;
        Ok(Self {
            ring,
            features: config.features,
            next_avail: config.position.next_avail,
            avail_seen: config.position.next_avail,
            used: config.position.next_used,
            staged: 0,
            in_flight: 0,
            foreseen: 0,
            fault: None,
            window: Window::NONE,
            mem,
        })
    }

    /// Appends up to `max` available chains to `burst` and returns their number. 0: none available, or the burst is full.
    /// A fault latches: chains before it are still returned, every later call returns the fault.
    pub(crate) fn pop_burst(&mut self, burst: &mut Burst, max: usize) -> Result<usize, QueueFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.next_avail == self.avail_seen && !self.refresh()? {
            return Ok(0);
        }
        if !burst.hold(&self.mem) {
            return Ok(0);
        }
        let mut heads = [0; Burst::MAX];
        let mut popped = 0;
        for &head in self.load_heads(max.min(burst.room()), &mut heads) {
            if burst.is_full() {
                break;
            }
            let at = (head, &mut self.window);
            if let Err(fault) = read_chain(&self.mem, &self.ring, self.features, at, burst) {
                self.fault = Some(fault);
                break;
            }
            self.foreseen = head;
            popped += 1;
        }
        self.next_avail = self.next_avail.wrapping_add(popped);
        self.in_flight += popped;
        match self.fault {
            Some(fault) if popped == 0 => Err(fault),
            _ => Ok(popped.into()),
        }
    }

    /// Whether there is something to pop: a load, for who polls. Asks for the entry and the descriptor that come next as well: once the
    /// index tells of them they are on their way, and not waited for one after the other.
    #[inline]
    pub(crate) fn has_available(&self) -> bool {
        self.ring.prefetch_slot(self.next_avail);
        self.ring.table().prefetch(self.foreseen);
        self.next_avail != self.avail_seen
            || u16::from_le(self.ring.avail_idx().load(Ordering::Acquire)) != self.next_avail
    }

    /// Whether as many chains are there, by the index as it was last seen or as it is now.
    #[inline]
    pub(crate) fn has_as_many(&self, count: u16) -> bool {
        let holds = |index: u16| index.wrapping_sub(self.next_avail) >= count;
        holds(self.avail_seen) || holds(u16::from_le(self.ring.avail_idx().load(Ordering::Acquire)))
    }

    /// Looks which chain comes next, if that is known without asking, and begins to load its buffer, to be written.
    pub(crate) fn foresee(&mut self) {
        if self.next_avail == self.avail_seen {
            return;
        }
        let slot = self.ring.avail_slot(self.next_avail);
        self.foreseen = u16::from_le(slot.load(Ordering::Relaxed));
        if let Some(descriptor) = self.ring.table().load(self.foreseen) {
            self.mem.prefetch_for_write(descriptor.addr);
        }
    }

    /// Begins to load what the next chain's pop reads and its completion writes. The driver, which writes and reads what lies beside, has
    /// had those lines last.
    #[inline]
    pub(crate) fn prefetch(&self) {
        self.ring.prefetch_slot(self.next_avail);
        self.ring.table().prefetch(self.foreseen);
        self.ring.prefetch_used(self.used, 1);
    }

    /// Loads which chains come next, up to `max`, and begins to load the descriptors that they start with. They were written by another
    /// CPU, one after the other they would be waited for.
    #[inline]
    fn load_heads<'a>(&self, max: usize, heads: &'a mut [u16; Burst::MAX]) -> &'a [u16] {
        let there = self.avail_seen.wrapping_sub(self.next_avail);
        let count = max.min(there.into());
        let table = self.ring.table();
        let heads = heads.get_mut(..count).unwrap_or_default();
        for (ahead, head) in (0u16..).zip(&mut *heads) {
            let slot = self.ring.avail_slot(self.next_avail.wrapping_add(ahead));
            *head = u16::from_le(slot.load(Ordering::Relaxed));
            table.prefetch(*head);
        }
        // And the places of their completions, which the driver has read last.
        let next = self
            .used
            .wrapping_add(self.staged)
            .wrapping_add(self.in_flight);
        let count = u16::try_from(count).unwrap_or(self.ring.size);
        self.ring.prefetch_used(next, count);
        heads
    }

    /// Loads the avail index; true: there is something to fetch.
    #[inline]
    fn refresh(&mut self) -> Result<bool, QueueFault> {
        // Acquire: pairs with the driver's release of the index; ring slots and descriptors are read after it.
        let index = u16::from_le(self.ring.avail_idx().load(Ordering::Acquire));
        let new = index.wrapping_sub(self.next_avail);
        // Entries that were popped and not completed still occupy the ring.
        if new > self.ring.size - self.in_flight.min(self.ring.size) {
            let fault = QueueFault::AvailIndex {
                index,
                expected: self.next_avail,
            };
            self.fault = Some(fault);
            return Err(fault);
        }
        self.avail_seen = index;
        Ok(new != 0)
    }

    /// Gives back the newest `count` popped and not completed chains.
    pub(crate) fn unpop(&mut self, count: u16) {
        let count = count.min(self.in_flight);
        self.next_avail = self.next_avail.wrapping_sub(count);
        self.in_flight -= count;
    }

    /// Stages the completion of chain `head` with `written` bytes.
    #[inline]
    pub(crate) fn complete(&mut self, head: Head, written: u32) {
        if self.in_flight == 0 {
            debug_assert!(false, "completion without a popped chain");
            return;
        }
        self.ring.store_used(
            self.used.wrapping_add(self.staged),
            u32::from(head.id()),
            written,
        );
        self.in_flight -= 1;
        self.staged += 1;
    }

    /// Stages the completion of chains, in the order in which they were popped.
    #[inline]
    pub(crate) fn complete_all(&mut self, chains: impl Iterator<Item = (Head, u32)>) {
        let first = self.used.wrapping_add(self.staged);
        let mut count = 0u16;
        for (head, written) in chains.take(self.in_flight.into()) {
            let id = u32::from(head.id());
            self.ring.store_used(first.wrapping_add(count), id, written);
            count += 1;
        }
        self.in_flight -= count;
        self.staged += count;
    }

    /// Publishes staged completions with one release store; true: the driver wants a notification.
    #[must_use]
    pub(crate) fn publish(&mut self) -> bool {
        if self.staged == 0 {
            return false;
        }
        let old = self.used;
        self.used = old.wrapping_add(self.staged);
        self.staged = 0;
        // Release: used elements and buffer contents are visible before the index.
        self.ring
            .used_idx()
            .store(self.used.to_le(), Ordering::Release);
        self.mark_used_area();
        // The index must be visible before the driver's wish is read, or both sides go to sleep (2.7.7.2).
        fence(Ordering::SeqCst);
        if self.features.event_idx {
            let event = u16::from_le(self.ring.used_event().load(Ordering::Relaxed));
            need_event(event, self.used, old)
        } else {
            u16::from_le(self.ring.avail_flags().load(Ordering::Relaxed)) & AVAIL_F_NO_INTERRUPT
                == 0
        }
    }

    /// Tells the driver not to kick (while polling).
    pub(crate) fn suppress_kicks(&mut self) {
        // With EVENT_IDX the flag is ignored (2.7.10): the event index simply stays behind, and a driver that passes it
        // once in 65536 entries costs one spurious kick.
        if !self.features.event_idx {
            self.ring
                .used_flags()
                .store(USED_F_NO_NOTIFY.to_le(), Ordering::Relaxed);
            self.mark_used_area();
        }
    }

    /// The dirty log hears of the whole used area, a page or two for the sizes that guests have: it is only there while a
    /// guest migrates. Its guest address is that of the ring (`log_guest_addr` of SET_VRING_ADDR says the same).
    #[inline]
    fn mark_used_area(&self) {
        if self.mem.logs() {
            let (host, len) = self.ring.used_area();
            self.mem.mark_host(host, len);
        }
    }

    /// Asks for kicks again; true: more became available meanwhile, process before sleeping. A broken avail index counts as
    /// more: the next pop reports it.
    #[must_use]
    pub(crate) fn arm_kicks(&mut self) -> bool {
        if self.fault.is_some() {
            return false;
        }
        if self.features.event_idx {
            self.ring
                .avail_event()
                .store(self.next_avail.to_le(), Ordering::Relaxed);
        } else {
            self.ring.used_flags().store(0, Ordering::Relaxed);
        }
        self.mark_used_area();
        // The wish must be visible before the index is read again, or a kick is lost (2.7.10.1).
        fence(Ordering::SeqCst);
        u16::from_le(self.ring.avail_idx().load(Ordering::Acquire)) != self.next_avail
    }

    /// Where the ring stands; popped chains not completed count as not fetched.
    pub(crate) fn position(&self) -> RingPosition {
        RingPosition {
            next_avail: self.next_avail.wrapping_sub(self.in_flight),
            next_used: self.used,
        }
    }

    pub(crate) fn memory(&self) -> &Arc<MemoryMap> {
        &self.mem
    }

    /// The fault that latched this queue.
    #[inline]
    pub(crate) fn fault(&self) -> Option<QueueFault> {
        self.fault
    }

    /// Entries.
    pub(crate) fn size(&self) -> u16 {
        self.ring.size
    }

    /// The used index in guest memory.
    pub(crate) fn used_index(mem: &MemoryMap, config: &QueueConfig) -> Result<u16, QueueFault> {
        let ring = Ring::new(mem, config)?;
        Ok(u16::from_le(ring.used_idx().load(Ordering::Acquire)))
    }
}
