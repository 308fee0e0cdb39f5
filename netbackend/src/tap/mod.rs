//! Making tap devices: in the right namespace, with virtio-net headers and offloads, up.
use crate::{
    netlink::Netlink,
    netns::{self, NetnsError},
    privilege::{Device, Privileges},
    sys,
};
use nix::{errno::Errno, libc};
use rtnetlink::{LinkUnspec, packet_route::link::LinkAttribute};
use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};
use switch::MacAddr;

/// `virtio_net_hdr_v1`, as the data plane reads and writes it.
const HEADER_SIZE: libc::c_int = 12;
/// linux/if_tun.h: `TUN_F_CSUM`, `TUN_F_TSO4`, `TUN_F_TSO6`, `TUN_F_TSO_ECN`.
const OFFLOADS: libc::c_int = 1 | 2 | 4 | 8;

/// Frames that a tap or macvtap keeps for its reader. The kernel's 500 are full after some milliseconds of small frames, which is as long
/// as a worker may wait for a CPU that it shares; 2 Gb/s of datagrams fill these in 22 ms. A slot is a pointer, so that those unused cost little;
/// those in use hold a frame each, of a GSO sender up to 64 KiB: 256 MiB of the kernel's memory for a queue at the very worst.
pub(crate) const QUEUE_LEN: u32 = 4096;

/// A tap to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TapSpec {
    pub(crate) interface: String,
    /// A name in /run/netns.
    pub(crate) netns: Option<String>,
    pub(crate) queues: u16,
    pub(crate) mtu: u16,
    /// Address of the interface; the kernel picks one without.
    pub(crate) mac: Option<MacAddr>,
}

/// Why there is no tap.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TapError {
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    #[error(
        "open /dev/net/tun: {0} (load the module with `modprobe tun`, and check the device's permissions)"
    )]
    NoTun(io::Error),
    #[error(
        "making tap {interface} is not permitted (netbackend needs CAP_NET_ADMIN: {privileges})"
    )]
    NotPermitted {
        interface: String,
        privileges: Privileges,
    },
    #[error("tap {0} is in use by another process (stop that one, or choose another interface)")]
    InUse(String),
    #[error(
        "interface {0} exists and is not a tap of this kind (remove it with `ip link del {0}`, or choose another interface)"
    )]
    WrongKind(String),
    #[error("{operation} of tap {interface}: {source}")]
    Io {
        operation: &'static str,
        interface: String,
        source: io::Error,
    },
}

/// Makes the tap and brings it up; one file per queue. It vanishes when all of them are closed.
pub(crate) fn open(spec: &TapSpec) -> Result<Vec<OwnedFd>, TapError> {
    netns::within(spec.netns.as_deref(), || {
        let queues = (0..spec.queues).map(|_| open_queue(spec));
        let queues = queues.collect::<Result<_, _>>()?;
        configure_link(spec).map_err(|source| spec.error("configure the link", source))?;
        Ok(queues)
    })
}

fn open_queue(spec: &TapSpec) -> Result<OwnedFd, TapError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .map_err(TapError::NoTun)?;
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    if spec.queues > 1 {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    let interface = &spec.interface;
    set_up_queue(&file, interface, flags).map_err(|(operation, errno)| match errno {
        Errno::EPERM => TapError::NotPermitted {
            interface: interface.clone(),
            privileges: Privileges::new(Device::Tap, spec.netns.as_deref()),
        },
        Errno::EBUSY => TapError::InUse(interface.clone()),
        Errno::EINVAL | Errno::EEXIST => TapError::WrongKind(interface.clone()),
        errno => spec.error(operation, errno.into()),
    })?;
    Ok(file.into())
}

/// Attaches a file of a tap or macvtap, for frames as the data plane reads and writes them; what failed, and why.
pub(crate) fn set_up_queue(
    file: impl AsFd,
    interface: &str,
    flags: libc::c_int,
) -> Result<(), (&'static str, Errno)> {
    sys::attach_tap(&file, interface, flags).map_err(|errno| ("attach a queue", errno))?;
    sys::set_tap_header_size(&file, HEADER_SIZE).map_err(|errno| ("set the header size", errno))?;
    sys::set_tap_offloads(&file, OFFLOADS).map_err(|errno| ("set the offloads", errno))
}

/// Address, MTU and up, in the namespace that this thread is in.
fn configure_link(spec: &TapSpec) -> io::Result<()> {
    let mut link = LinkUnspec::new_with_name(&spec.interface)
        .mtu(spec.mtu.into())
        .append_extra_attribute(LinkAttribute::TxQueueLen(QUEUE_LEN));
    if let Some(mac) = spec.mac {
        link = link.address(mac.0.to_vec());
    }
    Netlink::open()?.set(link.up().build())
}

impl TapSpec {
    fn error(&self, operation: &'static str, source: io::Error) -> TapError {
        TapError::Io {
            operation,
            interface: self.interface.clone(),
            source,
        }
    }
}

#[cfg(test)]
#[path = "tap_test.rs"]
mod tests;
