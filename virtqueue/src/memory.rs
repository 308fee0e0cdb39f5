//! The guest memory map: which host memory stands behind which guest physical address.
//!
//! A map is immutable. A change makes a new map with the next generation that shares the mappings that stay, so a datapath
//! thread can go on with the old one until it has acknowledged the new one, and nothing is unmapped under its hands.
#![expect(
    unsafe_code,
    reason = "host pointers into mappings that the map keeps alive"
)]

use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    ptr::NonNull,
    sync::Arc,
};

use thiserror::Error;
use vm_memory::{
    Address, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionMmap, MmapRegion,
};

use crate::{
    DirtyLog, backing,
    copy::{copy_from_guest, copy_to_guest},
    truncation::Watch,
};

/// Regions in one map at most, as many as QEMU and crate `vhost` know (CONFIGURE_MEM_SLOTS).
pub const MAX_REGIONS: usize = 509;

/// What a front-end says of one memory region.
#[derive(Debug)]
pub struct RegionSpec {
    /// Guest physical address of the first byte.
    pub guest_addr: u64,
    /// Address of the first byte in the front-end's own address space (ring addresses come in it).
    pub user_addr: u64,
    /// Bytes.
    pub size: u64,
    /// Offset of the first byte in `file`.
    pub mmap_offset: u64,
    /// The shared memory.
    pub file: File,
}

/// What is asked of a region's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SealPolicy {
    /// Any file large enough.
    #[default]
    AllowUnsealed,
    /// Only memfds sealed against shrinking.
    RequireSealed,
}

/// Why a memory map was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MapError {
    /// A region of no bytes.
    #[error("memory region at {0:#x} is empty")]
    Empty(u64),
    /// Address plus size does not fit in 64 bits.
    #[error("memory region at {0:#x} wraps around the address space")]
    Overflow(u64),
    /// Address, size or file offset is no multiple of the page size.
    #[error("memory region at {0:#x} is not page-aligned")]
    Misaligned(u64),
    /// Two regions claim the same guest or front-end address.
    #[error("memory regions at {0:#x} and {1:#x} overlap")]
    Overlap(u64, u64),
    /// Touching the end of the region would raise SIGBUS.
    #[error("memory region at {addr:#x} needs {needed} bytes of its file, which has {actual}")]
    FileTooShort {
        /// Guest address of the region.
        addr: u64,
        /// Offset plus size.
        needed: u64,
        /// Length of the file.
        actual: u64,
    },
    /// The file could shrink and the policy forbids that.
    #[error("file of memory region at {0:#x} is not sealed against shrinking (F_SEAL_SHRINK)")]
    NotSealed(u64),
    /// A page of the file may never come: a program or another machine serves it.
    #[error(
        "file of memory region at {0:#x} is on FUSE or a network file system; take a memfd, or a file on tmpfs or hugetlbfs"
    )]
    Served(u64),
    /// More regions than [`MAX_REGIONS`].
    #[error("more than {MAX_REGIONS} memory regions")]
    TooMany,
    /// The dirty log has no bits for the end of memory.
    #[error("the dirty log ends at guest address {end:#x}, memory at {needed:#x}")]
    LogTooSmall {
        /// First address without a bit.
        end: u64,
        /// First address behind the last region.
        needed: u64,
    },
    /// No region has exactly these coordinates.
    #[error("no memory region at {0:#x} of this size and front-end address")]
    NoSuchRegion(u64),
    /// The kernel refused to stat or map the file.
    #[error("mapping the memory region at {addr:#x} failed: {message}")]
    Mmap {
        /// Guest address of the region.
        addr: u64,
        /// What failed.
        message: String,
    },
}

/// One mapped region.
#[derive(Debug, Clone)]
struct Region {
    guest_addr: u64,
    user_addr: u64,
    size: u64,
    host: NonNull<u8>,
    /// Keeps the mapping alive; shared between generations.
    backing: Arc<Backing>,
}

