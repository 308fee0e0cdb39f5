//! Device side of a packed ring (virtio 1.2, 2.8).
//!
//! # Theory of operation
//! Available descriptors are recognised by their flags, one acquire load each; the rest is as in a split ring: chains are copied
//! into private memory and validated there. Completions that are staged are kept in private memory until they are published; those of a
//! whole burst, published at once, are not. Either are written in the order of the ring, one after the other without a pause: the driver, for which the first cache line is still on its way,
//! finds all of them, and whatever kills the device, the ring is in a state that the next one understands. (With the flags of the
//! first written last, used descriptors could be left behind one that never is.)
//!
//! Where nothing was written into the buffers and VIRTIO_F_IN_ORDER is negotiated, one used descriptor completes all of a burst
//! (2.8.8).
//!
//! Drivers look at the first descriptor of what is completed and skip the others. We mark the last one used as well, and keep
//! in Element Address, which is unused in a used descriptor (2.8.6), how many are completed: so the ring can be recovered after a
//! crash of the device (see `resume`).

use std::sync::{
    Arc,
    atomic::{Ordering, fence},
};

use super::{
    chain::read_chain,
    cursor::Cursor,
    layout::{DESC_F_WRITE, Event, LINE, Ring, Word},
};
use crate::{
    Burst, Head, MemoryMap, QueueConfig, QueueFault, RingFeatures, RingPosition, memory::Window,
};

/// Completions that may be staged without asking for memory: those of a whole burst. However many they are, they are written when they are
/// published and not before: a frame in several chains must not be there in part while others are copied (5.1.6.4: "at least
/// num_buffers used buffers").
const STAGED: usize = Burst::MAX;

/// The device's end of a packed virtqueue.
#[derive(Debug)]
pub(crate) struct Device {
    ring: Ring,
    features: RingFeatures,
    /// Next descriptor to look at.
    next_avail: Cursor,
    /// Where the next used descriptor goes.
    next_used: Cursor,
    /// Completions that are not yet written, and how many bytes each wrote.
    staged: Vec<(Head, u32)>,
    /// Descriptors that these complete.
    staged_slots: u16,
    /// Descriptors completed in the ring since the driver's wish was last looked at.
    unannounced: u16,
    /// Descriptors popped and not completed.
    in_flight: u16,
    fault: Option<QueueFault>,
    /// Where in `mem` buffers are.
    window: Window,
    mem: Arc<MemoryMap>,
}

impl Device {
    pub(crate) fn new(mem: Arc<MemoryMap>, config: &QueueConfig) -> Result<Self, QueueFault> {
        let ring = Ring::new(&mem, config)?;
        Ok(Self {
            next_avail: ring.cursor(config.position.next_avail)?,
            next_used: ring.cursor(config.position.next_used)?,
            ring,
            features: config.features,
            staged: Vec::with_capacity(STAGED),
            staged_slots: 0,
            unannounced: 0,
            in_flight: 0,
            fault: None,
            window: Window::NONE,
            mem,
        })
    }

