//! Ports that live as long as the process that asked for them.
use super::{absence::Absent, handle::NetworkHandle};
use crate::{process::Process, sys};
use nix::sys::socket::{
    getsockopt,
    sockopt::{PeerCredentials, PeerPidfd},
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// The process at the other end of an API connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pid: i32,
    /// `None`: it cannot be watched.
    pidfd: Option<OwnedFd>,
}

impl Peer {
    /// Who connected `socket`.
    pub(crate) fn of(socket: impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd();
        let pid = getsockopt(&socket, PeerCredentials)?.pid();
        // Means the process that connected even if its pid has been used again since. Linux before
        // 6.5 does not have it; a process of a pid namespace that is not ours has the pid 0 here.
        let pidfd = getsockopt(&socket, PeerPidfd);
        let pidfd = pidfd.ok().or_else(|| match pid {
            0 => None,
            pid => sys::pidfd_open(pid).ok(),
        });
        Ok(Self { pid, pidfd })
    }

    /// What a lease needs of the process; `None`: it is gone or out of sight.
    pub(crate) fn lessee(&self) -> Option<Lessee> {
        Some(Lessee {
            pid: self.pid,
            pidfd: self.pidfd.as_ref()?.try_clone().ok()?,
            absent: Absent::Refused,
        })
    }
}

/// A process that a port is to be leased to.
#[derive(Debug)]
pub(crate) struct Lessee {
    pid: i32,
    /// Gets readable when the process ends.
    pidfd: OwnedFd,
    absent: Absent,
}

/// The process, if it lives, for a lease by a daemon that it has not asked.
pub(super) fn lessee_of(process: Process) -> Option<Lessee> {
    let pidfd = sys::pidfd_open(process.pid).ok()?;
    // Looked at only now: the pidfd means this very process.
    process.is_alive().then_some(Lessee {
        pid: process.pid,
        pidfd,
        absent: Absent::Awaited,
    })
}

impl Lessee {
    /// A guest that runs already has nobody who asks again for its port.
    pub(super) fn absent(&self) -> Absent {
        self.absent
    }

    /// What tells it from a later process; `None`: it is gone or out of sight.
    pub(super) fn identity(&self) -> Option<Process> {
        Process::of(self.pid)
    }
}

/// A watch that removes a port when a process ends; dropping it ends the watch.
#[derive(Debug)]
pub(super) struct Lease(JoinHandle<()>);

impl Lease {
    /// Watches `process` for the port `port` with the serial number `serial`.
    pub(super) fn start(
        process: Lessee,
        network: NetworkHandle,
        port: String,
        serial: u64,
    ) -> io::Result<Self> {
        let pid = process.pid;
        let pidfd = sys::watch(process.pidfd)?;
        Ok(Self(tokio::spawn(async move {
            match pidfd.readable().await {
                Ok(_) => info!(
                    network = network.name(),
                    port, pid, "the port's process has ended"
                ),
                Err(error) => warn!(port, pid, %error, "watch the port's process"),
            }
            network.end_lease(port, serial).await;
        })))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.abort();
    }
}