/// A mapping. Fields are dropped in this order.
#[derive(Debug)]
struct Backing {
    /// Absent for a VMM's own memory, which nobody else truncates.
    watch: Option<Watch>,
    mapping: GuestRegionMmap,
}

// SAFETY: `host` points into a shared mapping that `backing` keeps alive; it is only dereferenced through raw copies and
// atomics, never through references, so that sharing it between threads adds nothing to what the guest does anyway.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn same_place(&self, guest_addr: u64, user_addr: u64, size: u64) -> bool {
        self.guest_addr == guest_addr && self.user_addr == user_addr && self.size == size
    }
}

/// An immutable map from guest physical addresses to host memory, sorted by guest address.
#[derive(Debug)]
pub struct MemoryMap {
    generation: u64,
    regions: Box<[Region]>,
    log: Option<Arc<DirtyLog>>,
}

impl MemoryMap {
    /// Maps `regions` (any order) after checking size, overflow, overlap, alignment, file length and seals.
    pub fn map(
        generation: u64,
        regions: Vec<RegionSpec>,
        seal: SealPolicy,
    ) -> Result<Arc<Self>, MapError> {
        let mapped = regions
            .into_iter()
            .map(|r| map_region(r, seal))
            .collect::<Result<Vec<_>, _>>()?;
        Self::assemble(generation, mapped, None)
    }

    /// Shares the mappings of a VMM's own guest memory; the user address of a region is its host address.
    pub fn from_guest_memory(
        generation: u64,
        mem: &GuestMemoryMmap,
    ) -> Result<Arc<Self>, MapError> {
        let mut regions = Vec::with_capacity(mem.num_regions());
        for region in mem.iter() {
            let addr = region.start_addr().raw_value();
            let mapping = region.get_mmap();
            let backing = GuestRegionMmap::with_arc(mapping, region.start_addr())
                .ok_or(MapError::Overflow(addr))?;
            regions.push(Region::of(backing, None, None)?);
        }
        Self::assemble(generation, regions, None)
    }

    /// A new map (generation + 1) of the same mappings that marks what is written through it in `log`, or in none.
    ///
    /// # Errors
    /// The log is too small for the memory.
    pub fn with_log(&self, log: Option<Arc<DirtyLog>>) -> Result<Arc<Self>, MapError> {
        let generation = self.generation.wrapping_add(1);
        Self::assemble(generation, self.regions.to_vec(), log)
    }

    /// A new map (generation + 1) with one region more; existing mappings are shared.
    pub fn with_region(&self, region: RegionSpec, seal: SealPolicy) -> Result<Arc<Self>, MapError> {
        let mut regions = self.regions.to_vec();
        regions.push(map_region(region, seal)?);
        Self::assemble(self.generation.wrapping_add(1), regions, self.log.clone())
    }

    /// A new map (generation + 1) without the region of exactly these coordinates.
    pub fn without_region(
        &self,
        guest_addr: u64,
        user_addr: u64,
        size: u64,
    ) -> Result<Arc<Self>, MapError> {
        let mut regions = self.regions.to_vec();
        let index = regions
            .iter()
            .position(|r| r.same_place(guest_addr, user_addr, size))
            .ok_or(MapError::NoSuchRegion(guest_addr))?;
        regions.remove(index);
        Self::assemble(self.generation.wrapping_add(1), regions, self.log.clone())
    }

    /// Whether exactly this region is mapped already, from this place of the same file.
    pub fn has(&self, region: &RegionSpec) -> bool {
        let there = self
            .regions
            .iter()
            .find(|r| r.same_place(region.guest_addr, region.user_addr, region.size));
        let file = there.and_then(|r| r.backing.mapping.file_offset());
        file.is_some_and(|mapped| {
            mapped.start() == region.mmap_offset && is_same_file(mapped.file(), &region.file)
        })
    }

    /// Whether no byte of such a region is mapped, neither for the guest nor for the front-end; one that wraps is never clear.
    pub fn is_clear(&self, guest_addr: u64, user_addr: u64, size: u64) -> bool {
        let disjoint = |start: u64, other: u64, other_size: u64| {
            start.checked_add(size).is_some_and(|end| {
                end <= other || other.checked_add(other_size).is_some_and(|e| e <= start)
            })
        };
        self.regions.iter().all(|r| {
            disjoint(guest_addr, r.guest_addr, r.size) && disjoint(user_addr, r.user_addr, r.size)
        })
    }

