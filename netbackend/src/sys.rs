//! Thin wrappers of what has no safe form elsewhere.
#![expect(
    unsafe_code,
    reason = "owning a received descriptor, the tap ioctls, and some socket options have no safe form"
)]
use nix::{errno::Errno, libc};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};
use tokio::io::{Interest, unix::AsyncFd};

// linux/if_tun.h
nix::ioctl_write_ptr_bad!(tun_set_iff, 0x4004_54ca, libc::ifreq);
nix::ioctl_write_ptr_bad!(tun_set_vnet_hdr_size, 0x4004_54d8, libc::c_int);
nix::ioctl_write_int_bad!(tun_set_offload, 0x4004_54d0);
nix::ioctl_write_ptr_bad!(tun_set_carrier, 0x4004_54e2, libc::c_int);
// linux/sockios.h
nix::ioctl_write_ptr_bad!(add_multicast, libc::SIOCADDMULTI, libc::ifreq);
nix::ioctl_write_ptr_bad!(del_multicast, libc::SIOCDELMULTI, libc::ifreq);
nix::ioctl_write_ptr_bad!(tun_set_queue, 0x4004_54d9, libc::ifreq);

/// Takes ownership of a descriptor that `recvmsg` has just put into this process.
pub(crate) fn own_received(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has made this descriptor for the caller's recvmsg; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Takes ownership of a descriptor that this process was started with; it closes on exec from now on.
pub(crate) fn own_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // Fails if there is no such descriptor.
    std::fs::symlink_metadata(format!("/proc/self/fd/{fd}"))?;
    // SAFETY: it is open, and whoever started us gave it to us by its number: nothing in here has
    // opened it or will close it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    nix::fcntl::fcntl(
        fd.as_fd(),
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )?;
    Ok(fd)
}

/// Forgets variables of the environment that were meant for this process alone.
pub(crate) fn clear_environment(names: &[&str]) {
    for name in names {
        // SAFETY: called at the start of the program, while it has only one thread.
        unsafe { std::env::remove_var(name) };
    }
}

/// A request about the interface `name` (at most 15 bytes), else zero.
fn request_about(name: &str) -> Result<libc::ifreq, Errno> {
    // SAFETY: `ifreq` is plain data; all bits zero are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    if name.len() > room {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

/// SIOCADDMULTI: the interface takes frames to `group` (netdevice(7)).
pub(crate) fn join_group(socket: impl AsFd, name: &str, group: [u8; 6]) -> Result<(), Errno> {
    let request = group_request(name, group)?;
    // SAFETY: the kernel reads the whole, living `ifreq` during the call.
    unsafe { add_multicast(socket.as_fd().as_raw_fd(), &raw const request) }.map(drop)
}

/// SIOCDELMULTI: it no longer does, unless others of the host want them.
pub(crate) fn leave_group(socket: impl AsFd, name: &str, group: [u8; 6]) -> Result<(), Errno> {
    let request = group_request(name, group)?;
    // SAFETY: the kernel reads the whole, living `ifreq` during the call.
    unsafe { del_multicast(socket.as_fd().as_raw_fd(), &raw const request) }.map(drop)
}

fn group_request(name: &str, group: [u8; 6]) -> Result<libc::ifreq, Errno> {
    let mut request = request_about(name)?;
    let mut data = [0; 14];
    for (to, from) in data.iter_mut().zip(group) {
        *to = from.cast_signed();
    }
    // The kernel wants AF_UNSPEC here (`dev_ifsioc`).
    request.ifr_ifru.ifru_hwaddr = libc::sockaddr {
        sa_family: 0,
        sa_data: data,
    };
    Ok(request)
}

/// TUNSETIFF: attaches a file of /dev/net/tun to the interface `name` (at most 15 bytes).
pub(crate) fn attach_tap(file: impl AsFd, name: &str, flags: libc::c_int) -> Result<(), Errno> {
    let mut request = request_about(name)?;
    request.ifr_ifru.ifru_flags = flags.try_into().map_err(|_| Errno::EINVAL)?;
    // SAFETY: the kernel reads and writes the whole, living `ifreq` during the call.
    unsafe { tun_set_iff(file.as_fd().as_raw_fd(), &raw const request) }.map(drop)
}

/// TUNSETQUEUE: whether the interface hands frames to this queue of it. To attach it twice is an error.
pub(crate) fn attach_tap_queue(file: impl AsFd, attached: bool) -> Result<(), Errno> {
    let flags = if attached {
        libc::IFF_ATTACH_QUEUE
    } else {
        libc::IFF_DETACH_QUEUE
    };
    let mut request = request_about("")?;
    request.ifr_ifru.ifru_flags = flags.try_into().map_err(|_| Errno::EINVAL)?;
    // SAFETY: the kernel reads the whole, living `ifreq` during the call.
    unsafe { tun_set_queue(file.as_fd().as_raw_fd(), &raw const request) }.map(drop)
}

/// TUNSETVNETHDRSZ: bytes of virtio-net header before each frame.
pub(crate) fn set_tap_header_size(file: impl AsFd, bytes: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the kernel reads the int during the call.
    unsafe { tun_set_vnet_hdr_size(file.as_fd().as_raw_fd(), &raw const bytes) }.map(drop)
}

/// TUNSETOFFLOAD: what the kernel may leave undone in frames that it hands to the tap's reader.
pub(crate) fn set_tap_offloads(file: impl AsFd, offloads: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the argument is passed by value.
    unsafe { tun_set_offload(file.as_fd().as_raw_fd(), offloads) }.map(drop)
}

/// TUNSETCARRIER: whether the interface has a carrier.
pub(crate) fn set_tap_carrier(file: impl AsFd, carrier: bool) -> Result<(), Errno> {
    let carrier = libc::c_int::from(carrier);
    // SAFETY: the kernel reads the int during the call.
    unsafe { tun_set_carrier(file.as_fd().as_raw_fd(), &raw const carrier) }.map(drop)
}

/// Sets an option of a socket.
pub(crate) fn set_socket_option<T: Copy>(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> Result<(), Errno> {
    let length = socklen_of::<T>()?;
    // SAFETY: the kernel reads that many bytes of the living value.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            length,
        )
    };
    Errno::result(result).map(drop)
}

