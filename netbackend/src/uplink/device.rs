//! The character device of a macvtap.
use super::error::UplinkError;
use crate::{netns, tap};
use nix::{
    errno::Errno,
    libc,
    sys::stat::{Mode, SFlag, makedev, mknod, stat},
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A node that is removed again.
struct Node(PathBuf);

impl Drop for Node {
    fn drop(&mut self) {
        // Fails only if somebody else has removed it.
        drop(fs::remove_file(&self.0));
    }
}

/// Opens `count` queues of the macvtap `name`, which is in this thread's namespace; `foreign`: not the daemon's.
pub(super) fn open_queues(
    name: &str,
    index: u32,
    count: u16,
    foreign: bool,
) -> Result<Vec<OwnedFd>, UplinkError> {
    if foreign {
        netns::mount_sysfs().map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM) => UplinkError::NotPermitted {
                operation: "mount /sys of another network namespace",
                capability: "CAP_SYS_ADMIN",
                set: "cap_sys_admin",
            },
            _ => error("mount /sys for its device", name, source),
        })?;
    }
    let number = device_number(name, index);
    let number = number.map_err(|source| error("look up the device number", name, source))?;
    let (path, _node) = device_node(name, index, number)?;
    let queues = (0..count).map(|_| open_queue(name, &path));
    queues.collect()
}

/// As sysfs tells it, for whoever makes device nodes.
fn device_number(name: &str, index: u32) -> io::Result<libc::dev_t> {
    let text = fs::read_to_string(format!("/sys/class/net/{name}/tap{index}/dev"))?;
    let (major, minor) = text.trim().split_once(':').unwrap_or_default();
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => Ok(makedev(major, minor)),
        _ => Err(io::Error::other(format!("{text:?} is no device number"))),
    }
}

/// The node that udev has made, or one of our own: there is no udev in containers, nor for other namespaces.
fn device_node(
    name: &str,
    index: u32,
    number: libc::dev_t,
) -> Result<(PathBuf, Option<Node>), UplinkError> {
    let usual = PathBuf::from(format!("/dev/tap{index}"));
    // Indices are unique per namespace only.
    if stat(&usual).is_ok_and(|found| found.st_rdev == number) {
        return Ok((usual, None));
    }
    let path = PathBuf::from(format!("/dev/{name}"));
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let made = match mknod(&path, SFlag::S_IFCHR, mode, number) {
        // Of a daemon that was killed just then: the name is ours alone.
        Err(Errno::EEXIST) => {
            drop(fs::remove_file(&path));
            mknod(&path, SFlag::S_IFCHR, mode, number)
        }
        made => made,
    };
    made.map_err(|errno| match errno {
        Errno::EPERM | Errno::EACCES => UplinkError::NotPermitted {
            operation: "make the device node of a macvtap",
            capability: "CAP_MKNOD",
            set: "cap_mknod",
        },
        errno => error("make the device node", name, errno.into()),
    })?;
    let node = Node(path.clone());
    Ok((path, Some(node)))
}

fn open_queue(name: &str, path: &Path) -> Result<OwnedFd, UplinkError> {
    let file: File = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(UplinkError::io("open the device", name))?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;
    tap::set_up_queue(&file, name, flags)
        .map_err(|(operation, errno)| error(operation, name, errno.into()))?;
    Ok(file.into())
}

fn error(operation: &'static str, interface: &str, source: io::Error) -> UplinkError {
    UplinkError::Io {
        operation,
        interface: interface.to_owned(),
        source,
    }
}
