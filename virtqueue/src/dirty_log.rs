//! The dirty log of a live migration (vhost-user.rst, "Migration"): one bit per page of guest physical memory.
//!
//! Everything that the device side writes into guest memory goes through the memory map or a burst of it, and a map that
//! [logs](crate::MemoryMap::with_log) marks the pages of each write *after* the write: the other side clears a bit, then reads the
//! page, so a bit that is set last can at worst send a page twice.
#![expect(
    unsafe_code,
    reason = "the log is shared with the process that migrates the guest"
)]

use std::{
    fs::File,
    ptr::NonNull,
    sync::atomic::{AtomicU8, Ordering},
};

use thiserror::Error;
use vm_memory::{FileOffset, MmapRegion};

use crate::{backing, truncation::Watch};

/// Bytes of guest memory behind one bit (VHOST_LOG_PAGE).
pub const LOG_PAGE: u64 = 4096;
const PAGES_PER_BYTE: u64 = 8;

/// Why a log was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// A log of no bytes.
    #[error("the dirty log is empty")]
    Empty,
    /// Offset plus size does not fit in 64 bits.
    #[error("the dirty log wraps around the end of its file's offsets")]
    Overflow,
    /// Touching the end of the log would raise SIGBUS.
    #[error("the dirty log needs {needed} bytes of its file, which has {actual}")]
    FileTooShort {
        /// Offset plus size.
        needed: u64,
        /// Length of the file.
        actual: u64,
    },
    /// A page of the file may never come: a program or another machine serves it.
    #[error("the dirty log is on FUSE or a network file system; take a memfd")]
    Served,
    /// The kernel refused to stat or map the file.
    #[error("mapping the dirty log failed: {0}")]
    Mmap(String),
}

/// A mapped log.
#[derive(Debug)]
pub struct DirtyLog {
    bits: NonNull<u8>,
    size: u64,
    /// A log that is truncated takes its marks into nowhere. Dropped before the mapping.
    _watch: Watch,
    _mapping: MmapRegion,
}

// SAFETY: `bits` points into a shared mapping that `_mapping` keeps alive, and is only used for atomic bytes.
unsafe impl Send for DirtyLog {}
// SAFETY: as above.
unsafe impl Sync for DirtyLog {}

impl DirtyLog {
    /// Maps `size` bytes of `file` from `offset`.
    ///
    /// # Errors
    /// The range is empty, wraps, lies beyond the end of the file, or cannot be mapped.
    pub fn map(file: File, offset: u64, size: u64) -> Result<Self, LogError> {
        if size == 0 {
            return Err(LogError::Empty);
        }
        let needed = offset.checked_add(size).ok_or(LogError::Overflow)?;
        let mmap = |error: &dyn std::fmt::Display| LogError::Mmap(error.to_string());
        let actual = file.metadata().map_err(|e| mmap(&e))?.len();
        if actual < needed {
            return Err(LogError::FileTooShort { needed, actual });
        }
        if backing::may_never_answer(&file).map_err(|e| mmap(&e))? {
            return Err(LogError::Served);
        }
        let length = usize::try_from(size).map_err(|e| mmap(&e))?;
        let mapping =
            MmapRegion::from_file(FileOffset::new(file, offset), length).map_err(|e| mmap(&e))?;
        let bits = NonNull::new(mapping.as_ptr()).ok_or(LogError::Empty)?;
        Ok(Self {
            bits,
            size,
            _watch: Watch::new(bits.as_ptr(), length),
            _mapping: mapping,
        })
    }

    /// Guest physical addresses below this have a bit.
    pub fn end(&self) -> u64 {
        self.size.saturating_mul(PAGES_PER_BYTE * LOG_PAGE)
    }

    /// Marks the pages of `len` bytes from `guest_addr`; pages that the log does not cover are left out.
    pub fn mark(&self, guest_addr: u64, len: u64) {
        let Some(last) = len
            .checked_sub(1)
            .map(|rest| guest_addr.saturating_add(rest))
        else {
            return;
        };
        for page in guest_addr / LOG_PAGE..=last / LOG_PAGE {
            let byte = page / PAGES_PER_BYTE;
            let Some(at) = usize::try_from(byte).ok().filter(|_| byte < self.size) else {
                return;
            };
            // SAFETY: `at` is inside the mapping; an atomic byte may be shared with other writers.
            let byte = unsafe { AtomicU8::from_ptr(self.bits.as_ptr().add(at)) };
            // SeqCst: what was written to the page is visible before its bit is. A look at the bit first, to save the
            // operation, could overtake that write.
            byte.fetch_or(1 << (page % PAGES_PER_BYTE), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
#[path = "dirty_log_test.rs"]
mod tests;
