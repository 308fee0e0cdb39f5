//! Guest memory that its owner truncates while it is mapped.
//!
//! mmap(2) keeps a mapping whose file became shorter; the next touch behind the new end raises SIGBUS, which would end the
//! process and with it everybody's network. Sealed memfds cannot shrink, but hugetlbfs files and many memfds are not sealed.
//! So every mapping of guest memory is in a table, and a handler for SIGBUS puts anonymous memory in the place of the one that
//! faulted: the access goes on with zeros, and the datapath sees that the map is [truncated](crate::MemoryMap::is_truncated).
//!
//! The handler runs in the thread that faulted, between two instructions of a copy: it only reads atomics and makes system
//! calls. Entries of the table are never freed, only used again, so that it can walk them at any time.
#![expect(
    unsafe_code,
    reason = "a signal handler, and mmap over memory that copies touch"
)]

use std::{
    ffi::c_void,
    io, ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    },
};

/// One mapping.
#[derive(Debug)]
struct Entry {
    start: AtomicUsize,
    /// First address behind it; 0: there is none.
    end: AtomicUsize,
    taken: AtomicBool,
    truncated: AtomicBool,
    next: AtomicPtr<Self>,
}

static NEWEST: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
static TRUNCATIONS: AtomicU64 = AtomicU64::new(0);
static PREVIOUS: OnceLock<Result<libc::sigaction, i32>> = OnceLock::new();

/// Keeps a mapping in the table.
#[derive(Debug)]
pub(crate) struct Watch(&'static Entry);

impl Watch {
    /// Enters `len` bytes from `start`, a whole mapping; dropped before it is unmapped.
    pub(crate) fn new(start: *const u8, len: usize) -> Self {
        let entry = free_entry().unwrap_or_else(new_entry);
        entry.truncated.store(false, Ordering::Relaxed);
        entry.start.store(start as usize, Ordering::Relaxed);
        // Release: the entry counts from here on, and its start is there before.
        entry
            .end
            .store((start as usize).saturating_add(len), Ordering::Release);
        Self(entry)
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.0.truncated.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.end.store(0, Ordering::Release);
        self.0.taken.store(false, Ordering::Release);
    }
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    let mut at = NEWEST.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: entries are leaked boxes, written before they are published.
        let entry: &'static Entry = unsafe { at.as_ref() }?;
        at = entry.next.load(Ordering::Acquire);
        Some(entry)
    })
}

fn free_entry() -> Option<&'static Entry> {
    entries().find(|entry| {
        let exchange =
            entry
                .taken
                .compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed);
        exchange.is_ok()
    })
}

fn new_entry() -> &'static Entry {
    let entry: &'static Entry = Box::leak(Box::new(Entry {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        taken: AtomicBool::new(true),
        truncated: AtomicBool::new(false),
        next: AtomicPtr::new(ptr::null_mut()),
    }));
    let mut newest = NEWEST.load(Ordering::Acquire);
    loop {
        entry.next.store(newest, Ordering::Relaxed);
        let place = ptr::from_ref(entry).cast_mut();
        match NEWEST.compare_exchange_weak(newest, place, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return entry,
            Err(other) => newest = other,
        }
    }
}

/// How many mappings were found truncated since the process started. Cheap: for a look in every round.
#[inline]
pub fn truncations() -> u64 {
    TRUNCATIONS.load(Ordering::Relaxed)
}

/// Lets this process survive that mapped guest memory is truncated. Once is enough; a SIGBUS of any other cause goes to
/// the action that was there before.
///
/// # Errors
/// The kernel refused the handler.
pub fn survive_truncation() -> io::Result<()> {
    match PREVIOUS.get_or_init(install) {
        Ok(_) => Ok(()),
        Err(errno) => Err(io::Error::from_raw_os_error(*errno)),
    }
}

fn install() -> Result<libc::sigaction, i32> {
    // SAFETY: all zeros are a valid `sigaction`: no flags, empty mask, default action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) = on_sigbus;
    action.sa_sigaction = handler as libc::sighandler_t;
    // On the alternate stack that Rust gives each thread: the fault may be at the end of the usual one.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let mut previous = action;
    // SAFETY: the handler is async-signal-safe (see there); both structures are ours.
    let result = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, &raw mut previous) };
    if result == 0 {
        Ok(previous)
    } else {
        Err(io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EINVAL))
    }
}

extern "C" fn on_sigbus(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid structure, and SIGBUS has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    // SAFETY: the thread's own errno, which the interrupted code may be about to read.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    if !replace(address) {
        give_back();
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Puts anonymous memory in the place of the mapping that holds `address`; false: it is not one of ours.
fn replace(address: usize) -> bool {
    let holds = |entry: &&Entry| {
        let end = entry.end.load(Ordering::Acquire);
        (entry.start.load(Ordering::Relaxed)..end).contains(&address)
    };
    let Some(entry) = entries().find(holds) else {
        return false;
    };
    let start = entry.start.load(Ordering::Relaxed);
    let len = entry.end.load(Ordering::Acquire).saturating_sub(start);
    // The whole mapping, as a part of a huge page cannot be replaced; its owner has lost it anyway.
    // SAFETY: the range is a mapping of guest memory that is only touched by raw copies and atomics, for which zeros are as
    // good as anything that a guest may write.
    let mapped = unsafe {
        libc::mmap(
            start as *mut c_void,
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return false;
    }
    entry.truncated.store(true, Ordering::Release);
    TRUNCATIONS.fetch_add(1, Ordering::Release);
    true
}

/// The access faults again when the handler returns; then the previous action sees it.
fn give_back() {
    if let Some(Ok(previous)) = PREVIOUS.get() {
        // SAFETY: an action that the kernel gave us.
        unsafe { libc::sigaction(libc::SIGBUS, previous, ptr::null_mut()) };
    }
}

#[cfg(test)]
#[path = "truncation_test.rs"]
mod tests;
