//! Listening sockets, taken without stealing them.
use super::parent;
use crate::config::SocketAccess;
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket,
        sockopt::PeerCredentials,
    },
};
use std::{
    fmt,
    fs::{self, Permissions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tracing::info;

/// How long a worker may take to end that has a socket of a daemon that was killed: the kernel waits for each macvtap.
const HEIR_PATIENCE: Duration = Duration::from_secs(2);
/// Each look is a connection that waits with the listener: fewer than the 128 that it may have room for.
const HEIR_PAUSE: Duration = Duration::from_millis(25);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    #[error("{} is already in use by {owner} (stop that process, or choose another path)", path.display())]
    InUse { path: PathBuf, owner: String },
    #[error("{} exists and is not a socket (remove it, or choose another path)", path.display())]
    NotASocket { path: PathBuf },
    #[error("the directory {} does not exist (make it, or choose another path)", dir.display())]
    NoDirectory { dir: PathBuf },
    #[error("no permission to make {} (choose another path, or change the directory's mode)", path.display())]
    NotPermitted { path: PathBuf },
    #[error(
        "give {} to user and group {owner}: not permitted (run as root, or leave out socket_owner and name a group of your own as socket_group)",
        path.display()
    )]
    Owner { path: PathBuf, owner: String },
    #[error("{operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// A listening socket; its file is removed with it if it was made here.
#[derive(Debug)]
pub(super) struct BoundSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, to remove only our own; none: somebody else made it.
    identity: Option<(u64, u64)>,
}

impl BoundSocket {
    /// Listens on `path`; a file that a dead process left behind is replaced.
    pub(super) fn bind(path: &Path, access: SocketAccess) -> Result<Self, ListenError> {
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ListenError::NoDirectory {
                dir: parent(path).to_owned(),
            },
            io::ErrorKind::PermissionDenied => ListenError::NotPermitted {
                path: path.to_owned(),
            },
            // Somebody was faster.
            io::ErrorKind::AddrInUse => ListenError::InUse {
                path: path.to_owned(),
                owner: "another process".into(),
            },
            _ => io_error("listen on", path, source),
        })?;
        let identity = identity(path).map_err(|source| io_error("look at", path, source))?;
        let bound = Self {
            listener,
            path: path.to_owned(),
            identity: Some(identity),
        };
        bound.set_access(access)?;
        Ok(bound)
    }

    /// Takes over a socket that listens already and belongs to whoever made it.
    pub(super) fn adopt(listener: UnixListener, path: &Path) -> Self {
        Self {
            listener,
            path: path.to_owned(),
            identity: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The owner first: nobody gets in by a mode that is meant for another owner.
    fn set_access(&self, access: SocketAccess) -> Result<(), ListenError> {
        let path = &self.path;
        if access.owner.is_some() || access.group.is_some() {
            chown(path, access.owner, access.group).map_err(|source| match source.kind() {
                io::ErrorKind::PermissionDenied => ListenError::Owner {
                    path: path.clone(),
                    owner: shown(access),
                },
                _ => io_error("set the owner of", path, source),
            })?;
        }
        fs::set_permissions(path, Permissions::from_mode(access.mode))
            .map_err(|source| io_error("set the mode of", path, source))
    }

    /// The socket, for the runtime.
    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    }
}

impl AsFd for BoundSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path).ok() == self.identity {
            // If it cannot be removed now, the next daemon takes it for stale.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// `uid:gid`, as chown(1) has it.
fn shown(access: SocketAccess) -> String {
    let number = |id: Option<u32>| id.map_or_else(String::new, |id| id.to_string());
    format!("{}:{}", number(access.owner), number(access.group))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Makes way for a socket: only a socket on which nobody listens is removed.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(ListenError::NotPermitted {
                path: path.to_owned(),
            });
        }
        Err(source) => return Err(io_error("look at", path, source)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    let deadline = Instant::now() + HEIR_PATIENCE;
    while let Some(owner) = listening(path).map_err(|source| io_error("probe", path, source))? {
        // A daemon that was killed is gone before its workers are, which have its sockets until then.
        if owner.is_gone() && Instant::now() < deadline {
            thread::sleep(HEIR_PAUSE);
            continue;
        }
        return Err(ListenError::InUse {
            path: path.to_owned(),
            owner: owner.to_string(),
        });
    }
    info!(
        "replacing {}, left behind by a process that is gone",
        path.display()
    );
    fs::remove_file(path).map_err(|source| io_error("remove", path, source))
}

/// Who listens on a socket.
#[derive(Debug)]
enum Owner {
    /// Whoever called listen(); another may have the socket from it.
    Process(i32),
    Unknown,
}

impl Owner {
    /// Whether it has ended, and only others have the socket still.
    fn is_gone(&self) -> bool {
        match self {
            // 0: out of sight.
            Self::Process(pid) => *pid > 0 && !Path::new(&format!("/proc/{pid}")).exists(),
            Self::Unknown => false,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Unknown => f.write_str("another process"),
        }
    }
}

/// Who listens on the socket at `path`, if anybody does.
fn listening(path: &Path) -> io::Result<Option<Owner>> {
    // Must not block: a listener whose backlog is full is alive, if not well.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => {
            // The peer of a connection to a listener is whoever called listen() (unix(7)).
            let owner = getsockopt(&probe, PeerCredentials)?;
            Ok(Some(Owner::Process(owner.pid())))
        }
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(None),
        // EPROTOTYPE: a socket of another type, bound and alive.
        Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(Some(Owner::Unknown)),
        Err(errno) => Err(errno.into()),
    }
}

fn io_error(operation: &'static str, path: &Path, source: io::Error) -> ListenError {
    ListenError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
#[path = "listen_test.rs"]
mod tests;
