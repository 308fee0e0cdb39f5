//! Thin syscall wrappers of the data plane.
#![expect(
    unsafe_code,
    reason = "writev takes ranges of guest memory, which no safe slice may cover; FIONREAD and sigaction have no safe wrappers, and nix's poll knows no POLLRDHUP"
)]
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sched::{CpuSet, sched_setaffinity},
    sys::{
        pthread::{Pthread, pthread_kill, pthread_self},
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
        stat::{SFlag, fstat},
    },
    unistd::Pid,
};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};
use virtqueue::Burst;

/// Most ranges that one `writev` takes (`IOV_MAX` of Linux).
pub(super) const MAX_IOVECS: usize = 1024;

/// Scatter list for one `writev`. Its ranges point into private memory or into the guest memory of
/// a [`Burst`], both of which must outlive the [`writev_guest`] they are gathered for.
#[derive(Debug, Default)]
pub(super) struct IoVecs(pub(super) Vec<libc::iovec>);

// SAFETY: the ranges are filled and consumed within one call chain of the thread that owns the
// list; between calls it is empty.
unsafe impl Send for IoVecs {}

impl IoVecs {
    /// Appends a range of private memory.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.push(libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        });
    }
}

/// Writes the gathered ranges as one packet. `_keep` is the burst whose memory map keeps the guest
/// ranges mapped.
pub(super) fn writev_guest(file: &File, vecs: &IoVecs, _keep: Option<&Burst>) -> io::Result<usize> {
    let count = vecs.0.len().min(MAX_IOVECS);
    // SAFETY: every range was appended from a live slice or from a burst that holds its memory map
    // (`_keep`), and the kernel only reads through them.
    let written = unsafe {
        libc::writev(
            file.as_raw_fd(),
            vecs.0.as_ptr(),
            libc::c_int::try_from(count).unwrap_or(libc::c_int::MAX),
        )
    };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// Keeps the calling thread on one CPU.
pub(super) fn run_on(cpu: u16) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu.into())?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A thread of this process.
pub(super) type ThreadId = Pthread;

/// What interrupts a system call. Go's runtime has it for the same: nobody else wants it, and by default it is ignored.
const INTERRUPTION: Signal = Signal::SIGURG;

/// The calling thread.
pub(super) fn this_thread() -> ThreadId {
    pthread_self()
}

/// Has [`interrupt`] end system calls with EINTR.
pub(super) fn catch_interruptions() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // Without SA_RESTART.
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing, which it may do at any time.
    unsafe { sigaction(INTERRUPTION, &action) }?;
    Ok(())
}

/// Interrupts the system call that the thread is in, if it waits. It must not have ended.
pub(super) fn interrupt(thread: ThreadId) {
    // Fails only if the thread is not there.
    let _ = pthread_kill(thread, INTERRUPTION);
}

/// Makes a notification fd of a peer usable: it must be an eventfd, a pipe or a socket (a regular
/// file can stall its writer, whatever its flags say), and it must not block.
pub(super) fn prepare_notifier(file: &File) -> io::Result<()> {
    let kind = SFlag::from_bits_truncate(fstat(file)?.st_mode) & SFlag::S_IFMT;
    // An eventfd is an anonymous inode: it has no type bits at all.
    if !(kind.is_empty() || kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a notification fd must be an eventfd, a pipe or a socket",
        ));
    }
    set_nonblocking(file)
}

/// Sets `O_NONBLOCK`.
pub(super) fn set_nonblocking(file: impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(file.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

nix::ioctl_read_bad!(fionread, libc::FIONREAD, libc::c_int);

/// Bytes that wait in a socket.
pub(super) fn bytes_to_read(socket: impl AsFd) -> io::Result<usize> {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes one int, and `bytes` is one.
    unsafe { fionread(socket.as_fd().as_raw_fd(), &raw mut bytes) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Waits for `events` of one fd, for ever without a timeout; what there is of them, or of an end or an error. Nothing when interrupted.
pub(super) fn poll_fd(
    fd: impl AsFd,
    events: libc::c_short,
    timeout: Option<Duration>,
) -> io::Result<libc::c_short> {
    let mut fds = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events,
        revents: 0,
    };
    let millis = timeout.map_or(-1, |timeout| {
        libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: one `pollfd`, which lives during the call.
    let found = unsafe { libc::poll(&raw mut fds, 1, millis) };
    if found >= 0 {
        return Ok(fds.revents);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        error => Err(error),
    }
}
