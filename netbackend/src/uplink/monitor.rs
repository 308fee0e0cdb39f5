//! Following a NIC: whether it is there, whether its cable is, and its address.
use super::{error::UplinkError, nic::Nic, open_netlink};
use crate::{
    netlink::Netlink,
    netns::{self, NetnsError},
    sys,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::{
    fs::File,
    future, io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};
use switch::MacAddr;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time,
};
use tracing::debug;

/// linux/rtnetlink.h: `RTMGRP_LINK`.
const LINKS: u32 = 1;
/// Many interfaces change together; one look afterwards is enough.
const SETTLE: Duration = Duration::from_millis(20);
/// Of what cannot be looked at, and of a namespace that cannot be entered: not all that may change that is told.
const RETRY: Duration = Duration::from_secs(1);
/// Names of namespaces are mounts; this file has a "priority" event whenever mounts have changed (proc_pid_mounts(5)).
const MOUNTS: &str = "/proc/self/mounts";

/// What there is of a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// No such interface, or no such namespace.
    Gone,
    Present {
        index: u32,
        is_up: bool,
        /// It is up and has a carrier.
        carries: bool,
        mac: Option<MacAddr>,
        mtu: u32,
    },
}

/// Looks at a NIC whenever something happens to interfaces of its namespace.
#[derive(Debug)]
pub(crate) struct Monitor {
    nic: Nic,
    /// None: the namespace cannot be entered.
    events: Option<AsyncFd<OwnedFd>>,
    /// Of a NIC in a namespace with a name, which may become another's.
    mounts: Option<AsyncFd<OwnedFd>>,
    last: Option<Sight>,
}

impl Monitor {
    pub(crate) fn new(nic: Nic) -> Self {
        Self {
            nic,
            events: None,
            mounts: None,
            last: None,
        }
    }

    /// What is to be seen, as soon as that is something else than before. May be cancelled.
    pub(crate) async fn next(&mut self) -> Sight {
        loop {
            if self.mounts.is_none() && self.nic.netns.is_some() {
                self.mounts = watch_mounts().ok();
            }
            if self.events.is_none() {
                // Before the look: what happens in between is not missed.
                self.events = subscribe(&self.nic).ok();
            }
            match self.look() {
                Some(sight) if self.last == Some(sight) => self.wait().await,
                Some(sight) => {
                    self.last = Some(sight);
                    return sight;
                }
                // Nobody knows: it is not gone for that.
                None => time::sleep(RETRY).await,
            }
        }
    }

    async fn wait(&mut self) {
        let is_renamed = tokio::select! {
            () = self.links_changed() => false,
            () = self.mounts_changed() => true,
        };
        if is_renamed {
            // The name may have been removed, or be another namespace's: a socket of ours would keep the old one alive, and
            // all interfaces in it.
            self.events = None;
        }
        time::sleep(SETTLE).await;
    }

    async fn links_changed(&self) {
        let Some(events) = &self.events else {
            return time::sleep(RETRY).await;
        };
        // What the events say does not matter, nor whether some were lost (ENOBUFS): the look tells.
        drop(events.async_io(Interest::READABLE, drain).await);
    }

    async fn mounts_changed(&self) {
        let Some(mounts) = &self.mounts else {
            return future::pending().await;
        };
        match mounts.ready(Interest::PRIORITY).await {
            Ok(mut changed) => changed.clear_ready(),
            // The runtime ends.
            Err(_) => future::pending().await,
        }
    }

    /// `None`: the kernel does not tell.
    fn look(&self) -> Option<Sight> {
        let looked = netns::within(self.nic.netns.as_deref(), || {
            let mut netlink: Netlink = open_netlink(&self.nic.name)?;
            let found = netlink.link(&self.nic.name);
            found.map_err(UplinkError::io("look up the interface", &self.nic.name))
        });
        match looked {
            Ok(Some(link)) => Some(Sight::Present {
                index: link.index,
                is_up: link.is_up,
                carries: link.is_up && link.has_carrier,
                mac: link.mac,
                mtu: link.mtu,
            }),
            Ok(None) | Err(UplinkError::Namespace(NetnsError::Missing { .. })) => Some(Sight::Gone),
            Err(error) => {
                debug!(nic = self.nic.name, %error, "the interface cannot be looked at");
                None
            }
        }
    }
}

fn watch_mounts() -> io::Result<AsyncFd<OwnedFd>> {
    sys::watch_for(File::open(MOUNTS)?.into(), Interest::PRIORITY)
}

/// A socket that gets readable when interfaces of the NIC's namespace change.
fn subscribe(nic: &Nic) -> Result<AsyncFd<OwnedFd>, UplinkError> {
    let subscribed = netns::within(nic.netns.as_deref(), || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol);
        let bound = socket.and_then(|socket| {
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, LINKS))?;
            Ok(socket)
        });
        Ok::<_, NetnsError>(bound)
    })?;
    let failed = || UplinkError::io("watch the interface", &nic.name);
    let socket = subscribed.map_err(|errno| failed()(errno.into()))?;
    sys::watch(socket).map_err(failed())
}

/// Takes all that is there; an error if there was nothing.
fn drain(socket: &OwnedFd) -> io::Result<()> {
    // What is longer is cut: the look tells.
    let mut buffer = [0; 64];
    let mut take = || recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty());
    take()?;
    while take().is_ok() {}
    Ok(())
}
