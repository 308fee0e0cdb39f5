//! The memory of a made-up guest: one sealed memfd with two rings and their buffers.

use std::{fs::File, os::fd::AsRawFd, sync::Arc};

use anyhow::Context;
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use vhost::VhostUserMemoryRegionInfo;
use virtqueue::{MemoryMap, RegionSpec, SealPolicy};

/// Where the front-end claims to have it mapped.
pub(crate) const USER_BASE: u64 = 1 << 46;
/// Bytes between two rings.
pub(crate) const RING_AREA: u64 = 1 << 20;
/// Where the buffers of the first ring begin.
pub(crate) const BUFFERS: u64 = 2 << 20;
/// Sizes are whole pages of any kind.
const GRANULE: u64 = 2 << 20;

/// What guest memory consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pages {
    /// Pages of 4 KiB.
    #[default]
    Normal,
    /// Pages of 2 MiB, which the machine must have reserved.
    Huge,
}

/// Memory shared with a back-end.
#[derive(Debug)]
pub struct Memory {
    file: File,
    map: Arc<MemoryMap>,
    size: u64,
}

impl Memory {
    /// Zeroed memory with room for two rings and `buffers` bytes, sealed as a careful front-end does it.
    pub fn new(buffers: u64, pages: Pages) -> anyhow::Result<Self> {
        let size = (BUFFERS + buffers).next_multiple_of(GRANULE);
        let mut flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        if pages == Pages::Huge {
            flags |= MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB;
        }
        let file = File::from(memfd_create(c"vu-gen", flags).context("memfd_create")?);
        file.set_len(size).context("sizing guest memory")?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).context("sealing")?;
        let region = RegionSpec {
            guest_addr: 0,
            user_addr: USER_BASE,
            size,
            mmap_offset: 0,
            file: file.try_clone()?,
        };
        let map = MemoryMap::map(1, vec![region], SealPolicy::RequireSealed).with_context(|| {
            match pages {
                Pages::Normal => "mapping guest memory".to_owned(),
                Pages::Huge => format!(
                    "mapping guest memory: are {} huge pages of 2 MiB free (HugePages_Free in /proc/meminfo)?",
                    size / GRANULE
                ),
            }
        })?;
        Ok(Self { file, map, size })
    }

    /// The driver's view.
    pub fn map(&self) -> &Arc<MemoryMap> {
        &self.map
    }

    /// What SET_MEM_TABLE says of it.
    pub(crate) fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: self.size,
            userspace_addr: USER_BASE,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }
}