    pub(crate) fn pop_burst(&mut self, burst: &mut Burst, max: usize) -> Result<usize, QueueFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let size = self.ring.size;
        let mut next = self.next_avail;
        let mut word = self.ring.load(next.index());
        if !word.is_available(next.wrap()) || max == 0 || !burst.hold(&self.mem) {
            return Ok(0);
        }
        // Descriptors that were popped, and those whose completion is not yet written, are not the driver's.
        let room = size - self.in_flight - self.staged_slots;
        let mut slots = 0u16;
        let mut popped = 0;
        self.ring.prefetch_for_write(next, 1);
        while popped < max && word.is_available(next.wrap()) && !burst.is_full() {
            if next.begins_line() {
                // Used descriptors go into the lines that were read. Only the next one, which the driver may be writing yet.
                self.ring
                    .prefetch_for_write(next.after(size.min(LINE), size), 1);
            }
            match self.take((next, word), room - slots, burst) {
                Ok(taken) => {
                    next = next.after(taken, size);
                    slots += taken;
                    popped += 1;
                }
                Err(fault) => {
                    self.fault = Some(fault);
                    break;
                }
            }
            word = self.ring.load(next.index());
        }
        self.next_avail = next;
        self.in_flight += slots;
        match self.fault {
            Some(fault) if popped == 0 => Err(fault),
            _ => Ok(popped),
        }
    }

    /// Whether there is something to pop, or a fault to be reported: a load, for who polls.
    #[inline]
    pub(crate) fn has_available(&self) -> bool {
        let word = self.ring.load(self.next_avail.index());
        word.is_available(self.next_avail.wrap()) || self.fault.is_some()
    }

    /// Looks which chain comes next, and begins to load its buffer, to be written.
    pub(crate) fn foresee(&mut self) {
        let word = self.ring.load(self.next_avail.index());
        if word.is_available(self.next_avail.wrap()) {
            let addr = self.ring.load_addr(self.next_avail.index());
            self.mem.prefetch_for_write(addr);
        }
    }

    /// Begins to load the descriptor that the next pop reads and its completion writes. The driver has written what lies beside.
    #[inline]
    pub(crate) fn prefetch(&self) {
        self.ring.prefetch_for_write(self.next_avail, 1);
    }

    /// Reads the available chain that begins with `first`, of `room` descriptors at most; returns how many it takes.
    #[inline]
    fn take(
        &mut self,
        first: (Cursor, Word),
        room: u16,
        burst: &mut Burst,
    ) -> Result<u16, QueueFault> {
        if room == 0 {
            return Err(QueueFault::Overrun);
        }
        read_chain(
            &self.mem,
            &self.ring,
            self.features,
            first,
            (room, &mut self.window),
            burst,
        )
    }

    /// Gives back popped and not completed chains of `slots` descriptors in all.
    pub(crate) fn unpop(&mut self, slots: u16) {
        let slots = slots.min(self.in_flight);
        self.next_avail = self.next_avail.before(slots, self.ring.size);
        self.in_flight -= slots;
    }

    /// Stages the completion of one chain.
    #[inline]
    pub(crate) fn complete(&mut self, head: Head, written: u32) {
        let slots = head.slots();
        if slots == 0 || slots > self.in_flight {
            debug_assert!(false, "completion without a popped chain");
            return;
        }
        self.in_flight -= slots;
        self.staged_slots += slots;
        self.staged.push((head, written));
    }

    /// Stages the completion of chains, in the order in which they were popped.
    #[inline]
    pub(crate) fn complete_all(&mut self, chains: impl Iterator<Item = (Head, u32)>) {
        let mut all = 0u16;
        for (head, written) in chains {
            let slots = head.slots();
            if slots == 0 || slots > self.in_flight - all {
                debug_assert!(false, "completion without a popped chain");
                break;
            }
            all += slots;
            self.staged.push((head, written));
        }
        self.in_flight -= all;
        self.staged_slots += all;
    }

    /// Writes what is staged into the ring.
    #[inline]
    fn flush(&mut self) {
        if self.staged.is_empty() {
            return;
        }
        let staged = self.staged.iter().copied();
        let next = write_used(&self.ring, self.next_used, staged);
        self.staged.clear();
        let slots = std::mem::take(&mut self.staged_slots);
        self.written_until(next, slots);
    }

    /// Completes chains, behind what is staged, and writes that into the ring.
    #[inline]
    pub(crate) fn flush_all(&mut self, chains: impl Iterator<Item = (Head, u32)>) {
        self.flush();
        let mut slots = 0u16;
        let popped = chains.map_while(|chain| {
            let left = self.in_flight.saturating_sub(slots);
            let is_popped = (1..=left).contains(&chain.0.slots());
            debug_assert!(is_popped, "completion without a popped chain");
            is_popped.then(|| {
                slots += chain.0.slots();
                chain
            })
        });
        let next = write_used(&self.ring, self.next_used, popped);
        self.in_flight -= slots;
        self.written_until(next, slots);
    }

    /// Completes chains into which nothing was written, behind what is staged, and writes that into the ring.
    #[inline]
    pub(crate) fn flush_unwritten(&mut self, heads: impl Iterator<Item = Head>) {
        if !self.features.in_order {
            return self.flush_all(heads.map(|head| (head, 0)));
        }
        let all = heads.reduce(|all, head| Head::new(head.id(), all.slots() + head.slots()));
        self.flush_all(all.map(|all| (all, 0)).into_iter());
    }

    /// Used descriptors of `slots` descriptors were written, up to `next`.
    #[inline]
    fn written_until(&mut self, next: Cursor, slots: u16) {
        if self.mem.logs() {
            self.mark(self.ring.ranges(self.next_used, slots));
        }
        self.next_used = next;
        self.unannounced = self.unannounced.saturating_add(slots);
    }

    /// Publishes staged completions; true: the driver wants a notification.
    pub(crate) fn publish(&mut self) -> bool {
        self.flush();
        let slots = std::mem::take(&mut self.unannounced);
        if slots == 0 {
            return false;
        }
        // Used descriptors must be visible before the driver's wish is read, or both sides go to sleep.
        fence(Ordering::SeqCst);
        let event = self.ring.driver_event();
        event.is_due(self.next_used, slots, self.ring.size)
    }

    /// Tells the driver not to kick.
    pub(crate) fn suppress_kicks(&mut self) {
        self.set_event(Event::Disable);
    }

    /// Asks for kicks again; true: more became available meanwhile.
    pub(crate) fn arm_kicks(&mut self) -> bool {
        if self.fault.is_some() {
            return false;
        }
        self.set_event(if self.features.event_idx {
            Event::Desc(self.next_avail)
        } else {
            Event::Enable
        });
        // The wish must be visible before the descriptor is read again, or a kick is lost.
        fence(Ordering::SeqCst);
        let word = self.ring.load(self.next_avail.index());
        word.is_available(self.next_avail.wrap())
    }

    fn set_event(&self, event: Event) {
        self.ring.set_device_event(event);
        if self.mem.logs() {
            self.mark([self.ring.device_area()]);
        }
    }

    #[cold]
    fn mark<const N: usize>(&self, ranges: [(std::ptr::NonNull<u8>, u64); N]) {
        for (host, len) in ranges {
            self.mem.mark_host(host, len);
        }
    }

    /// Where the ring stands; popped chains not completed count as not fetched, completions not written as not made.
    pub(crate) fn position(&self) -> RingPosition {
        let size = self.ring.size;
        RingPosition {
            next_avail: self.next_avail.before(self.in_flight, size).encode(),
            next_used: self.next_used.encode(),
        }
    }

    pub(crate) fn memory(&self) -> &Arc<MemoryMap> {
        &self.mem
    }

    #[inline]
    pub(crate) fn fault(&self) -> Option<QueueFault> {
        self.fault
    }

    pub(crate) fn size(&self) -> u16 {
        self.ring.size
    }
}

/// Writes used descriptors from `at` on, in the order of the ring: see above what the first one written last would do. Returns where
/// the next one goes.
#[inline]
fn write_used(ring: &Ring, mut at: Cursor, chains: impl Iterator<Item = (Head, u32)>) -> Cursor {
    for (head, written) in chains {
        // 2.8.6: WRITE says that `len` counts.
        let wrote = if written > 0 { DESC_F_WRITE } else { 0 };
        let slots = head.slots();
        let used = |at: Cursor| Word {
            len: written,
            id: head.id(),
            flags: Word::used_flags(at.wrap()) | wrote,
        };
        if slots > 1 {
            // Before the driver owns it.
            let last = at.after(slots - 1, ring.size);
            ring.store_whole(last.index(), slots.into(), used(last));
        }
        ring.store_whole(at.index(), slots.into(), used(at));
        at = at.after(slots, ring.size);
    }
    at
}
