//! The driver's end of a virtqueue of either format: for emulated NICs, traffic generators and tests.

use std::sync::Arc;

use crate::{MemoryMap, QueueConfig, QueueFault, packed, split};

/// One buffer of a chain, by guest physical address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverBuffer {
    /// Guest physical address.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
    /// Device-writable.
    pub writable: bool,
}

/// A completed chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// What [`DriverQueue::add`] was given.
    pub token: u64,
    /// Bytes written by the device, as it says.
    pub written: u32,
}

/// The driver's end of a virtqueue. The device is not trusted: what is in flight is remembered in private memory, and a completion
/// that cannot be latches a fault.
#[derive(Debug)]
pub struct DriverQueue(Format);

#[derive(Debug)]
enum Format {
    Split(split::Driver),
    Packed(packed::Driver),
}

macro_rules! either {
    ($queue:expr, $ring:ident => $what:expr) => {
        match $queue {
            Format::Split($ring) => $what,
            Format::Packed($ring) => $what,
        }
    };
}

impl DriverQueue {
    /// Resolves the ring areas and initialises them (zeroed rings, free descriptor list). A packed ring always begins at its
    /// start.
    pub fn new(mem: Arc<MemoryMap>, config: &QueueConfig) -> Result<Self, QueueFault> {
        Ok(Self(if config.features.packed {
            Format::Packed(packed::Driver::new(mem, config)?)
        } else {
            Format::Split(split::Driver::new(mem, config)?)
        }))
    }

    /// Bytes of descriptor table, avail and used ring for `size` entries.
    pub fn layout(size: u16) -> (usize, usize, usize) {
        split::area_sizes(size)
    }

    /// Bytes of a packed ring of `size` entries and its event suppression areas, the driver's and the device's.
    pub fn packed_layout(size: u16) -> (usize, usize, usize) {
        packed::area_sizes(size)
    }

    /// Adds a chain; false: not enough free descriptors, or no buffer (nothing was added).
    #[must_use]
    #[inline]
    pub fn add(&mut self, buffers: &[DriverBuffer], token: u64) -> bool {
        either!(&mut self.0, ring => ring.add(buffers, token))
    }

    /// Adds a chain through an indirect table that the caller placed at `table` (guest physical, 16 bytes per buffer). False: no
    /// free descriptor, no buffer, or the table is not mapped.
    #[must_use]
    pub fn add_indirect(&mut self, table: u64, buffers: &[DriverBuffer], token: u64) -> bool {
        either!(&mut self.0, ring => ring.add_indirect(table, buffers, token))
    }

    /// Publishes added chains; true: the device wants a kick.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        either!(&mut self.0, ring => ring.publish())
    }

    /// Next completed chain. A device that lies (bad id, more than it was given) latches a fault.
    #[inline]
    pub fn poll_used(&mut self) -> Result<Option<Used>, QueueFault> {
        either!(&mut self.0, ring => ring.poll_used())
    }

    /// Whether completions wait to be taken: a load, for who polls.
    #[inline]
    pub fn has_used(&self) -> bool {
        either!(&self.0, ring => ring.has_used())
    }

    /// Tells the device not to interrupt.
    pub fn suppress_calls(&mut self) {
        either!(&mut self.0, ring => ring.suppress_calls());
    }

    /// Asks for interrupts again; true: completions arrived meanwhile.
    #[must_use]
    pub fn arm_calls(&mut self) -> bool {
        either!(&mut self.0, ring => ring.arm_calls())
    }

    /// Free descriptors.
    pub fn free(&self) -> u16 {
        either!(&self.0, ring => ring.free())
    }
}
