//! INFLIGHT_SHMFD: memory that a front-end keeps for the next back-end, to tell what this one had in flight
//! (vhost-user.rst, "Inflight I/O tracking").
//!
//! Rings are completed in order, so what was in flight when a back-end died is what the used ring does not show yet:
//! the next one goes on there. The region says so by saying nothing: its header is written once, and no chain is ever
//! recorded, which leaves a successor of any make with "resubmit nothing, go on at `used_idx`". It costs the
//! datapath nothing.
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use std::{fs::File, io, os::unix::fs::FileExt};
use thiserror::Error;
use vhost::vhost_user::message::VhostUserInflight;

/// `struct QueueRegionSplit` up to its descriptors: features u64, version u16, desc_num u16, last_batch_head u16,
/// used_idx u16.
const HEADER_LEN: u64 = 16;
const VERSION_AT: u64 = 8;
const VERSION: u16 = 1;
/// `struct DescStateSplit`; its first byte says whether the chain with this head is in flight.
const ENTRY: usize = 16;
const ENTRY_LEN: u64 = ENTRY as u64;
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

/// Bytes of one queue's part.
fn queue_len(size: u16) -> u64 {
    HEADER_LEN + ENTRY_LEN * u64::from(size)
}

fn check_shape(asked: &VhostUserInflight, rings: usize) -> Result<u64, InflightError> {
    let (queues, size) = (asked.num_queues, asked.queue_size);
    if queues == 0 || usize::from(queues) > rings || size == 0 || size > MAX_QUEUE_SIZE {
        return Err(InflightError::Shape {
            queues,
            size,
            rings,
        });
    }
    Ok(queue_len(size) * u64::from(queues))
}

fn header(size: u16) -> [u8; 4] {
    let [v0, v1] = VERSION.to_le_bytes();
    let [s0, s1] = size.to_le_bytes();
    [v0, v1, s0, s1]
}

/// GET_INFLIGHT_FD: a fresh region of the asked shape, which cannot shrink.
pub(super) fn create(
    asked: &VhostUserInflight,
    rings: usize,
) -> Result<(VhostUserInflight, File), InflightError> {
    let len = check_shape(asked, rings)?;
    let flags = MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC;
    let file = File::from(memfd_create(c"vhost-inflight", flags)?);
    file.set_len(len)?;
    for queue in 0..u64::from(asked.num_queues) {
        let at = queue * queue_len(asked.queue_size) + VERSION_AT;
        file.write_all_at(&header(asked.queue_size), at)?;
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
    rings: usize,
) -> Result<(), InflightError> {
    let needed = check_shape(region, rings)?;
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
        let at = offset + u64::from(queue) * queue_len(region.queue_size);
        adopt_queue(file, at, queue, region.queue_size)
    })
}

fn adopt_queue(file: &File, at: u64, queue: u16, size: u16) -> Result<(), InflightError> {
    let mut version = [0; 2];
    file.read_exact_at(&mut version, at + VERSION_AT)?;
    match u16::from_le_bytes(version) {
        // Nobody has used it yet.
        0 => file.write_all_at(&header(size), at + VERSION_AT)?,
        VERSION => {}
        other => return Err(InflightError::Version(other)),
    }
    match recorded(file, at + HEADER_LEN, size)? {
        0 => Ok(()),
        chains => Err(InflightError::Recorded(chains, queue)),
    }
}

/// How many chains are in flight by the region.
fn recorded(file: &File, mut at: u64, size: u16) -> io::Result<usize> {
    let mut buffer = [0; BATCH * ENTRY];
    let mut left = usize::from(size);
    let mut chains = 0;
    while left > 0 {
        let batch = left.min(BATCH);
        let bytes = buffer.get_mut(..batch * ENTRY).unwrap_or_default();
        file.read_exact_at(bytes, at)?;
        chains += bytes
            .chunks_exact(ENTRY)
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
