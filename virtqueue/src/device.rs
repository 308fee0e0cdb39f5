//! Device side of a split ring.
use crate::{Burst, MemoryMap, QueueConfig, QueueFault, RingPosition};
use std::sync::Arc;

/// The device's end of a split virtqueue.
#[derive(Debug)]
pub struct DeviceQueue {}

impl DeviceQueue {
    /// Resolves and checks the three ring areas.
    pub fn new(_mem: Arc<MemoryMap>, _config: &QueueConfig) -> Result<Self, QueueFault> {
        todo!()
    }
    /// Appends up to `max` available chains to `burst`. 0: none. A fault latches: chains before it are still returned, every later call
    /// returns the fault.
    pub fn pop_burst(&mut self, _burst: &mut Burst, _max: usize) -> Result<usize, QueueFault> {
        todo!()
    }
    /// Gives back the newest `count` popped and not completed chains, unprocessed; drop them from your burst too.
    pub fn unpop(&mut self, _count: u16) {
        todo!()
    }
    /// Stages the completion of chain `head` with `written` bytes; chains complete in the order they were popped.
    pub fn complete(&mut self, _head: u16, _written: u32) {
        todo!()
    }
    /// Publishes staged completions with one release store; true: the driver wants a notification.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        todo!()
    }
    /// Tells the driver not to kick (while polling).
    pub fn suppress_kicks(&mut self) {
        todo!()
    }
    /// Asks for kicks again; true: more became available meanwhile, process before sleeping.
    #[must_use]
    pub fn arm_kicks(&mut self) -> bool {
        todo!()
    }
    /// Where the ring stands; popped chains not completed count as not fetched.
    pub fn position(&self) -> RingPosition {
        todo!()
    }
    /// The fault that latched this queue.
    pub fn fault(&self) -> Option<QueueFault> {
        todo!()
    }
    /// Entries.
    pub fn size(&self) -> u16 {
        todo!()
    }
    /// The used index in guest memory, from which an in-order ring is recovered after a crash of the device.
    pub fn used_index_in_memory(
        _mem: &MemoryMap,
        _config: &QueueConfig,
    ) -> Result<u16, QueueFault> {
        todo!()
    }
}