    fn assemble(
        generation: u64,
        mut regions: Vec<Region>,
        log: Option<Arc<DirtyLog>>,
    ) -> Result<Arc<Self>, MapError> {
        if regions.len() > MAX_REGIONS {
            return Err(MapError::TooMany);
        }
        regions.sort_by_key(|r| r.user_addr);
        refuse_overlap(&regions, |r| r.user_addr)?;
        regions.sort_by_key(|r| r.guest_addr);
        refuse_overlap(&regions, |r| r.guest_addr)?;
        if let (Some(log), Some(last)) = (&log, regions.last()) {
            let (end, needed) = (log.end(), last.guest_addr + last.size);
            if end < needed {
                return Err(MapError::LogTooSmall { end, needed });
            }
        }
        Ok(Arc::new(Self {
            generation,
            regions: regions.into_boxed_slice(),
            log,
        }))
    }

    /// Whether a file behind it was found shorter than when it was mapped; what is read from it since means nothing.
    pub fn is_truncated(&self) -> bool {
        let mut watches = self.regions.iter().filter_map(|r| r.backing.watch.as_ref());
        watches.any(Watch::is_truncated)
    }

    /// Whether writes are marked in a dirty log.
    #[inline]
    pub fn logs(&self) -> bool {
        self.log.is_some()
    }

    /// Marks `len` bytes at `host`, which lie in one region, as written. For those that write through host addresses.
    #[cold]
    pub(crate) fn mark_host(&self, host: NonNull<u8>, len: u64) {
        let Some(log) = &self.log else { return };
        let region = self.regions.iter().find_map(|r| {
            let offset = (host.as_ptr() as u64).wrapping_sub(r.host.as_ptr() as u64);
            (offset < r.size).then_some((r, offset))
        });
        if let Some((region, offset)) = region {
            log.mark(region.guest_addr + offset, len);
        }
    }

    /// Grows by one with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Number of regions.
    pub fn region_count(&self) -> usize {
        self.regions.len()
    }

    /// Front-end virtual address to guest physical address.
    pub fn user_to_guest(&self, user_addr: u64) -> Option<u64> {
        self.regions.iter().find_map(|r| {
            let offset = user_addr.checked_sub(r.user_addr)?;
            (offset < r.size).then(|| r.guest_addr + offset)
        })
    }

    /// Whether all of `len` bytes from `guest_addr` on are mapped (they may cross adjacent regions).
    pub fn contains(&self, guest_addr: u64, len: u64) -> bool {
        self.is_mapped(guest_addr, len)
    }

    /// Copies `dst.len()` bytes from guest memory (may cross adjacent regions); false: not all of the range is mapped.
    #[must_use]
    pub fn read(&self, guest_addr: u64, dst: &mut [u8]) -> bool {
        if !self.is_mapped(guest_addr, dst.len() as u64) {
            return false;
        }
        let mut addr = guest_addr;
        let mut rest = dst;
        while !rest.is_empty() {
            let Some((host, len)) = self.span(addr, rest.len() as u64) else {
                return false;
            };
            let (now, later) =
                rest.split_at_mut(usize::try_from(len).unwrap_or(usize::MAX).min(rest.len()));
            // SAFETY: `span` vouches for `now.len()` bytes behind `host`, mapped while `self` lives.
            unsafe { copy_from_guest(host, now) };
            addr = addr.wrapping_add(len);
            rest = later;
        }
        true
    }

