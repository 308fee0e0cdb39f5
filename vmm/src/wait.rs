//! Waiting on descriptors: a thin wrapper of poll(2).
//!
//! UNSAFETY: one system call on an array that lives on our stack.
#![expect(unsafe_code, reason = "poll(2) on raw descriptors")]
use std::{io, os::fd::AsRawFd, time::Duration};

/// Descriptors that [`wait`] takes at most.
pub const MAX_SOURCES: usize = 8;

/// Waits until one of `sources` is readable or hung up, or until `timeout` has passed (`None`: for
/// ever). Returns a bit per source; 0: timeout.
pub fn wait(sources: &[&dyn AsRawFd], timeout: Option<Duration>) -> io::Result<u32> {
    let events: Vec<_> = sources
        .iter()
        .map(|source| (source.as_raw_fd(), libc::POLLIN))
        .collect();
    poll(&events, timeout)
}

/// Whether reading `source` would not block.
pub fn is_readable(source: &dyn AsRawFd) -> bool {
    poll(&[(source.as_raw_fd(), libc::POLLIN)], Some(Duration::ZERO)).is_ok_and(|ready| ready != 0)
}

/// Waits like [`wait`] for input on `sources`, or for the other end of `peer` to go away (the last
/// bit), without regard to what `peer` sends.
pub fn wait_or_hangup(
    sources: &[&dyn AsRawFd],
    peer: &dyn AsRawFd,
    timeout: Option<Duration>,
) -> io::Result<u32> {
    let mut events: Vec<_> = sources
        .iter()
        .map(|source| (source.as_raw_fd(), libc::POLLIN))
        .collect();
    events.push((peer.as_raw_fd(), libc::POLLRDHUP));
    poll(&events, timeout)
}

fn poll(sources: &[(i32, i16)], timeout: Option<Duration>) -> io::Result<u32> {
    let mut fds = [libc::pollfd {
        fd: -1,
        events: 0,
        revents: 0,
    }; MAX_SOURCES];
    if sources.len() > fds.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (slot, (fd, events)) in fds.iter_mut().zip(sources) {
        slot.fd = *fd;
        slot.events = *events;
    }
    let milliseconds = timeout.map_or(-1, |timeout| {
        i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
    });
    let count = libc::nfds_t::try_from(sources.len()).unwrap_or(0);
    loop {
        // SAFETY: `fds` is an array of at least `count` pollfds that outlives the call.
        let result = unsafe { libc::poll(fds.as_mut_ptr(), count, milliseconds) };
        if result >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let ready = fds.iter().enumerate().filter(|(_, fd)| fd.revents != 0);
    Ok(ready.fold(0, |bits, (index, _)| bits | 1 << index))
}
