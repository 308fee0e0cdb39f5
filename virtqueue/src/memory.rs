//! The guest memory map.
use std::{fs::File, sync::Arc};
use thiserror::Error;

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
pub enum MapError {
    /// placeholder
    #[error("region is empty")]
    Empty,
}

/// An immutable map from guest physical addresses to host memory.
#[derive(Debug)]
pub struct MemoryMap {}

impl MemoryMap {
    /// Maps `regions` (any order). Checks overlap, overflow, alignment, file size and seals.
    pub fn map(
        _generation: u64,
        _regions: Vec<RegionSpec>,
        _seal: SealPolicy,
    ) -> Result<Arc<Self>, MapError> {
        todo!()
    }
    /// Shares the mappings of a VMM's own guest memory (user address = host address).
    pub fn from_guest_memory(
        _generation: u64,
        _mem: &vm_memory::GuestMemoryMmap,
    ) -> Result<Arc<Self>, MapError> {
        todo!()
    }
    /// A new map (generation + 1) with one region more; existing mappings are shared.
    pub fn with_region(
        &self,
        _region: RegionSpec,
        _seal: SealPolicy,
    ) -> Result<Arc<Self>, MapError> {
        todo!()
    }
    /// A new map (generation + 1) without the region of exactly these coordinates.
    pub fn without_region(
        &self,
        _guest_addr: u64,
        _user_addr: u64,
        _size: u64,
    ) -> Result<Arc<Self>, MapError> {
        todo!()
    }
    /// Grows by one with every change.
    pub fn generation(&self) -> u64 {
        todo!()
    }
    /// Number of regions.
    pub fn region_count(&self) -> usize {
        todo!()
    }
    /// Front-end virtual address to guest physical address.
    pub fn user_to_guest(&self, _user_addr: u64) -> Option<u64> {
        todo!()
    }
    /// Copies `dst.len()` bytes from guest memory (may cross adjacent regions); false: not all of the range is mapped.
    #[must_use]
    pub fn read(&self, _guest_addr: u64, _dst: &mut [u8]) -> bool {
        todo!()
    }
    /// Copies `src` to guest memory; false: not all of the range is mapped (then nothing was written).
    #[must_use]
    pub fn write(&self, _guest_addr: u64, _src: &[u8]) -> bool {
        todo!()
    }
}
