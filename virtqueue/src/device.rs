//! The device's end of a virtqueue of either format.

use std::sync::Arc;

use crate::{Burst, Head, MemoryMap, QueueConfig, QueueFault, RingPosition, packed, split};

/// The device's end of a virtqueue.
///
/// Chains are popped in bursts, validated, and completed strictly in the order in which they were popped, so that the ring can be
/// recovered from its memory alone. The first fault latches the queue: fetching ends, chains popped before may still be
/// completed, and nothing else of the device is touched. Without the latch a broken ring would report the same fault for ever.
#[derive(Debug)]
pub struct DeviceQueue(Format);

/// Which of the two it is, is looked at once per burst.
#[derive(Debug)]
enum Format {
    Split(split::Device),
    Packed(packed::Device),
}

macro_rules! either {
    ($queue:expr, $ring:ident => $what:expr) => {
        match $queue {
            Format::Split($ring) => $what,
            Format::Packed($ring) => $what,
        }
    };
}

impl DeviceQueue {
    /// Resolves and checks the three ring areas.
    pub fn new(mem: Arc<MemoryMap>, config: &QueueConfig) -> Result<Self, QueueFault> {
        Ok(Self(if config.features.packed {
            Format::Packed(packed::Device::new(mem, config)?)
        } else {
            Format::Split(split::Device::new(mem, config)?)
        }))
    }

    /// Appends up to `max` available chains to `burst` and returns their number. 0: none available, or the burst is full.
    /// A fault latches: chains before it are still returned, every later call returns the fault.
    pub fn pop_burst(&mut self, burst: &mut Burst, max: usize) -> Result<usize, QueueFault> {
        either!(&mut self.0, ring => ring.pop_burst(burst, max))
    }

    /// Whether there is something to pop, or a fault to be reported: a load, for who polls.
    #[inline]
    pub fn has_available(&self) -> bool {
        either!(&self.0, ring => ring.has_available())
    }

    /// Whether `count` chains may be there: a load at most. The index of a split ring tells; a packed ring has none, and says yes.
    #[inline]
    pub fn has_as_many(&self, count: u16) -> bool {
        match &self.0 {
            Format::Split(ring) => ring.has_as_many(count),
            Format::Packed(_) => true,
        }
    }

    /// For the time after a burst: looks at the chain that comes next and begins to load its buffer, which only the device touches until
    /// it is used. What is seen is a guess and is read again by [`Self::pop_burst`].
    pub fn foresee(&mut self) {
        either!(&mut self.0, ring => ring.foresee());
    }

    /// Begins to load what the next chain's pop reads and its completion writes, for the time in which something else has to be waited
    /// for.
    #[inline]
    pub fn prefetch(&self) {
        either!(&self.0, ring => ring.prefetch());
    }

    /// Gives back all but the oldest `keep` chains of `burst`, which must be the newest popped ones; they are forgotten there.
    pub fn unpop(&mut self, burst: &mut Burst, keep: usize) {
        let chains = burst.chains.get(keep..).unwrap_or_default();
        match &mut self.0 {
            Format::Split(ring) => ring.unpop(u16::try_from(chains.len()).unwrap_or(u16::MAX)),
            Format::Packed(ring) => ring.unpop(chains.iter().map(|c| c.head.slots()).sum()),
        }
        burst.truncate(keep);
    }

    /// Stages the completion of chain `head` with `written` bytes; chains complete in the order they were popped. Without a
    /// popped chain it does nothing.
    #[inline]
    pub fn complete(&mut self, head: Head, written: u32) {
        either!(&mut self.0, ring => ring.complete(head, written));
    }

    /// Stages the completion of the oldest chains of `burst`, as many as `written` has entries: the bytes written into each. They must be
    /// the oldest that were popped and not completed.
    #[inline]
    pub fn complete_written(&mut self, burst: &Burst, written: &[u32]) {
        let chains = burst.heads().zip(written.iter().copied());
        either!(&mut self.0, ring => ring.complete_all(chains));
    }

    /// Publishes staged completions; true: the driver wants a notification.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        either!(&mut self.0, ring => ring.publish())
    }

    /// Completes all chains of `burst`, into which nothing was written, and publishes.
    #[must_use]
    pub fn publish_all(&mut self, burst: &Burst) -> bool {
        let heads = burst.heads();
        match &mut self.0 {
            Format::Split(ring) => ring.complete_all(heads.map(|head| (head, 0))),
            Format::Packed(ring) => ring.flush_unwritten(heads),
        }
        self.publish()
    }

    /// As [`Self::complete_written`] and [`Self::publish`] do one after the other, without what a packed ring needs to keep completions
    /// back in between.
    #[must_use]
    pub fn publish_written(&mut self, burst: &Burst, written: &[u32]) -> bool {
        let chains = burst.heads().zip(written.iter().copied());
        match &mut self.0 {
            Format::Split(ring) => ring.complete_all(chains),
            Format::Packed(ring) => ring.flush_all(chains),
        }
        self.publish()
    }

    /// Tells the driver not to kick (while polling).
    pub fn suppress_kicks(&mut self) {
        either!(&mut self.0, ring => ring.suppress_kicks());
    }

    /// Asks for kicks again; true: more became available meanwhile, process before sleeping. A broken avail index counts as
    /// more: the next pop reports it.
    #[must_use]
    pub fn arm_kicks(&mut self) -> bool {
        either!(&mut self.0, ring => ring.arm_kicks())
    }

    /// Where the ring stands; popped chains not completed count as not fetched.
    pub fn position(&self) -> RingPosition {
        either!(&self.0, ring => ring.position())
    }

    /// Whether the memory that it lies in was truncated by its owner (see [`MemoryMap::is_truncated`]).
    pub fn memory_is_truncated(&self) -> bool {
        either!(&self.0, ring => ring.memory()).is_truncated()
    }

    /// The fault that latched this queue.
    #[inline]
    pub fn fault(&self) -> Option<QueueFault> {
        either!(&self.0, ring => ring.fault())
    }

    /// Entries.
    pub fn size(&self) -> u16 {
        either!(&self.0, ring => ring.size())
    }

    /// Where a ring whose chains complete in order goes on after a crash of the device: the used index in guest memory, or
    /// what the descriptors of a packed ring say, in the form of [`RingPosition::next_used`].
    pub fn used_index_in_memory(mem: &MemoryMap, config: &QueueConfig) -> Result<u16, QueueFault> {
        if config.features.packed {
            packed::position_in_memory(mem, config)
        } else {
            split::Device::used_index(mem, config)
        }
    }
}

#[cfg(test)]
#[path = "device_test.rs"]
mod tests;
