//! The areas of a ring in guest memory: resolved and checked once, when the ring is set up.

use std::ptr::NonNull;

use crate::{MemoryMap, QueueFault};

/// Entries at most (virtio 1.2, 2.7 and 2.8).
pub(crate) const MAX_SIZE: u16 = 32768;

/// Where `len` bytes at `addr` are, aligned to `align` and all in one region.
pub(crate) fn area(
    mem: &MemoryMap,
    addr: u64,
    len: usize,
    align: u64,
) -> Result<NonNull<u8>, QueueFault> {
    if !addr.is_multiple_of(align) {
        return Err(QueueFault::Misaligned(addr));
    }
    let host = mem
        .contiguous(addr, len as u64)
        .ok_or(QueueFault::RingUnmapped(addr))?;
    // Mappings are page-aligned at both ends, so an aligned guest address is an aligned host address.
    if (host.as_ptr() as u64).is_multiple_of(align) {
        Ok(host)
    } else {
        Err(QueueFault::Misaligned(addr))
    }
}

/// Whether a peer that asked to hear of `event` must be told when the index goes from `old` to `new` (2.7.7.1, 2.7.10.1, 2.8.14).
#[inline]
pub(crate) fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