    /// Copies `src` to guest memory; false: not all of the range is mapped (then nothing was written).
    #[must_use]
    pub fn write(&self, guest_addr: u64, src: &[u8]) -> bool {
        if !self.is_mapped(guest_addr, src.len() as u64) {
            return false;
        }
        let mut addr = guest_addr;
        let mut rest = src;
        while !rest.is_empty() {
            let Some((host, len)) = self.span(addr, rest.len() as u64) else {
                return false;
            };
            let (now, later) =
                rest.split_at(usize::try_from(len).unwrap_or(usize::MAX).min(rest.len()));
            // SAFETY: `span` vouches for `now.len()` bytes behind `host`, mapped while `self` lives.
            unsafe { copy_to_guest(now, host) };
            if let Some(log) = &self.log {
                log.mark(addr, len);
            }
            addr = addr.wrapping_add(len);
            rest = later;
        }
        true
    }

    /// Begins to load the cache line at `guest_addr`, to be written. A hint: nothing comes of it beyond the memory.
    #[inline]
    pub fn prefetch_for_write(&self, guest_addr: u64) {
        if let Some((host, _)) = self.span(guest_addr, 1) {
            crate::copy::prefetch_for_write(host, 1);
        }
    }

    /// The host address of `guest_addr` and how many of `len` bytes follow it in the same region.
    #[inline]
    pub(crate) fn span(&self, guest_addr: u64, len: u64) -> Option<(NonNull<u8>, u64)> {
        let region = self.region_of(guest_addr)?;
        let offset = guest_addr - region.guest_addr;
        let host = region
            .host
            .as_ptr()
            .wrapping_add(usize::try_from(offset).ok()?);
        Some((NonNull::new(host)?, len.min(region.size - offset)))
    }

    /// The host address of a range that lies within one region.
    #[inline]
    pub(crate) fn contiguous(&self, guest_addr: u64, len: u64) -> Option<NonNull<u8>> {
        let (host, covered) = self.span(guest_addr, len)?;
        (covered == len).then_some(host)
    }

    #[cold]
    fn window(&self, guest_addr: u64) -> Option<Window> {
        let region = self.region_of(guest_addr)?;
        Some(Window {
            guest_addr: region.guest_addr,
            size: region.size,
            host: region.host,
        })
    }

    #[inline]
    fn region_of(&self, guest_addr: u64) -> Option<&Region> {
        // Few regions, and the one that holds nearly all RAM is usually the last one below or the first above 4 GiB: a scan
        // beats a search for the sizes that guests have; beyond eight the search wins.
        let inside = |r: &&Region| guest_addr.wrapping_sub(r.guest_addr) < r.size;
        if self.regions.len() <= 8 {
            return self.regions.iter().find(inside);
        }
        let after = self.regions.partition_point(|r| r.guest_addr <= guest_addr);
        self.regions.get(after.checked_sub(1)?).filter(inside)
    }

    fn is_mapped(&self, guest_addr: u64, len: u64) -> bool {
        let mut addr = guest_addr;
        let mut rest = len;
        while rest > 0 {
            let Some((_, covered)) = self.span(addr, rest) else {
                return false;
            };
            rest -= covered;
            match addr.checked_add(covered) {
                Some(next) => addr = next,
                None => return rest == 0,
            }
        }
        true
    }
}

/// The region that was found last. The buffers of a ring mostly lie in one: it is looked at first. Good for as long as the map is that it
/// was filled from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    guest_addr: u64,
    size: u64,
    host: NonNull<u8>,
}

// SAFETY: as the map that it was filled from, which whoever holds it holds too.
unsafe impl Send for Window {}

impl Window {
    /// Of no region yet.
    pub(crate) const NONE: Self = Self {
        guest_addr: 0,
        size: 0,
        host: NonNull::dangling(),
    };

    /// The host address of `len` bytes, not none, that lie within one region of `mem`.
    #[inline]
    pub(crate) fn find(
        &mut self,
        mem: &MemoryMap,
        guest_addr: u64,
        len: u32,
    ) -> Option<NonNull<u8>> {
        let mut offset = guest_addr.wrapping_sub(self.guest_addr);
        if offset >= self.size {
            *self = mem.window(guest_addr)?;
            offset = guest_addr - self.guest_addr;
        }
        if len == 0 || u64::from(len) > self.size - offset {
            return None;
        }
        // Below the size of a mapping.
        let offset = usize::try_from(offset).ok()?;
        // SAFETY: `offset` is inside the region.
        Some(unsafe { self.host.add(offset) })
    }
}

