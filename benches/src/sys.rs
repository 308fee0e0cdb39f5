//! Thin wrappers of what has no safe form elsewhere.
#![expect(
    unsafe_code,
    reason = "the tap ioctl and an option of packet sockets have no safe form"
)]

use std::os::fd::{AsFd, AsRawFd};

use nix::{errno::Errno, libc};

// TUNSETIFF of linux/if_tun.h.
nix::ioctl_write_ptr_bad!(tun_set_iff, 0x4004_54ca, libc::ifreq);

/// Attaches a file of /dev/net/tun to the tap `name`, without any header before its frames.
pub(crate) fn attach_tap(file: impl AsFd, name: &str) -> Result<(), Errno> {
    // SAFETY: `ifreq` is plain data; all bits zero are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = flags.try_into().map_err(|_| Errno::EINVAL)?;
    // SAFETY: the kernel reads and writes the whole, living `ifreq` during the call.
    unsafe { tun_set_iff(file.as_fd().as_raw_fd(), &raw const request) }.map(drop)
}

/// PACKET_VNET_HDR of packet(7): a `struct virtio_net_hdr` comes before each frame.
pub(crate) fn expect_headers(socket: impl AsFd) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of_val(&on)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the kernel reads the int, whose size it is told, during the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_VNET_HDR,
            (&raw const on).cast(),
            len,
        )
    };
    Errno::result(done).map(drop)
}
