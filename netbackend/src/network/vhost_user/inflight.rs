//! INFLIGHT_SHMFD: memory that a front-end keeps for the next back-end, to tell what this one had in flight
//! (vhost-user.rst, "Inflight I/O tracking").
//!
//! Rings are completed in order, so what was in flight when a back-end died is what the used ring does not show yet:
//! the next one goes on there. The region says so by saying nothing: its header is written once, and no chain is ever
//! recorded, which leaves a successor of any make with "resubmit nothing, go on at `used_idx`" of a split ring, at the base
//! of a packed one (ours looks into the ring itself: `DeviceQueue::used_index_in_memory`). It costs the datapath nothing.
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use std::{fs::File, io, os::unix::fs::FileExt};
use thiserror::Error;
use vhost::vhost_user::message::VhostUserInflight;
use virtqueue::RingFeatures;

const VERSION_AT: u64 = 8;
const VERSION: u16 = 1;
/// `used_wrap_counter` and `old_used_wrap_counter` of a packed queue's header.
const WRAP_COUNTERS_AT: u64 = 20;
/// The longest entry.
const MAX_ENTRY: usize = 32;
/// Virtio 1.2, 2.7: the largest queue.
const MAX_QUEUE_SIZE: u16 = 32_768;
/// Entries that are read at a time.
const BATCH: usize = 256;

/// Why a region was refused.
#[derive(Debug, Error)]
pub(super) enum InflightError {
    #[error("a region for {queues} queues of {size} chains; there are {rings} rings")]
    Shape {
        queues: u16,
        size: u16,
        rings: usize,
    },
    #[error("{len} bytes at {offset:#x} are not enough for {needed}, or more than there are")]
    Size { len: u64, offset: u64, needed: u64 },
    #[error("version {0} of the region is not known")]
    Version(u16),
    #[error(
        "{0} chains of ring {1} are in flight by the region: a back-end that completes out of order left them, \
         and only one of its kind can go on"
    )]
    Recorded(usize, u16),
    #[error("access it: {0}")]
    Io(#[from] io::Error),
}

impl From<nix::Error> for InflightError {
    fn from(error: nix::Error) -> Self {
        Self::Io(error.into())
    }
}

/// How a queue's part is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    packed: bool,
    header: u64,
    /// Bytes of what is kept of a chain; the first byte says whether it is in flight.
    entry: usize,
}

impl Layout {
    /// `struct QueueRegionSplit` up to its descriptors: features u64, version u16, desc_num u16, last_batch_head u16,
    /// used_idx u16; and `struct DescStateSplit`.
    const SPLIT: Self = Self {
        packed: false,
        header: 16,
        entry: 16,
    };
    /// `struct QueueRegionPacked`: features u64, version u16, desc_num u16, free_head u16, old_free_head u16, used_idx u16,
    /// old_used_idx u16, used_wrap_counter u8, old_used_wrap_counter u8, padding; and `struct DescStatePacked`.
    const PACKED: Self = Self {
        packed: true,
        header: 32,
        entry: MAX_ENTRY,
    };

    pub(super) fn of(features: RingFeatures) -> Self {
        if features.packed {
            Self::PACKED
        } else {
            Self::SPLIT
        }
    }

    /// Bytes of one queue's part.
    fn queue_len(self, size: u16) -> u64 {
        self.header + self.entry as u64 * u64::from(size)
    }

    /// Makes a part of zeros one that nobody has recorded anything in.
    fn write_header(self, file: &File, at: u64, size: u16) -> io::Result<()> {
        let [v0, v1] = VERSION.to_le_bytes();
        let [s0, s1] = size.to_le_bytes();
        file.write_all_at(&[v0, v1, s0, s1], at + VERSION_AT)?;
        if self.packed {
            file.write_all_at(&[1, 1], at + WRAP_COUNTERS_AT)?;
        }
        Ok(())
    }
}

fn check_shape(
    asked: &VhostUserInflight,
    layout: Layout,
    rings: usize,
) -> Result<u64, InflightError> {
    let (queues, size) = (asked.num_queues, asked.queue_size);
    if queues == 0 || usize::from(queues) > rings || size == 0 || size > MAX_QUEUE_SIZE {
        return Err(InflightError::Shape {
            queues,
            size,
            rings,
        });
    }
    Ok(layout.queue_len(size) * u64::from(queues))
}

/// GET_INFLIGHT_FD: a fresh region of the asked shape, which cannot shrink.
pub(super) fn create(
    asked: &VhostUserInflight,
    layout: Layout,
    rings: usize,
) -> Result<(VhostUserInflight, File), InflightError> {
    let len = check_shape(asked, layout, rings)?;
    let flags = MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC;
    let file = File::from(memfd_create(c"vhost-inflight", flags)?);
    file.set_len(len)?;
    for queue in 0..u64::from(asked.num_queues) {
        let at = queue * layout.queue_len(asked.queue_size);
        layout.write_header(&file, at, asked.queue_size)?;
    }
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    let region = VhostUserInflight::new(len, 0, asked.num_queues, asked.queue_size);
    Ok((region, file))
}

/// SET_INFLIGHT_FD: whether what the last back-end left can be gone on with. It is only read, never mapped: its owner
/// may truncate it at any time.
pub(super) fn adopt(
    region: &VhostUserInflight,
    file: &File,
    layout: Layout,
    rings: usize,
) -> Result<(), InflightError> {
    let needed = check_shape(region, layout, rings)?;
    let (len, offset) = (region.mmap_size, region.mmap_offset);
    let end = offset.checked_add(len);
    if len < needed || end.is_none_or(|end| end > file.metadata().map_or(0, |file| file.len())) {
        return Err(InflightError::Size {
            len,
            offset,
            needed,
        });
    }
    (0..region.num_queues).try_for_each(|queue| {
        let at = offset + u64::from(queue) * layout.queue_len(region.queue_size);
        adopt_queue(file, layout, at, (queue, region.queue_size))
    })
}

fn adopt_queue(
    file: &File,
    layout: Layout,
    at: u64,
    (queue, size): (u16, u16),
) -> Result<(), InflightError> {
    let mut version = [0; 2];
    file.read_exact_at(&mut version, at + VERSION_AT)?;
    match u16::from_le_bytes(version) {
        // Nobody has used it yet.
        0 => layout.write_header(file, at, size)?,
        VERSION => {}
        other => return Err(InflightError::Version(other)),
    }
    match recorded(file, layout, at, size)? {
        0 => Ok(()),
        chains => Err(InflightError::Recorded(chains, queue)),
    }
}

/// How many chains are in flight by the region.
fn recorded(file: &File, layout: Layout, queue: u64, size: u16) -> io::Result<usize> {
    let mut at = queue + layout.header;
    let mut buffer = [0; BATCH * MAX_ENTRY];
    let mut left = usize::from(size);
    let mut chains = 0;
    while left > 0 {
        let batch = left.min(BATCH);
        let bytes = buffer.get_mut(..batch * layout.entry).unwrap_or_default();
        file.read_exact_at(bytes, at)?;
        chains += bytes
            .chunks_exact(layout.entry)
            .filter(|e| e.first() == Some(&1))
            .count();
        at += bytes.len() as u64;
        left -= batch;
    }
    Ok(chains)
}

#[cfg(test)]
#[path = "inflight_test.rs"]
mod tests;
