//! The one place where bytes move between our memory and a guest's, or between two guests'.
//!
//! No Rust reference ever points into guest memory: its bytes change at any moment, by vCPUs that know nothing of Rust's rules. All
//! copies are `memmove`s through raw pointers (two guests' buffers may be the same memory). What steers control flow is
//! copied once into private memory and only read there.
#![expect(unsafe_code, reason = "raw copies are what this module is for")]

use std::ptr::{self, NonNull};

const CACHE_LINE: u32 = 64;

/// Copies `dst.len()` bytes from guest memory.
///
/// # Safety
/// `dst.len()` bytes from `src` are mapped for the length of the call.
#[inline]
pub(crate) unsafe fn copy_from_guest(src: NonNull<u8>, dst: &mut [u8]) {
    // SAFETY: mapped by the caller's word; `dst` is private, so the two do not overlap.
    unsafe { ptr::copy_nonoverlapping(src.as_ptr(), dst.as_mut_ptr(), dst.len()) }
}

/// Copies `src` to guest memory.
///
/// # Safety
/// `src.len()` bytes from `dst` are mapped for the length of the call.
#[inline]
pub(crate) unsafe fn copy_to_guest(src: &[u8], dst: NonNull<u8>) {
    // SAFETY: mapped by the caller's word; `src` is private, so the two do not overlap.
    unsafe { ptr::copy_nonoverlapping(src.as_ptr(), dst.as_ptr(), src.len()) }
}

/// Copies `len` bytes from one guest's memory to another's (or the same).
///
/// # Safety
/// `len` bytes from `src` and from `dst` are mapped for the length of the call.
#[inline]
pub(crate) unsafe fn copy_guest_to_guest(src: NonNull<u8>, dst: NonNull<u8>, len: usize) {
    // SAFETY: mapped by the caller's word; `copy` allows overlap.
    unsafe { ptr::copy(src.as_ptr(), dst.as_ptr(), len) }
}

/// Asks the CPU for the first two cache lines of `len` bytes of guest memory, to read them. A hint: it faults nowhere.
#[inline]
pub(crate) fn prefetch(host: NonNull<u8>, len: u32) {
    two_lines(host, len, |line| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing, wherever it points.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(line.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    });
}

/// The same, to write them: no other CPU keeps a copy.
#[inline]
pub(crate) fn prefetch_for_write(host: NonNull<u8>, len: u32) {
    two_lines(host, len, |line| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch changes nothing, wherever it points; CPUs that do not know PREFETCHW skip it (SDM, PREFETCHW).
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    });
}

#[inline]
fn two_lines(host: NonNull<u8>, len: u32, mut ask: impl FnMut(*const u8)) {
    let first = host.as_ptr().cast_const();
    ask(first);
    if len > CACHE_LINE {
        ask(first.wrapping_add(CACHE_LINE as usize));
    }
}
