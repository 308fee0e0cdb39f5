//! The memory of a made-up guest: one sealed memfd with two rings and their buffers.

use std::{fs::File, os::fd::AsRawFd, sync::Arc};

use anyhow::Context;
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use vhost::VhostUserMemoryRegionInfo;
use virtqueue::{MemoryMap, RegionSpec, SealPolicy};

/// Bytes of a guest.
const SIZE: u64 = 128 << 20;
/// Where the front-end claims to have it mapped.
pub(crate) const USER_BASE: u64 = 1 << 46;
/// Bytes between two rings.
pub(crate) const RING_AREA: u64 = 1 << 20;
/// Where the buffers of the first ring begin.
pub(crate) const BUFFERS: u64 = 4 << 20;
/// Bytes for the buffers of one ring.
pub(crate) const BUFFER_AREA: u64 = 32 << 20;

/// Memory shared with a back-end.
#[derive(Debug)]
pub struct Memory {
    file: File,
    map: Arc<MemoryMap>,
}

impl Memory {
    /// Zeroed memory, sealed as a careful front-end does it.
    pub fn new() -> anyhow::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"vu-gen", flags).context("memfd_create")?);
        file.set_len(SIZE).context("sizing guest memory")?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).context("sealing")?;
        let region = RegionSpec {
            guest_addr: 0,
            user_addr: USER_BASE,
            size: SIZE,
            mmap_offset: 0,
            file: file.try_clone()?,
        };
        let map = MemoryMap::map(1, vec![region], SealPolicy::RequireSealed)?;
        Ok(Self { file, map })
    }

    /// The driver's view.
    pub fn map(&self) -> &Arc<MemoryMap> {
        &self.map
    }

    /// What SET_MEM_TABLE says of it.
    pub(crate) fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: SIZE,
            userspace_addr: USER_BASE,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }
}
