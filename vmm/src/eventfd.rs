//! Eventfds that a back-end holds too.
//!
//! O_NONBLOCK belongs to the open file description, which a descriptor that is handed out shares: a hostile back-end can clear it. So
//! nothing here relies on it, or a read or write could block a vCPU for ever.
//!
//! UNSAFETY: system calls on buffers that live on our stack.
#![expect(
    unsafe_code,
    reason = "preadv2(2), poll(2), read(2) and write(2) on raw descriptors"
)]
use crate::wait::is_readable;
use std::{io, os::fd::AsRawFd};
use vmm_sys_util::eventfd::EventFd;

/// Takes what was signalled, without ever waiting for it; false: there was nothing.
pub fn drain(event: &EventFd) -> bool {
    match read_now(event) {
        // A kernel before 5.8. A back-end that reads in between makes us wait; there is no better way.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            is_readable(event) && read(event)
        }
        result => result.is_ok(),
    }
}

/// Signals, unless the counter is full: then an event is pending anyway.
///
/// A back-end that fills the counter between the look and the write still makes us wait, because the kernel knows no RWF_NOWAIT for
/// writing an eventfd: an attempt at every signal, for a guest that it already has in its hands. A signal to the thread ends that
/// wait, as vCPUs get one when the machine stops.
pub fn signal(event: &EventFd) {
    if is_writable(event) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is a buffer of that length, which outlives the call.
        let _ = unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

fn read_now(event: &EventFd) -> io::Result<()> {
    let mut count = [0u8; 8];
    let buffer = libc::iovec {
        iov_base: count.as_mut_ptr().cast(),
        iov_len: count.len(),
    };
    // SAFETY: `buffer` describes `count`; both outlive the call.
    let result = unsafe {
        libc::preadv2(
            event.as_raw_fd(),
            &raw const buffer,
            1,
            -1,
            libc::RWF_NOWAIT,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn read(event: &EventFd) -> bool {
    let mut count = [0u8; 8];
    // SAFETY: `count` is a buffer of that length, which outlives the call.
    let result = unsafe { libc::read(event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    result > 0
}

/// Whether writing would not block. POLLERR alone is no yes: a counter that the kernel has overrun shows it, and takes no write.
fn is_writable(event: &EventFd) -> bool {
    let mut fd = libc::pollfd {
        fd: event.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: `fd` is one pollfd that outlives the call.
    let result = unsafe { libc::poll(&raw mut fd, 1, 0) };
    result > 0 && fd.revents & libc::POLLOUT != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_blocks_without_o_nonblock() {
        let event = EventFd::new(0).unwrap();
        assert!(!drain(&event));
        signal(&event);
        signal(&event);
        assert!(drain(&event));
        assert!(!drain(&event));
        event.write(u64::MAX - 1).unwrap();
        signal(&event);
        assert!(drain(&event));
        assert!(!drain(&event));
    }

    #[test]
    fn an_old_kernel_is_looked_at_first() {
        let event = EventFd::new(0).unwrap();
        assert!(!is_readable(&event));
        signal(&event);
        assert!(is_readable(&event) && read(&event));
        assert!(!is_readable(&event));
    }
}