impl Region {
    /// `user_addr`: `None` for the host address itself.
    fn of(
        backing: GuestRegionMmap,
        user_addr: Option<u64>,
        watch: Option<Watch>,
    ) -> Result<Self, MapError> {
        let guest_addr = backing.start_addr().raw_value();
        let pointer = backing.get_mmap().as_ptr();
        let host = NonNull::new(pointer).ok_or(MapError::Empty(guest_addr))?;
        let size = backing.len();
        let user_addr = user_addr.unwrap_or(pointer as u64);
        Ok(Self {
            guest_addr,
            user_addr,
            size,
            host,
            backing: Arc::new(Backing {
                watch,
                mapping: backing,
            }),
        })
    }
}

fn refuse_overlap(sorted: &[Region], start: impl Fn(&Region) -> u64) -> Result<(), MapError> {
    for pair in sorted.windows(2) {
        let [low, high] = pair else { continue };
        if start(high) - start(low) < low.size {
            return Err(MapError::Overlap(low.guest_addr, high.guest_addr));
        }
    }
    Ok(())
}

fn map_region(spec: RegionSpec, seal: SealPolicy) -> Result<Region, MapError> {
    let addr = spec.guest_addr;
    let page = page_size();
    if spec.size == 0 {
        return Err(MapError::Empty(addr));
    }
    for start in [spec.guest_addr, spec.user_addr, spec.mmap_offset] {
        if start.checked_add(spec.size).is_none() {
            return Err(MapError::Overflow(addr));
        }
    }
    if [spec.guest_addr, spec.size, spec.mmap_offset]
        .iter()
        .any(|v| v % page != 0)
    {
        return Err(MapError::Misaligned(addr));
    }
    check_file(&spec, seal)?;
    let failed = |message: String| MapError::Mmap { addr, message };
    let size = usize::try_from(spec.size).map_err(|e| failed(e.to_string()))?;
    let mapping = MmapRegion::from_file(FileOffset::new(spec.file, spec.mmap_offset), size)
        .map_err(|e| failed(e.to_string()))?;
    let backing =
        GuestRegionMmap::new(mapping, GuestAddress(addr)).ok_or(MapError::Overflow(addr))?;
    let watch = Watch::new(backing.get_mmap().as_ptr(), size);
    Region::of(backing, Some(spec.user_addr), Some(watch))
}

/// mmap(2) accepts a range beyond the end of the file; the first touch would then kill the process with SIGBUS.
fn check_file(spec: &RegionSpec, seal: SealPolicy) -> Result<(), MapError> {
    let addr = spec.guest_addr;
    let actual = spec
        .file
        .metadata()
        .map_err(|e| MapError::Mmap {
            addr,
            message: e.to_string(),
        })?
        .len();
    let needed = spec.mmap_offset + spec.size;
    if actual < needed {
        return Err(MapError::FileTooShort {
            addr,
            needed,
            actual,
        });
    }
    let served = backing::may_never_answer(&spec.file).map_err(|e| MapError::Mmap {
        addr,
        message: e.to_string(),
    })?;
    if served {
        return Err(MapError::Served(addr));
    }
    if seal == SealPolicy::RequireSealed && !is_sealed_against_shrinking(&spec.file) {
        return Err(MapError::NotSealed(addr));
    }
    Ok(())
}

fn is_same_file(a: &File, b: &File) -> bool {
    let identity = |file: &File| file.metadata().ok().map(|m| (m.dev(), m.ino()));
    let a = identity(a);
    a.is_some() && a == identity(b)
}

fn is_sealed_against_shrinking(file: &File) -> bool {
    // SAFETY: F_GET_SEALS takes no argument and touches no memory of ours.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & libc::F_SEAL_SHRINK != 0
}

fn page_size() -> u64 {
    // SAFETY: sysconf touches no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

#[cfg(test)]
#[path = "memory_test.rs"]
mod tests;
