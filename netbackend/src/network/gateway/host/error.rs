//! What the kernel says, as the gateway understands it.
use nat::HostError;
use nix::errno::Errno;
use std::io;

/// The gateway's word for a system error.
#[expect(
    clippy::needless_pass_by_value,
    reason = "that is how `map_err` gives it"
)]
pub(super) fn of(error: io::Error) -> HostError {
    error
        .raw_os_error()
        .map_or(HostError::NoResources, |errno| {
            of_errno(Errno::from_raw(errno))
        })
}

/// The gateway's word for an error number.
pub(super) fn of_errno(errno: Errno) -> HostError {
    match errno {
        // Interrupted, it will be asked again: an edge that was not used up comes again with the next look.
        Errno::EAGAIN | Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR => {
            HostError::WouldBlock
        }
        Errno::ECONNREFUSED => HostError::Refused,
        Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED | Errno::ENOTCONN => {
            HostError::Reset
        }
        Errno::ENETUNREACH | Errno::ENETDOWN => HostError::NetworkUnreachable,
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => HostError::HostUnreachable,
        Errno::ETIMEDOUT => HostError::TimedOut,
        Errno::EACCES | Errno::EPERM => HostError::NotPermitted,
        Errno::EADDRINUSE => HostError::AddressInUse,
        Errno::EADDRNOTAVAIL | Errno::ENODEV => HostError::AddressNotAvailable,
        Errno::EMSGSIZE => HostError::MessageTooLong,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => HostError::NoResources,
        other => HostError::Other(other as i32),
    }
}

/// Does it again while it is interrupted.
pub(super) fn again<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
