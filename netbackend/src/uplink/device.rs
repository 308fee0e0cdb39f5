//! The character device of a macvtap.
use super::error::UplinkError;
use crate::{netns, privilege::Privileges, tap};
use caps::{CapSet, Capability};
use nix::{
    errno::Errno,
    libc,
    sys::stat::{Mode, SFlag, major, makedev, mknod, stat},
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
                privileges: Privileges::default(),
            },
            _ => error("mount /sys for its device", name, source),
        })?;
    }
    let number = device_number(name, index);
    let number = number.map_err(|source| error("look up the device number", name, source))?;
    let (path, _node) = device_node(name, index, number)?;
    let queues = (0..count).map(|_| open_queue(name, &path, number));
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
    let operation = "make the device node of a macvtap";
    made.map_err(|errno| match errno {
        Errno::EPERM => lacks(operation, Capability::CAP_MKNOD, number),
        // Of /dev, which is root's.
        Errno::EACCES => lacks(operation, Capability::CAP_DAC_OVERRIDE, number),
        errno => error("make the device node", name, errno.into()),
    })?;
    let node = Node(path.clone());
    Ok((path, Some(node)))
}

fn open_queue(name: &str, path: &Path, number: libc::dev_t) -> Result<OwnedFd, UplinkError> {
    let operation = "open the device node of a macvtap";
    let file: File = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|source| match source.raw_os_error() {
            // The kernel makes /dev/tapN for root alone, and is not waited for until a rule of udev gives it to others.
            Some(libc::EACCES | libc::EPERM) => {
                lacks(operation, Capability::CAP_DAC_OVERRIDE, number)
            }
            _ => error("open the device", name, source),
        })?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;
    tap::set_up_queue(&file, name, flags)
        .map_err(|(operation, errno)| error(operation, name, errno.into()))?;
    Ok(file.into())
}

/// What is in the way: a capability, unless we have it.
fn lacks(operation: &'static str, capability: Capability, number: libc::dev_t) -> UplinkError {
    let name = match capability {
        Capability::CAP_MKNOD => "CAP_MKNOD",
        _ => "CAP_DAC_OVERRIDE",
    };
    // Cannot fail for one's own thread.
    if caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false) {
        return UplinkError::DeviceForbidden {
            operation,
            capability: name,
            major: major(number),
        };
    }
    UplinkError::NotPermitted {
        operation,
        capability: name,
        privileges: Privileges::default(),
    }
}

fn error(operation: &'static str, interface: &str, source: io::Error) -> UplinkError {
    UplinkError::Io {
        operation,
        interface: interface.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::PermissionsExt, thread};

    #[test]
    fn what_is_missing_to_open_a_node_is_told() {
        let node = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(node.path(), fs::Permissions::from_mode(0o000)).unwrap();
        // In a thread: capabilities belong to threads.
        let refused = thread::spawn(move || {
            caps::clear(None, CapSet::Effective).unwrap();
            open_queue("nb0", node.path(), makedev(511, 0)).unwrap_err()
        });
        let text = refused.join().unwrap().to_string();
        assert!(text.contains("needs CAP_DAC_OVERRIDE"), "{text}");
        assert!(
            text.contains("`setcap cap_net_admin,cap_mknod,cap_dac_override+ep`"),
            "{text}"
        );
    }

    #[test]
    fn capability_that_is_there_is_not_asked_for() {
        let capability = Capability::CAP_MKNOD;
        if !caps::has_cap(None, CapSet::Effective, capability).unwrap() {
            return;
        }
        let text = lacks("make a node", capability, makedev(511, 7)).to_string();
        assert!(
            text.contains("'c 511:* rwm'") && !text.contains("setcap"),
            "{text}"
        );
    }
}
