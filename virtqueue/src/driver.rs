//! Driver side of a split ring: for emulated NICs, traffic generators and tests.
use crate::{MemoryMap, QueueConfig, QueueFault};
use std::sync::Arc;

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
    /// Bytes written by the device.
    pub written: u32,
}

/// The driver's end of a split virtqueue.
#[derive(Debug)]
pub struct DriverQueue {}

impl DriverQueue {
    /// Resolves the ring areas and initialises them (zeroed rings, free descriptor list).
    pub fn new(_mem: Arc<MemoryMap>, _config: &QueueConfig) -> Result<Self, QueueFault> {
        todo!()
    }
    /// Bytes of desc, avail and used areas for `size` entries.
    pub fn layout(_size: u16) -> (usize, usize, usize) {
        todo!()
    }
    /// Adds a chain; false: not enough free descriptors (nothing was added).
    #[must_use]
    pub fn add(&mut self, _buffers: &[DriverBuffer], _token: u64) -> bool {
        todo!()
    }
    /// Adds a chain through an indirect table that the caller placed at `table` (guest physical, 16 bytes per buffer).
    #[must_use]
    pub fn add_indirect(&mut self, _table: u64, _buffers: &[DriverBuffer], _token: u64) -> bool {
        todo!()
    }
    /// Publishes added chains; true: the device wants a kick.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        todo!()
    }
    /// Next completed chain. A device that lies (bad id, index jump) latches a fault.
    pub fn poll_used(&mut self) -> Result<Option<Used>, QueueFault> {
        todo!()
    }
    /// Tells the device not to interrupt.
    pub fn suppress_calls(&mut self) {
        todo!()
    }
    /// Asks for interrupts again; true: completions arrived meanwhile.
    #[must_use]
    pub fn arm_calls(&mut self) -> bool {
        todo!()
    }
    /// Free descriptors.
    pub fn free(&self) -> u16 {
        todo!()
    }
}
