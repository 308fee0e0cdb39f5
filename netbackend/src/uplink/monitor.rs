//! Following a NIC: whether it is there, whether its cable is, and its address.
use super::{error::UplinkError, link_event, nic::Nic, open_netlink};
use crate::{
    netlink::Netlink,
    netns::{self, NetnsError},
    sys,
};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
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
    /// The smallest MTU that it had since the last look, as far as that was told.
    lowest_mtu: Option<u32>,
}

impl Monitor {
    pub(crate) fn new(nic: Nic) -> Self {
        Self {
            nic,
            events: None,
            mounts: None,
            last: None,
            lowest_mtu: None,
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
            // What has led to what is seen now is not told after it.
            self.read_events();
            let look = self.look();
            if let Some(dip) = look.and_then(|sight| self.dip(sight)) {
                self.last = Some(dip);
                return dip;
            }
            match look {
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

    /// What was to be seen between two looks, if the MTU was smaller then than in both: the kernel has lowered that of what is on top of
    /// it (`macvlan_device_event`), and does not raise it again.
    fn dip(&mut self, sight: Sight) -> Option<Sight> {
        let lowest = self.lowest_mtu.take()?;
        let mut dip = self.last?;
        let (
            Sight::Present { index, mtu, .. },
            Sight::Present {
                index: index_now,
                mtu: mtu_now,
                ..
            },
        ) = (&mut dip, sight)
        else {
            return None;
        };
        if *index != index_now || lowest >= mtu_now.min(*mtu) {
            return None;
        }
        *mtu = lowest;
        Some(dip)
    }

    async fn wait(&mut self) {
        let (is_renamed, lowest_mtu) = tokio::select! {
            lowest_mtu = self.links_changed() => (false, lowest_mtu),
            () = self.mounts_changed() => (true, None),
        };
        self.had_mtu(lowest_mtu);
        time::sleep(SETTLE).await;
        if is_renamed {
            self.read_events();
            // The name may have been removed, or be another namespace's: a socket of ours would keep the old one alive, and
            // all interfaces in it.
            self.events = None;
        }
    }

    fn had_mtu(&mut self, mtu: Option<u32>) {
        self.lowest_mtu = self.lowest_mtu.into_iter().chain(mtu).min();
    }

    /// Takes what has been told, without waiting for more.
    fn read_events(&mut self) {
        if let Some(events) = &self.events {
            let lowest_mtu = drain(events.get_ref(), self.index());
            self.had_mtu(lowest_mtu.ok().flatten());
        }
    }

    /// Of the NIC as it was seen last.
    fn index(&self) -> Option<u32> {
        match self.last {
            Some(Sight::Present { index, .. }) => Some(index),
            Some(Sight::Gone) | None => None,
        }
    }

    /// The smallest MTU of the NIC that was told of.
    async fn links_changed(&self) -> Option<u32> {
        let Some(events) = &self.events else {
            time::sleep(RETRY).await;
            return None;
        };
        let index = self.index();
        // What else the events say does not matter, nor whether some were lost (ENOBUFS): the look tells.
        let drained = events.async_io(Interest::READABLE, |socket| drain(socket, index));
        drained.await.ok().flatten()
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

/// Takes all that is there; an error if there was nothing. The smallest MTU that the interface has had.
fn drain(socket: &OwnedFd, index: Option<u32>) -> io::Result<Option<u32>> {
    // What is longer is cut.
    let mut buffer = [0; link_event::LONGEST];
    let mut take = || {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        Ok::<_, Errno>(index.and_then(|index| link_event::mtu_of(index, &buffer[..length])))
    };
    let mut lowest = take()?;
    while let Ok(mtu) = take() {
        lowest = lowest.into_iter().chain(mtu).min();
    }
    Ok(lowest)
}

#[cfg(test)]
#[path = "monitor_test.rs"]
mod tests;
