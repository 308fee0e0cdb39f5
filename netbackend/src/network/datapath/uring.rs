//! Many reads or writes of one file with one system call.
#![expect(
    unsafe_code,
    reason = "the kernel reads and writes the buffers that submitted entries name"
)]
use super::{
    super::sys::{IoVecs, MAX_IOVECS},
    BURST,
};
use arrayvec::ArrayVec;
use io_uring::{IoUring, opcode, squeue, types::Fd};
use std::{fs::File, io, ops::Range, os::fd::AsRawFd};
use virtqueue::Burst;

/// What came of each packet of a burst, in order.
pub(super) type Results = ArrayVec<io::Result<usize>, BURST>;

/// Submits operations, and waits for all of them: nothing is under way between two calls.
///
/// With `RWF_NOWAIT` an operation is done or refused (`EAGAIN`) while it is submitted, in the order of submission. (Without it
/// the kernel would wait until a tap is readable, whatever its `O_NONBLOCK` says.)
pub(super) struct Uring(IoUring);

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring").finish_non_exhaustive()
    }
}

impl Uring {
    /// For a burst at once.
    ///
    /// # Errors
    /// The kernel has none, or its administrator or a filter does not let us.
    pub(super) fn new() -> io::Result<Self> {
        let entries = u32::try_from(BURST).unwrap_or(u32::MAX);
        let mut builder = IoUring::builder();
        Ok(Self(builder.setup_submit_all().build(entries)?))
    }

    /// Reads one packet into each buffer. `None`: the ring is unusable from now on.
    pub(super) fn read<'b>(
        &mut self,
        file: &File,
        buffers: impl Iterator<Item = &'b mut [u8]>,
    ) -> Option<Results> {
        let file = Fd(file.as_raw_fd());
        let entries = buffers.map(|buffer| {
            let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
            opcode::Read::new(file, buffer.as_mut_ptr(), len)
                .rw_flags(libc::RWF_NOWAIT)
                .build()
        });
        // SAFETY: each entry names a buffer of its own, borrowed until the operations are done.
        unsafe { self.run(entries) }
    }

    /// Writes one packet from each range of the gathered list; all of it must be of private memory, or of the memory map that
    /// `_keep` holds. As [`Uring::read`].
    pub(super) fn write(
        &mut self,
        file: &File,
        vecs: &IoVecs,
        packets: &[Range<usize>],
        _keep: &Burst,
    ) -> Option<Results> {
        let file = Fd(file.as_raw_fd());
        let entries = packets.iter().map(|packet| {
            let vecs = vecs.0.get(packet.clone()).unwrap_or_default();
            let count = u32::try_from(vecs.len().min(MAX_IOVECS)).unwrap_or(0);
            opcode::Writev::new(file, vecs.as_ptr(), count)
                .rw_flags(libc::RWF_NOWAIT)
                .build()
        });
        // SAFETY: as of `writev_guest`: the ranges were gathered from memory that lives during this call, and the kernel only
        // reads through them.
        unsafe { self.run(entries) }
    }

    /// Submits all and waits for all.
    ///
    /// # Safety
    /// What the entries name must live until this returns, and may not be in use by anybody else if they write to it.
    unsafe fn run(&mut self, entries: impl Iterator<Item = squeue::Entry>) -> Option<Results> {
        let mut results = Results::new();
        let mut queue = self.0.submission();
        for (place, entry) in (0u64..).zip(entries.take(BURST)) {
            // SAFETY: the caller's promise; all that is pushed is waited for below, or never submitted.
            unsafe { queue.push(&entry.user_data(place)) }.ok()?;
            results.push(Err(io::ErrorKind::Interrupted.into()));
        }
        drop(queue);
        let mut left = results.len();
        let mut is_able = true;
        while left > 0 {
            match self.0.submit_and_wait(left) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // What was submitted is done (see above), and the rest never will be.
                Err(_) => return None,
            }
            for done in self.0.completion() {
                if done.result() == -libc::EOPNOTSUPP {
                    // A file that cannot do without waiting (taps before Linux 5.12): nothing was done.
                    is_able = false;
                }
                let place = usize::try_from(done.user_data()).ok()?;
                let result = usize::try_from(done.result());
                *results.get_mut(place)? =
                    result.map_err(|_| io::Error::from_raw_os_error(-done.result()));
                left -= 1;
            }
        }
        is_able.then_some(results)
    }
}

#[cfg(test)]
#[path = "uring_test.rs"]
mod tests;
