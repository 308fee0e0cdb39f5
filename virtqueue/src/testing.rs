//! Memory and rings for this crate's own tests.
use std::{fs::File, os::fd::FromRawFd, sync::Arc};

use crate::{
    DriverQueue, MemoryMap, QueueConfig, RegionSpec, RingFeatures, RingPosition, SealPolicy,
};

/// A memfd of `size` bytes.
#[expect(
    unsafe_code,
    reason = "memfd_create has no safe wrapper in this crate's dependencies"
)]
pub(crate) fn memfd(size: u64) -> File {
    // SAFETY: the name is a C string; the result is checked.
    let fd = unsafe { libc::memfd_create(c"virtqueue-test".as_ptr(), libc::MFD_ALLOW_SEALING) };
    assert!(fd >= 0, "memfd_create failed");
    // SAFETY: a fresh descriptor that nobody else owns.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(size).unwrap();
    file
}

/// A region that starts at `guest_addr` and at front-end address `guest_addr + 1 TiB`.
pub(crate) fn region(guest_addr: u64, size: u64) -> RegionSpec {
    RegionSpec {
        guest_addr,
        user_addr: guest_addr + (1 << 40),
        size,
        mmap_offset: 0,
        file: memfd(size),
    }
}

/// One region of `size` bytes at 0.
pub(crate) fn memory(size: u64) -> Arc<MemoryMap> {
    MemoryMap::map(1, vec![region(0, size)], SealPolicy::AllowUnsealed).unwrap()
}

/// A ring at the start of memory.
pub(crate) fn config(size: u16, features: RingFeatures, start: u16) -> QueueConfig {
    let (desc, avail, _) = DriverQueue::layout(size);
    let avail_at = desc as u64;
    let used_at = (avail_at + avail as u64).next_multiple_of(4);
    QueueConfig {
        size,
        desc: 0,
        avail: avail_at,
        used: used_at,
        features,
        position: RingPosition {
            next_avail: start,
            next_used: start,
        },
    }
}

/// A packed ring at the start of memory, at its start.
pub(crate) fn packed_config(size: u16, features: RingFeatures) -> QueueConfig {
    let (desc, driver, _) = DriverQueue::packed_layout(size);
    QueueConfig {
        size,
        desc: 0,
        avail: desc as u64,
        used: (desc + driver) as u64,
        features,
        position: RingPosition::PACKED_START,
    }
}

/// Numbers without a pattern, the same in every run (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap() % end
    }
}
