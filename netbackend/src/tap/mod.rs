//! Making tap devices: in the right namespace, with virtio-net headers and offloads, up.
use crate::sys;
use nix::{
    errno::Errno,
    libc,
    sched::{CloneFlags, setns},
};
use rtnetlink::LinkUnspec;
use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::PathBuf,
    thread,
};
use switch::MacAddr;

/// `virtio_net_hdr_v1`, as the data plane reads and writes it.
const HEADER_SIZE: libc::c_int = 12;
/// linux/if_tun.h: `TUN_F_CSUM`, `TUN_F_TSO4`, `TUN_F_TSO6`, `TUN_F_TSO_ECN`.
const OFFLOADS: libc::c_int = 1 | 2 | 4 | 8;

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
    #[error("network namespace {name} cannot be opened at {}: {source} (make it with `ip netns add {name}`)", path.display())]
    NoNamespace {
        name: String,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "entering network namespace {0} is not permitted (netbackend needs CAP_SYS_ADMIN for that: run it as root)"
    )]
    NamespaceNotPermitted(String),
    #[error(
        "open /dev/net/tun: {0} (load the module with `modprobe tun`, and check the device's permissions)"
    )]
    NoTun(io::Error),
    #[error(
        "making tap {0} is not permitted (netbackend needs CAP_NET_ADMIN: run it as root, or `setcap cap_net_admin+ep` on its binary)"
    )]
    NotPermitted(String),
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
    // A namespace is entered by a thread, and a thread that has done so is of no further use.
    thread::scope(|scope| {
        let opener = thread::Builder::new().name("tap-opener".into());
        let opener = opener.spawn_scoped(scope, || open_here(spec));
        let opener = opener.map_err(|source| spec.error("start the thread", source))?;
        opener.join().unwrap_or_else(|_| {
            Err(spec.error("open the queues", io::Error::other("the thread panicked")))
        })
    })
}

fn open_here(spec: &TapSpec) -> Result<Vec<OwnedFd>, TapError> {
    if let Some(name) = &spec.netns {
        enter_namespace(name)?;
    }
    let queues = (0..spec.queues).map(|_| open_queue(spec));
    let queues = queues.collect::<Result<_, _>>()?;
    configure_link(spec).map_err(|source| spec.error("configure the link", source))?;
    Ok(queues)
}

fn enter_namespace(name: &str) -> Result<(), TapError> {
    let path = PathBuf::from("/run/netns").join(name);
    let namespace = File::open(&path).map_err(|source| TapError::NoNamespace {
        name: name.to_owned(),
        path: path.clone(),
        source,
    })?;
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
        Errno::EPERM => TapError::NamespaceNotPermitted(name.to_owned()),
        errno => TapError::NoNamespace {
            name: name.to_owned(),
            path,
            source: errno.into(),
        },
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
    sys::attach_tap(&file, interface, flags).map_err(|errno| match errno {
        Errno::EPERM => TapError::NotPermitted(interface.clone()),
        Errno::EBUSY => TapError::InUse(interface.clone()),
        Errno::EINVAL | Errno::EEXIST => TapError::WrongKind(interface.clone()),
        errno => spec.error("attach a queue", errno.into()),
    })?;
    sys::set_tap_header_size(&file, HEADER_SIZE)
        .map_err(|errno| spec.error("set the header size", errno.into()))?;
    sys::set_tap_offloads(&file, OFFLOADS)
        .map_err(|errno| spec.error("set the offloads", errno.into()))?;
    Ok(file.into())
}

/// Address, MTU and up, through a netlink socket of the namespace that this thread is in.
fn configure_link(spec: &TapSpec) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection);
        let mut link = LinkUnspec::new_with_name(&spec.interface).mtu(spec.mtu.into());
        if let Some(mac) = spec.mac {
            link = link.address(mac.0.to_vec());
        }
        let done = handle.link().set(link.up().build()).execute().await;
        connection.abort();
        done.map_err(|error| match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        })
    })
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
