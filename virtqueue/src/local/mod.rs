//! The driver's ends of two rings inside one process: for what joins a network without being a guest.
//!
//! Rings and buffers lie in memory that is mapped for them alone and that no other process sees. The device end is a
//! [`DeviceQueue`](crate::DeviceQueue) of the same process, on the [`LocalRing`] that comes with each end. It touches a
//! buffer only from the moment its chain is published until it is completed; in between the ends here touch none. So,
//! unlike anywhere else, frames are read and written in place, as slices.
#![expect(
    unsafe_code,
    reason = "slices of memory whose other user is known and keeps to the ring"
)]
mod receiver;
mod sender;

pub use receiver::LocalReceiver;
pub use sender::LocalSender;

use crate::{DriverQueue, MapError, MemoryMap, QueueConfig, QueueFault, RingFeatures};
use std::{ptr::NonNull, slice, sync::Arc};
use thiserror::Error;
use vm_memory::{GuestAddress, GuestMemoryMmap};

const PAGE: u64 = 4096;

/// What a device needs to serve the other end.
///
/// Only a device queue may use it: it is the one that keeps to the order of the ring.
#[derive(Debug, Clone)]
pub struct LocalRing {
    /// The memory of ring and buffers.
    pub memory: Arc<MemoryMap>,
    /// Where the ring lies in it.
    pub config: QueueConfig,
}

/// Why there is no local ring.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The memory cannot be had.
    #[error("memory of a local ring: {0}")]
    Memory(String),
    /// It cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The ring cannot be set up.
    #[error(transparent)]
    Ring(#[from] QueueFault),
}

/// A ring and one run of bytes for its buffers.
#[derive(Debug)]
struct Area {
    ring: LocalRing,
    /// Guest address of the first byte for buffers.
    start: u64,
    /// The same in this process; `ring.memory` keeps it mapped.
    host: NonNull<u8>,
    len: usize,
}

// SAFETY: `host` points into the mapping that `ring.memory` owns; who may use which bytes when does not depend on threads.
unsafe impl Send for Area {}

impl Area {
    /// A ring of `size` entries and `len` bytes for buffers.
    fn new(size: u16, len: usize) -> Result<Self, LocalError> {
        let (desc, avail, used) = DriverQueue::layout(size);
        let mut next = 0;
        let config = QueueConfig {
            size,
            desc: take(&mut next, desc as u64),
            avail: take(&mut next, avail as u64),
            used: take(&mut next, used as u64),
            features: RingFeatures {
                event_idx: true,
                indirect: false,
                in_order: true,
                packed: false,
            },
            ..QueueConfig::default()
        };
        let start = take(&mut next, len as u64);
        let total = usize::try_from(next).map_err(|error| LocalError::Memory(error.to_string()))?;
        let mapped = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), total)])
            .map_err(|error| LocalError::Memory(error.to_string()))?;
        let memory = MemoryMap::from_guest_memory(1, &mapped)?;
        let host = memory
            .contiguous(start, len as u64)
            .ok_or_else(|| LocalError::Memory("it is too short".into()))?;
        Ok(Self {
            ring: LocalRing { memory, config },
            start,
            host,
            len,
        })
    }

    fn queue(&self) -> Result<DriverQueue, QueueFault> {
        DriverQueue::new(Arc::clone(&self.ring.memory), &self.ring.config)
    }

    /// Guest address of the byte at `offset`.
    fn addr(&self, offset: usize) -> u64 {
        self.start + offset as u64
    }

    /// # Safety
    /// The range belongs to no chain that the device has, and to no other slice.
    unsafe fn bytes(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let host = self.at(offset, len)?;
        // SAFETY: `at` vouches for the range; nobody writes to it, by the caller's word.
        Some(unsafe { slice::from_raw_parts(host, len) })
    }

    /// # Safety
    /// The range belongs to no chain that the device has, and to no other slice.
    unsafe fn bytes_mut(&mut self, offset: usize, len: usize) -> Option<&mut [u8]> {
        let host = self.at(offset, len)?;
        // SAFETY: `at` vouches for the range; nobody else uses it, by the caller's word.
        Some(unsafe { slice::from_raw_parts_mut(host, len) })
    }

    /// Where a range lies, if it is within the bytes for buffers.
    fn at(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        (end <= self.len).then(|| self.host.as_ptr().wrapping_add(offset))
    }
}

/// The next `len` bytes, from a page boundary on.
fn take(next: &mut u64, len: u64) -> u64 {
    let start = *next;
    *next = (start + len).next_multiple_of(PAGE);
    start
}

#[cfg(test)]
#[path = "local_test.rs"]
mod tests;
