//! Who makes interfaces under the names of a runtime directory.
//!
//! The directory's lock is between daemons that see the same directory. Containers have a directory each by the same path, and may
//! share a network namespace all the same: there the second would remove what the first has made. An abstract socket
//! belongs to the network namespace and goes with its process, however that ends.
use super::{error::UplinkError, identity::fnv1a};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen,
        socket, sockopt,
    },
    unistd::geteuid,
};
use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use tracing::warn;

/// This process's: it is the daemon of one directory.
static KEPT: Mutex<Option<(PathBuf, Claim)>> = Mutex::new(None);

/// The names are ours until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    _socket: OwnedFd,
    /// Nobody else has made interfaces under them.
    pub(super) is_sure: bool,
}

/// Claims the names of a runtime directory for as long as this process lives. Daemons that make no such interfaces claim nothing: any
/// number of them may share a namespace.
pub(crate) fn claim(runtime_dir: &Path) -> Result<(), UplinkError> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.as_ref().is_none_or(|(of, _)| of != runtime_dir) {
        *kept = Some((runtime_dir.to_owned(), Claim::take(runtime_dir)?));
    }
    Ok(())
}

impl Claim {
    /// In the namespace that this thread is in: to be called in the daemon's own.
    pub(super) fn take(runtime_dir: &Path) -> Result<Self, UplinkError> {
        let failed = |errno: Errno| {
            let what = runtime_dir.display().to_string();
            UplinkError::io("claim the names of interfaces", &what)(errno.into())
        };
        let address = address(runtime_dir).map_err(failed)?;
        let socket = open().map_err(failed)?;
        let is_sure = match bind(socket.as_raw_fd(), &address) {
            Ok(()) => {
                // Listens so that others can ask whose it is.
                listen(&socket, Backlog::MAXALLOWABLE).map_err(failed)?;
                true
            }
            Err(Errno::EADDRINUSE) if is_daemons(&address) => {
                return Err(UplinkError::Claimed(runtime_dir.to_owned()));
            }
            // Anybody may bind such a name: nobody can keep the daemon from its work by that.
            Err(Errno::EADDRINUSE) => {
                let runtime_dir = runtime_dir.display();
                warn!(%runtime_dir, "somebody else's process has the name that tells daemons apart");
                false
            }
            Err(errno) => return Err(failed(errno)),
        };
        Ok(Self {
            _socket: socket,
            is_sure,
        })
    }
}

fn address(runtime_dir: &Path) -> Result<UnixAddr, Errno> {
    let hash = fnv1a(runtime_dir.as_os_str().as_encoded_bytes());
    UnixAddr::new_abstract(format!("netbackend:{hash:016x}").as_bytes())
}

fn open() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}

/// Whether one like us has it: it listens, and belongs to root or our own user.
fn is_daemons(address: &UnixAddr) -> bool {
    let owner = open().and_then(|socket| {
        connect(socket.as_raw_fd(), address)?;
        getsockopt(&socket, sockopt::PeerCredentials)
    });
    owner.is_ok_and(|owner| owner.uid() == 0 || owner.uid() == geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_keeps_the_name_keeps_nobody_from_work() {
        let directory = tempfile::tempdir().unwrap();
        let address = address(directory.path()).unwrap();
        let squatter = open().unwrap();
        bind(squatter.as_raw_fd(), &address).unwrap();
        assert!(!Claim::take(directory.path()).unwrap().is_sure);
        drop(squatter);
        assert!(Claim::take(directory.path()).unwrap().is_sure);
    }

    #[test]
    fn names_are_one_daemons_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let first = Claim::take(directory.path()).unwrap();
        for _ in 0..3 {
            let refused = Claim::take(directory.path()).unwrap_err();
            assert!(refused.to_string().contains("--runtime-dir"), "{refused}");
        }
        let other = tempfile::tempdir().unwrap();
        Claim::take(other.path()).unwrap();
        drop(first);
        Claim::take(directory.path()).unwrap();
    }
}