/// Reads an option of a socket whose value is an int.
pub(crate) fn socket_option(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
) -> Result<libc::c_int, Errno> {
    let mut value: libc::c_int = 0;
    let mut length = socklen_of::<libc::c_int>()?;
    // SAFETY: the kernel writes one int at most, and its length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    Errno::result(result).map(|_| value)
}

/// Binds a packet socket to an interface: from now on it gets all that the interface receives.
pub(crate) fn bind_packet_socket(socket: impl AsFd, interface: u32) -> Result<(), Errno> {
    // SAFETY: `sockaddr_ll` is plain data; all bits zero are a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(|_| Errno::EINVAL)?;
    let every = u16::try_from(libc::ETH_P_ALL).map_err(|_| Errno::EINVAL)?;
    address.sll_protocol = every.to_be();
    address.sll_ifindex = interface.try_into().map_err(|_| Errno::ENODEV)?;
    let length = socklen_of::<libc::sockaddr_ll>()?;
    let address = &raw const address;
    // SAFETY: the kernel reads the living address.
    let result = unsafe { libc::bind(socket.as_fd().as_raw_fd(), address.cast(), length) };
    Errno::result(result).map(drop)
}

fn socklen_of<T>() -> Result<libc::socklen_t, Errno> {
    size_of::<T>().try_into().map_err(|_| Errno::EINVAL)
}

/// `pidfd_open(2)`: a descriptor that gets readable when the process ends; it closes on exec.
pub(crate) fn pidfd_open(pid: libc::pid_t) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes this thread, and those that it will start, that much nicer to others than it was (setpriority(2): a property of a thread on Linux).
pub(crate) fn be_nicer(by: libc::c_int) -> Result<(), Errno> {
    Errno::clear();
    // SAFETY: the call takes an integer. It may return -1 for the new value, so errno tells.
    match unsafe { libc::nice(by) } {
        -1 => match Errno::last() {
            Errno::UnknownErrno => Ok(()),
            errno => Err(errno),
        },
        _ => Ok(()),
    }
}

/// Registers a descriptor with the runtime, to wait until it is readable.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    watch_for(fd, Interest::READABLE)
}

/// The same for something else than to be readable.
pub(crate) fn watch_for(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always gives the same open descriptor, and closes it only when dropped,
    // which the `AsyncFd` that owns it does after it has taken it from the runtime.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}
