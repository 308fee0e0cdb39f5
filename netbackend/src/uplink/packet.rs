//! Packet sockets on a NIC of the host (packet(7)): the host goes on using it, and so may a bridge.
use super::{
    error::UplinkError,
    nic::{Nic, Use},
};
use crate::{
    netlink::{Link, Netlink},
    sys,
};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt},
};
use std::os::fd::OwnedFd;

/// Bytes that wait in a socket at most, in each direction: dozens of the largest frames, with what the kernel keeps of each.
const BUFFER: usize = 4 << 20;
/// linux/if_packet.h: by flow.
const FANOUT_HASH: libc::c_int = 0;
/// linux/if_packet.h: the kernel picks the number of the group.
const FANOUT_UNIQUE_ID: libc::c_int = 0x2000;

/// Packet sockets to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PacketSpec {
    pub(crate) nic: Nic,
    pub(crate) mtu: u16,
    pub(crate) queues: u16,
}

/// Opens them, in the thread's namespace. They share what the NIC receives, flow by flow. The NIC is promiscuous for as long as they
/// are open.
pub(super) fn open(
    spec: &PacketSpec,
    netlink: &mut Netlink,
) -> Result<(Link, Vec<OwnedFd>), UplinkError> {
    let nic = spec.nic.find(netlink, Use::Beside, Some(spec.mtu))?;
    let failed = |operation| {
        let refused = UplinkError::io(operation, &spec.nic.name);
        |errno: Errno| refused(errno.into()).for_want_of_raw()
    };
    let mut group = None;
    let mut queues = Vec::new();
    for _ in 0..spec.queues {
        let queue = open_queue().map_err(failed("open a packet socket"))?;
        sys::bind_packet_socket(&queue, nic.index).map_err(failed("bind a packet socket"))?;
        if spec.queues > 1 {
            group = Some(join(&queue, group).map_err(failed("spread frames over packet sockets"))?);
        }
        see_all(&queue, nic.index).map_err(failed("make the interface promiscuous"))?;
        queues.push(queue);
    }
    Ok((nic, queues))
}

/// Not bound yet: it receives nothing.
fn open_queue() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let queue = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
    // The VLAN tag, which the kernel takes out of a frame; what this host sends itself is not for us.
    for option in [
        libc::PACKET_VNET_HDR,
        libc::PACKET_AUXDATA,
        libc::PACKET_IGNORE_OUTGOING,
    ] {
        sys::set_socket_option(&queue, libc::SOL_PACKET, option, &1i32)?;
    }
    setsockopt(&queue, sockopt::RcvBufForce, &BUFFER)?;
    let room = libc::c_int::try_from(BUFFER).unwrap_or(libc::c_int::MAX);
    sys::set_socket_option(&queue, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &room)?;
    Ok(queue)
}

/// Puts a bound socket into a group, the first into a new one; its number. A flow's frames go to one of the group.
fn join(queue: &OwnedFd, group: Option<libc::c_int>) -> Result<libc::c_int, Errno> {
    let request = group.unwrap_or(FANOUT_UNIQUE_ID << 16) | FANOUT_HASH << 16;
    sys::set_socket_option(queue, libc::SOL_PACKET, libc::PACKET_FANOUT, &request)?;
    let joined = sys::socket_option(queue, libc::SOL_PACKET, libc::PACKET_FANOUT)?;
    Ok(joined & 0xffff)
}

/// Has the interface take frames for addresses of others: those of guests. It ends with the socket.
fn see_all(queue: &OwnedFd, index: u32) -> Result<(), Errno> {
    let membership = libc::packet_mreq {
        mr_ifindex: index.try_into().map_err(|_| Errno::ENODEV)?,
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).map_err(|_| Errno::EINVAL)?,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let option = libc::PACKET_ADD_MEMBERSHIP;
    sys::set_socket_option(queue, libc::SOL_PACKET, option, &membership)
}
