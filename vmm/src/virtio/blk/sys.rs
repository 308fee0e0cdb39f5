//! Positioned I/O straight from and to guest memory: a thin wrapper of preadv(2) and pwritev2(2).
//!
//! UNSAFETY: system calls on iovecs that point into guest memory. The vectors are made here from
//! [`Segments`], which the caller borrows from a burst that keeps the mapping alive, and are used
//! for nothing else.
#![expect(unsafe_code, reason = "vectored I/O on guest memory")]
use std::{fs::File, io, os::fd::AsRawFd};
use virtqueue::Segments;

/// Vectors per system call (UIO_MAXIOV).
const MAX_IOVECS: usize = 1024;

/// When a write is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteMode {
    /// When the host's cache has it; a flush makes it durable.
    Back,
    /// When it is durable.
    Through,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy)]
enum Direction {
    Read,
    Write(WriteMode),
}

/// A range of a buffer in guest memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffer<'b> {
    pub(super) segments: Segments<'b>,
    /// First byte.
    pub(super) offset: u32,
    /// Bytes.
    pub(super) len: u32,
}

/// Reusable storage for the vectors of one request.
#[derive(Debug, Default)]
pub(super) struct VectoredIo {
    iovecs: Vec<libc::iovec>,
}

// SAFETY: the vectors are rebuilt by every call from memory that is valid during that call, and
// never read otherwise.
unsafe impl Send for VectoredIo {}

impl VectoredIo {
    /// Fills `buffer` from `position` in `file`.
    pub(super) fn read(
        &mut self,
        file: &File,
        position: u64,
        buffer: Buffer<'_>,
    ) -> io::Result<()> {
        self.transfer(file, position, buffer, Direction::Read)
    }

    /// Writes `buffer` to `position` in `file`.
    pub(super) fn write(
        &mut self,
        file: &File,
        position: u64,
        buffer: Buffer<'_>,
        mode: WriteMode,
    ) -> io::Result<()> {
        self.transfer(file, position, buffer, Direction::Write(mode))
    }

    fn transfer(
        &mut self,
        file: &File,
        mut position: u64,
        buffer: Buffer<'_>,
        direction: Direction,
    ) -> io::Result<()> {
        self.iovecs.clear();
        let covered = buffer
            .segments
            .append_iovecs(buffer.offset, buffer.len, &mut self.iovecs);
        if covered != buffer.len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut rest = self.iovecs.as_mut_slice();
        while !rest.is_empty() {
            let batch = rest.len().min(MAX_IOVECS);
            let moved = match once(file, position, &rest[..batch], direction) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The file became shorter than the disk.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                result => result?,
            };
            position += moved as u64;
            rest = advance(rest, moved);
        }
        Ok(())
    }
}

fn once(
    file: &File,
    position: u64,
    iovecs: &[libc::iovec],
    direction: Direction,
) -> io::Result<usize> {
    let position = libc::off_t::try_from(position).map_err(io::Error::other)?;
    let count = libc::c_int::try_from(iovecs.len()).map_err(io::Error::other)?;
    let fd = file.as_raw_fd();
    let moved = match direction {
        // SAFETY: `iovecs` holds `count` vectors over guest memory, mapped while the caller's
        // `Segments` live; the kernel reports memory it cannot reach as EFAULT.
        Direction::Read => unsafe { libc::preadv(fd, iovecs.as_ptr(), count, position) },
        Direction::Write(mode) => {
            let flags = match mode {
                WriteMode::Back => 0,
                WriteMode::Through => libc::RWF_DSYNC,
            };
            // SAFETY: as above; the kernel only reads the memory.
            unsafe { libc::pwritev2(fd, iovecs.as_ptr(), count, position, flags) }
        }
    };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

/// Drops the first `count` bytes of `iovecs`.
fn advance(iovecs: &mut [libc::iovec], mut count: usize) -> &mut [libc::iovec] {
    let mut whole = 0;
    for iovec in iovecs.iter_mut() {
        if count < iovec.iov_len {
            iovec.iov_base = iovec.iov_base.wrapping_byte_add(count);
            iovec.iov_len -= count;
            break;
        }
        count -= iovec.iov_len;
        whole += 1;
    }
    &mut iovecs[whole..]
}
