//! Socket options that have no safe wrapper elsewhere.
#![expect(
    unsafe_code,
    reason = "IP_MTU_DISCOVER and its like have no safe wrapper"
)]
use nix::errno::Errno;
use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// Sets an option whose value is an int.
pub(super) fn set_option(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // Four, whatever its type.
    #[expect(clippy::cast_possible_truncation, reason = "of a constant that fits")]
    const LENGTH: libc::socklen_t = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one int, which lives during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            LENGTH,
        )
    };
    Ok(Errno::result(result).map(drop)?)
}
