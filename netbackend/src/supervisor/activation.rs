//! Listening sockets that a service manager has opened for us (`sd_listen_fds(3)`).
//!
//! They outlive this process: front-ends that connect while it is being restarted wait in the
//! backlog instead of being refused.
use super::listen::BoundSocket;
use crate::sys;
use anyhow::{Context, bail};
use nix::sys::socket::{
    SockType, SockaddrLike, UnixAddr, getsockname, getsockopt,
    sockopt::{AcceptConn, SockType as SockTypeOption},
};
use std::{
    env,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// `SD_LISTEN_FDS_START`
const FIRST: RawFd = 3;
/// What the service manager says of them; not for our workers.
pub(super) const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// Name of the control socket; ports are called NETWORK/PORT.
pub(super) const CONTROL: &str = "control";

/// The sockets that were handed over.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    name: String,
    path: PathBuf,
    listener: UnixListener,
    used: AtomicBool,
}

impl Inherited {
    /// Takes what the environment names.
    ///
    /// # Errors
    /// A descriptor is missing, or is no listening Unix stream socket with a path.
    pub(super) fn from_environment() -> anyhow::Result<Self> {
        let variable = |name| env::var(name).unwrap_or_default();
        // Meant for somebody else, or nobody: not an error (sd_listen_fds(3)).
        if variable("LISTEN_PID").parse() != Ok(std::process::id()) {
            return Ok(Self::default());
        }
        let count: u16 = match variable("LISTEN_FDS").parse() {
            Ok(count) => count,
            Err(_) => bail!("LISTEN_FDS is {:?}, not a number", variable("LISTEN_FDS")),
        };
        let names = variable("LISTEN_FDNAMES");
        let mut names = names.split(':');
        let fds = (FIRST..).take(usize::from(count));
        let sockets = fds.map(|fd| {
            let name = names.next().unwrap_or_default().to_owned();
            let fd = sys::own_inherited(fd);
            fd.map_err(anyhow::Error::from)
                .and_then(|fd| Socket::new(name.clone(), fd))
                .with_context(|| format!("use the socket {name:?} of the service manager"))
        });
        sockets.collect::<anyhow::Result<_>>().map(Self)
    }

    /// The socket called `name`, else the one that listens on `path`. It can be had again and again.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(super) fn get(&self, name: &str, path: &Path) -> std::io::Result<Option<BoundSocket>> {
        let named = self.0.iter().find(|socket| socket.name == name);
        let found = named.or_else(|| self.0.iter().find(|socket| socket.path == path));
        let Some(socket) = found else {
            return Ok(None);
        };
        socket.used.store(true, Relaxed);
        let listener = socket.listener.try_clone()?;
        Ok(Some(BoundSocket::adopt(listener, &socket.path)))
    }

    /// Sockets that nobody has asked for, each with its name and path.
    pub(super) fn unused(&self) -> impl Iterator<Item = (&str, &Path)> {
        let unused = self.0.iter().filter(|socket| !socket.used.load(Relaxed));
        unused.map(|socket| (socket.name.as_str(), socket.path.as_path()))
    }
}

impl Socket {
    fn new(name: String, fd: OwnedFd) -> anyhow::Result<Self> {
        let kind = getsockopt(&fd, SockTypeOption).context("it is not a socket")?;
        if kind != SockType::Stream || !getsockopt(&fd, AcceptConn)? {
            bail!(
                "it is not a listening stream socket (in the .socket unit: ListenStream=, Accept=no)"
            );
        }
        let address: UnixAddr = getsockname(fd.as_raw_fd()).context("it is not a Unix socket")?;
        let path = address.path().filter(|_| address.len() > 0);
        let path = path.context("it has no path (abstract sockets are not supported)")?;
        Ok(Self {
            name,
            path: path.to_owned(),
            listener: fd.into(),
            used: AtomicBool::new(false),
        })
    }
}
