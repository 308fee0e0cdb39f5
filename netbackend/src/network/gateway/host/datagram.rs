//! UDP sockets, and datagrams that come in.
use super::{
    error,
    sys::set_option,
    table::{Entry, Kind},
    tcp::plain,
};
use nat::{Family, HostError, Incoming};
use nix::{
    cmsg_space,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{self, IoSliceMut},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

/// The longest datagram, or several of one sender that the kernel has put together.
const LONGEST: usize = 65536;
/// Bytes asked for a socket's queues: a burst of datagrams must find room while we are busy elsewhere. The kernel may give less.
const QUEUE: usize = 1 << 20;

/// Errors of datagrams that were sent, between those that come: each is told once, instead of a datagram.
const MAX_ERRORS: usize = 16;

/// Opens a UDP socket; its address and port are chosen with the first datagram.
pub(super) fn open(family: Family) -> io::Result<OwnedFd> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(domain(family), kind, Some(Protocol::UDP))?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    let socket = OwnedFd::from(socket);
    prepare(&socket, family)?;
    Ok(socket)
}

pub(super) fn domain(family: Family) -> Domain {
    match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    }
}

/// Asks for what comes beside datagrams.
pub(super) fn prepare(socket: &OwnedFd, family: Family) -> io::Result<()> {
    let queues = socket2::SockRef::from(socket);
    queues.set_recv_buffer_size(QUEUE)?;
    queues.set_send_buffer_size(QUEUE)?;
    // Linux 5.0; without it every datagram comes by itself.
    let _ = set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1);
    ask_for_errors(socket, family)
}

/// Has errors queued with the datagram they are about (`ip(7)`, IP_RECVERR), and hop limits and traffic classes told.
pub(super) fn ask_for_errors(socket: &OwnedFd, family: Family) -> io::Result<()> {
    let (v4, v6) = (libc::IPPROTO_IP, libc::IPPROTO_IPV6);
    if family == Family::V6 {
        set_option(socket, v6, libc::IPV6_RECVERR, 1)?;
        set_option(socket, v6, libc::IPV6_RECVHOPLIMIT, 1)?;
        set_option(socket, v6, libc::IPV6_RECVTCLASS, 1)?;
        // Of use for the IPv4 half of a dual-stack socket only.
        for option in [libc::IP_RECVERR, libc::IP_RECVTTL, libc::IP_RECVTOS] {
            let _ = set_option(socket, v4, option, 1);
        }
        return Ok(());
    }
    set_option(socket, v4, libc::IP_RECVERR, 1)?;
    set_option(socket, v4, libc::IP_RECVTTL, 1)?;
    set_option(socket, v4, libc::IP_RECVTOS, 1)
}

/// Has the kernel tell which address a datagram was sent to, on a socket that is bound to all of them: the answer must come from there
/// (RFC 1122, 4.1.3.5).
pub(super) fn tell_destinations(socket: &OwnedFd, family: Family) -> io::Result<()> {
    if family == Family::V6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    }
    // On a dual-stack socket for its IPv4 half, where it tells a broadcast from the address that has it.
    set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
}

/// Where datagrams are received, one after the other.
#[derive(Debug)]
pub(super) struct Reception {
    bytes: Box<[u8]>,
    control: Vec<u8>,
}

impl Reception {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; LONGEST].into_boxed_slice(),
            // What `prepare` asks for, with room to spare.
            control: cmsg_space!([u8; 256]),
        }
    }

    /// Receives up to `limit` datagrams; how many there were.
    pub(super) fn receive(
        &mut self,
        entry: &Entry,
        limit: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, HostError> {
        let (mut count, mut errors) = (0, 0);
        while count < limit {
            match self.one(entry, sink) {
                Ok(()) => count += 1,
                Err(HostError::WouldBlock) => break,
                // An error of a datagram that was sent: the error queue tells of it, and the next call what came.
                Err(_) if errors < MAX_ERRORS => errors += 1,
                Err(failed) => return Err(failed),
            }
        }
        Ok(count)
    }

    fn one(&mut self, entry: &Entry, sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), HostError> {
        let fd = entry.socket.as_raw_fd();
        let mut into = [IoSliceMut::new(&mut self.bytes)];
        let control = Some(self.control.as_mut_slice());
        let message = recvmsg::<SockaddrStorage>(fd, &mut into, control, MsgFlags::MSG_DONTWAIT)
            .map_err(error::of_errno)?;
        let from = message.address.and_then(address).ok_or(HostError::Reset)?;
        let mut incoming = Incoming {
            from,
            to: None,
            payload: &[],
            segment: None,
            hop_limit: None,
            traffic_class: 0,
        };
        for beside in message.cmsgs().into_iter().flatten() {
            match beside {
                ControlMessageOwned::UdpGroSegments(size) => {
                    incoming.segment = u16::try_from(size).ok().filter(|size| *size > 0);
                }
                ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                    incoming.hop_limit = u8::try_from(ttl).ok();
                }
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    // Of a broadcast this is the address of the interface.
                    incoming.to =
                        Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    let asked = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    // Nobody sends from a group. A mapped address is told by the kind above, and better.
                    if !asked.is_multicast() && asked.to_ipv4_mapped().is_none() {
                        incoming.to = Some(asked.into());
                    }
                }
                ControlMessageOwned::Ipv4Tos(tos) => incoming.traffic_class = tos,
                ControlMessageOwned::Ipv6TClass(class) => {
                    incoming.traffic_class = u8::try_from(class).unwrap_or(0);
                }
                _ => {}
            }
        }
        let length = message.bytes;
        let bytes = self.bytes.get(..length).unwrap_or_default();
        let Some(bytes) = payload(entry.kind, bytes) else {
            // Somebody else's echo reply: not a datagram of this socket.
            return Ok(());
        };
        incoming.payload = bytes;
        if !matches!(entry.kind, Kind::Datagram { .. }) {
            incoming.segment = None;
        }
        sink(incoming);
        Ok(())
    }
}

/// What of the bytes is for the owner: of a raw socket of IPv4, what follows the IP header.
fn payload(kind: Kind, bytes: &[u8]) -> Option<&[u8]> {
    let Kind::RawEcho {
        family, identifier, ..
    } = kind
    else {
        return Some(bytes);
    };
    let message = match family {
        Family::V4 => bytes.get(usize::from(bytes.first()? & 0x0f) * 4..)?,
        Family::V6 => bytes,
    };
    let found = message.get(4..6)?;
    (found == identifier.to_be_bytes()).then_some(message)
}

/// An address of the kernel.
pub(super) fn address(address: SockaddrStorage) -> Option<SocketAddr> {
    let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => SocketAddr::from((v4.ip(), v4.port())),
        (None, Some(v6)) => SocketAddr::from((v6.ip(), v6.port())),
        (None, None) => return None,
    };
    Some(plain(address))
}
