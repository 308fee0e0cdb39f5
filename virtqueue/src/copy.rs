//! The one place where bytes move between our memory and a guest's, or between two guests'.
//!
//! No Rust reference ever points into guest memory: its bytes change at any moment, by vCPUs that know nothing of Rust's rules. All
//! copies go through raw pointers, by the C library or by loops of ours, and bear places that overlap (two guests' buffers may be the same memory). What steers control flow is
//! copied once into private memory and only read there.
//!
//! Short copies, headers and small frames, are made in place: a call of `memmove` costs as much as a cache line or two.
#![expect(unsafe_code, reason = "raw copies are what this module is for")]

use std::ptr::{self, NonNull};

/// Longer copies are looked at: the C library gives them to `rep movsb` where the CPU says that this is fast (glibc from 2112 bytes
/// on), and on AMD's Zen 3 that is ten times slower than a loop if the destination lies just behind the source within
/// a page ([`chases`]; benches/RESULTS.md, "Long copies").
const LONG: usize = 2048;
/// Of addresses in different pages a CPU compares only the rest at first.
const PAGE: usize = 4096;
const CACHE_LINE: u32 = 64;
/// Longest copy made in place.
const SHORT: usize = 256;
/// What one turn of such a copy moves: a cache line.
const LINE: usize = 64;

/// One load of `N` bytes, then one store; the two places may overlap.
#[inline]
unsafe fn block<const N: usize>(src: *const u8, dst: *mut u8, at: usize) {
    // SAFETY: the caller's word: `N` bytes are mapped at both places; `[u8; N]` has no alignment.
    let bytes = unsafe { src.add(at).cast::<[u8; N]>().read() };
    // SAFETY: as above.
    unsafe { dst.add(at).cast::<[u8; N]>().write(bytes) };
}

/// Copies `len` bytes in blocks, the last of which may repeat some of the one before. If the places overlap, what arrives is some
/// mixture: the two are buffers of guests then, whose bytes mean nothing to us.
///
/// # Safety
/// `len` bytes from `src` and from `dst` are mapped for the length of the call.
#[inline]
unsafe fn copy_short(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: every block lies within `len` bytes: each starts at `at` with `at + N <= len`.
    unsafe {
        if len >= 16 {
            let mut at = 0;
            while len - at >= LINE {
                block::<LINE>(src, dst, at);
                at += LINE;
            }
            while len - at >= 16 {
                block::<16>(src, dst, at);
                at += 16;
            }
            if at < len {
                block::<16>(src, dst, len - 16);
            }
        } else {
            // No block twice here: these are virtio-net headers just written as 8 and 4 bytes, and a load across two stores
            // that are still on their way waits for both.
            let mut at = 0;
            if len & 8 != 0 {
                block::<8>(src, dst, 0);
                at = 8;
            }
            if len & 4 != 0 {
                block::<4>(src, dst, at);
                at += 4;
            }
            while at < len {
                block::<1>(src, dst, at);
                at += 1;
            }
        }
    }
}

/// Whether the destination lies less than a cache line behind the source, but for whole pages: each load then looks as if it waited for
/// the store before it.
#[inline]
fn chases(src: *const u8, dst: *mut u8) -> bool {
    let behind = dst.addr().wrapping_sub(src.addr()) % PAGE;
    (1..LINE).contains(&behind)
}

/// Copies more than [`SHORT`] bytes. Where the places overlap what arrives may be some mixture, as above.
///
/// # Safety
/// `len` bytes from `src` and from `dst` are mapped for the length of the call.
#[inline]
unsafe fn copy_long(src: *const u8, dst: *mut u8, len: usize) {
    if len <= LONG || !chases(src, dst) {
        // SAFETY: mapped by the caller's word; `copy` allows overlap.
        unsafe { ptr::copy(src, dst, len) }
    } else {
        // SAFETY: as above.
        unsafe { copy_by_lines(src, dst, len) }
    }
}

/// The loop, apart: few frames are so long.
///
/// # Safety
/// As of [`copy_short`].
#[inline(never)]
unsafe fn copy_by_lines(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's word.
    unsafe { copy_short(src, dst, len) }
}

/// Copies `dst.len()` bytes from guest memory.
///
/// # Safety
/// `dst.len()` bytes from `src` are mapped for the length of the call.
#[inline]
pub(crate) unsafe fn copy_from_guest(src: NonNull<u8>, dst: &mut [u8]) {
    if dst.len() <= SHORT {
        // SAFETY: mapped by the caller's word.
        return unsafe { copy_short(src.as_ptr(), dst.as_mut_ptr(), dst.len()) };
    }
    // SAFETY: mapped by the caller's word.
    unsafe { copy_long(src.as_ptr(), dst.as_mut_ptr(), dst.len()) }
}

/// Copies `src` to guest memory.
///
/// # Safety
/// `src.len()` bytes from `dst` are mapped for the length of the call.
#[inline]
pub(crate) unsafe fn copy_to_guest(src: &[u8], dst: NonNull<u8>) {
    if src.len() <= SHORT {
        // SAFETY: mapped by the caller's word.
        return unsafe { copy_short(src.as_ptr(), dst.as_ptr(), src.len()) };
    }
    // SAFETY: mapped by the caller's word.
    unsafe { copy_long(src.as_ptr(), dst.as_ptr(), src.len()) }
}

/// Copies `len` bytes from one guest's memory to another's (or the same).
///
/// # Safety
/// `len` bytes from `src` and from `dst` are mapped for the length of the call.
#[inline]
pub(crate) unsafe fn copy_guest_to_guest(src: NonNull<u8>, dst: NonNull<u8>, len: usize) {
    if len <= SHORT {
        // SAFETY: mapped by the caller's word.
        return unsafe { copy_short(src.as_ptr(), dst.as_ptr(), len) };
    }
    // SAFETY: mapped by the caller's word.
    unsafe { copy_long(src.as_ptr(), dst.as_ptr(), len) }
}

/// Asks the CPU for the first two cache lines of `len` bytes of guest memory, to read them. A hint: it faults nowhere.
#[inline]
pub(crate) fn prefetch(host: NonNull<u8>, len: u32) {
    two_lines(host, len, |line| {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a prefetch reads nothing, wherever it points.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(line.cast());
        }
        #[cfg(any(not(target_arch = "x86_64"), miri))]
        let _ = line;
    });
}

/// The same, to write them: no other CPU keeps a copy.
#[inline]
pub(crate) fn prefetch_for_write(host: NonNull<u8>, len: u32) {
    two_lines(host, len, |line| {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a prefetch changes nothing, wherever it points; CPUs that do not know PREFETCHW skip it (SDM, PREFETCHW).
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
        #[cfg(any(not(target_arch = "x86_64"), miri))]
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

#[cfg(test)]
#[path = "copy_test.rs"]
mod tests;
