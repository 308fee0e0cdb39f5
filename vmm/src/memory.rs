//! Guest RAM on one sealed memfd, shared with vhost-user back-ends.

use std::{ffi::CStr, fs::File, io, sync::Arc};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use thiserror::Error;
use virtqueue::{MapError, MemoryMap};
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion, mmap::MmapRegionError,
};

use crate::layout::{HOLE_END, HOLE_START};

/// Hugepages are of this size; other sizes are not used.
const HUGEPAGE: u64 = 2 << 20;

/// Why there is no guest RAM.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// Not enough, too much, or an odd amount.
    #[error("guest memory of {0} bytes: it must be a multiple of 2 MiB, from 32 MiB to 128 GiB")]
    Size(u64),
    /// The memfd could not be made.
    #[error("cannot create guest memory of {size} bytes: {source}{}", hint(*.hugepages))]
    Create {
        /// Bytes asked for.
        size: u64,
        /// Whether hugepages were asked for.
        hugepages: bool,
        /// What the kernel says.
        source: io::Error,
    },
    /// It could not be mapped.
    #[error("cannot map guest memory: {message}{}", hint(*.hugepages))]
    Map {
        /// What failed.
        message: String,
        /// Whether hugepages were asked for.
        hugepages: bool,
    },
    /// Its own map was refused.
    #[error("cannot map guest memory for devices: {0}")]
    DeviceMap(#[from] MapError),
}

fn hint(hugepages: bool) -> &'static str {
    if hugepages {
        " (reserve 2 MiB pages first: echo N > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages)"
    } else {
        ""
    }
}

/// Guest RAM: below the 32-bit hole and, if larger, above 4 GiB.
#[derive(Debug, Clone)]
pub struct GuestRam {
    /// For the loader, KVM slots and the vhost-user memory table (regions carry their file offset).
    pub mmap: GuestMemoryMmap,
    /// The same mappings for device-side rings.
    pub map: Arc<MemoryMap>,
}

/// RAM ranges of a guest with `size` bytes: start and length.
pub fn ram_ranges(size: u64) -> Vec<(u64, u64)> {
    if size <= HOLE_START {
        vec![(0, size)]
    } else {
        vec![(0, HOLE_START), (HOLE_END, size - HOLE_START)]
    }
}

impl GuestRam {
    /// `size` bytes of zeroes, on 2 MiB pages if `hugepages`.
    pub fn new(size: u64, hugepages: bool) -> Result<Self, MemoryError> {
        if !(32 << 20..=128 << 30).contains(&size) || !size.is_multiple_of(HUGEPAGE) {
            return Err(MemoryError::Size(size));
        }
        let file = memfd(size, hugepages).map_err(|source| MemoryError::Create {
            size,
            hugepages,
            source,
        })?;
        let file = Arc::new(file);
        let failed = |message: String| MemoryError::Map { message, hugepages };
        let mut regions = Vec::new();
        let mut offset = 0;
        for (start, len) in ram_ranges(size) {
            let bytes = usize::try_from(len).map_err(|e| failed(e.to_string()))?;
            let backing = FileOffset::from_arc(Arc::clone(&file), offset);
            let region = map(backing, bytes, hugepages).map_err(|e| failed(e.to_string()))?;
            let region = GuestRegionMmap::new(region, GuestAddress(start))
                .ok_or_else(|| failed("the region wraps".to_owned()))?;
            regions.push(region);
            offset += len;
        }
        let mmap = GuestMemoryMmap::from_regions(regions).map_err(|e| failed(e.to_string()))?;
        let map = MemoryMap::from_guest_memory(1, &mmap)?;
        Ok(Self { mmap, map })
    }
}

/// `ram` and another `len` zeroed bytes at `start`, on a sealed memfd of their own. Back-ends see them; the guest does not, because KVM is
/// never told.
pub fn extend(ram: &GuestRam, start: u64, len: u64) -> Result<GuestRam, MemoryError> {
    let failed = |message: String| MemoryError::Map {
        message,
        hugepages: false,
    };
    let file = memfd(len, false).map_err(|source| MemoryError::Create {
        size: len,
        hugepages: false,
        source,
    })?;
    let bytes = usize::try_from(len).map_err(|e| failed(e.to_string()))?;
    let region = map(FileOffset::new(file, 0), bytes, false).map_err(|e| failed(e.to_string()))?;
    let region = GuestRegionMmap::new(region, GuestAddress(start))
        .ok_or_else(|| failed("the region wraps".to_owned()))?;
    let mmap = ram
        .mmap
        .insert_region(Arc::new(region))
        .map_err(|e| failed(e.to_string()))?;
    let map = MemoryMap::from_guest_memory(1, &mmap)?;
    Ok(GuestRam { mmap, map })
}

/// Maps hugepages with a reservation: without one, a shortage is a SIGBUS at the first access instead of an error here.
fn map(backing: FileOffset, bytes: usize, hugepages: bool) -> Result<MmapRegion, MmapRegionError> {
    if hugepages {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        MmapRegion::build(Some(backing), bytes, access, libc::MAP_SHARED)
    } else {
        MmapRegion::from_file(backing, bytes)
    }
}

/// A memfd that can neither shrink nor grow, so that a back-end may map it without fear of SIGBUS.
fn memfd(size: u64, hugepages: bool) -> io::Result<File> {
    const NAME: &CStr = c"guest-ram";
    let mut flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    if hugepages {
        flags |= MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB;
    }
    let file = File::from(memfd_create(NAME, flags)?);
    file.set_len(size)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::GuestMemoryBackend;

    #[test]
    fn ram_leaves_the_hole_free() {
        assert_eq!(ram_ranges(512 << 20), [(0, 512 << 20)]);
        assert_eq!(ram_ranges(HOLE_START), [(0, HOLE_START)]);
        assert_eq!(ram_ranges(4 << 30), [(0, HOLE_START), (HOLE_END, 1 << 30)]);
    }

    #[test]
    fn ram_above_4_gib_is_one_file_and_sealed() {
        let ram = GuestRam::new(4 << 30, false).unwrap();
        assert_eq!((ram.mmap.num_regions(), ram.map.region_count()), (2, 2));
        assert!(ram.map.write(HOLE_END, b"above"));
        let offset = ram.mmap.iter().nth(1).unwrap().get_mmap();
        let file = offset.file_offset().unwrap();
        assert_eq!(file.start(), HOLE_START);
        assert!(file.file().set_len(4096).is_err(), "sealed");
    }

    #[test]
    fn too_few_hugepages_are_an_error_that_tells_how_to_reserve_them() {
        // More than any test machine has.
        let error = GuestRam::new(128 << 30, true).unwrap_err();
        assert!(error.to_string().contains("nr_hugepages"), "{error}");
    }

    #[test]
    fn odd_sizes_are_refused() {
        for size in [0, 1 << 20, (64 << 20) + 4096, 1 << 40] {
            assert!(
                matches!(GuestRam::new(size, false), Err(MemoryError::Size(_))),
                "{size}"
            );
        }
    }
}
