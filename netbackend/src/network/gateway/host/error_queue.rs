//! What the network says about datagrams that were sent (`ip(7)`, IP_RECVERR).
use super::{
    datagram,
    table::{Entry, Kind},
    tcp::plain,
};
use nat::{Family, IncomingError};
use nix::{
    cmsg_space,
    libc::{sock_extended_err, sockaddr_in, sockaddr_in6},
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg},
};
use std::{
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
};

// linux/errqueue.h
const ORIGIN_LOCAL: u8 = 1;
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;

// RFC 792; RFC 4443.
const UNREACHABLE: (u8, u8) = (3, 1);
const UNREACHABLE_V6: (u8, u8) = (1, 3);
const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
const TOO_BIG_V6: (u8, u8) = (2, 0);

/// Bytes of a datagram that an error is taken with.
const QUOTED: usize = 256;

/// Takes the oldest entry of the queue.
pub(super) fn take(entry: &Entry) -> Option<IncomingError> {
    // Enough of the datagram to tell whose echo request it was, and for a guest to know it again.
    let mut bytes = [0; QUOTED];
    let mut control = cmsg_space!([u8; 256]);
    loop {
        let mut into = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = entry.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut into, Some(&mut control), flags).ok()?;
        let destination = message.address.and_then(datagram::address);
        let found = message.cmsgs().into_iter().flatten().find_map(|beside| {
            let destination = destination?;
            match beside {
                ControlMessageOwned::Ipv4RecvErr(error, from) => {
                    told(&error, destination, from.and_then(|from| v4(&from)))
                }
                ControlMessageOwned::Ipv6RecvErr(error, from) => {
                    told(&error, destination, from.and_then(|from| v6(&from)))
                }
                _ => None,
            }
        });
        let length = message.bytes;
        let datagram = bytes.get(..length).unwrap_or_default();
        match found {
            Some(error) if is_ours(entry.kind, datagram) => {
                return Some(IncomingError {
                    sequence: sequence(entry.kind, datagram),
                    quoted: payload(entry.kind, datagram).to_vec(),
                    ..error
                });
            }
            // A raw socket hears of everybody's datagrams, and some entries are none of the network's.
            _ => {}
        }
    }
}

fn told(
    error: &sock_extended_err,
    destination: SocketAddr,
    offender: Option<IpAddr>,
) -> Option<IncomingError> {
    let too_long = error.ee_errno == libc::EMSGSIZE as u32;
    let (icmp_type, icmp_code) = match (error.ee_origin, destination.ip()) {
        (ORIGIN_ICMP | ORIGIN_ICMP6, _) => (error.ee_type, error.ee_code),
        (ORIGIN_LOCAL, IpAddr::V4(_)) if too_long => FRAGMENTATION_NEEDED,
        (ORIGIN_LOCAL, IpAddr::V6(_)) if too_long => TOO_BIG_V6,
        (ORIGIN_LOCAL, IpAddr::V4(_)) => UNREACHABLE,
        (ORIGIN_LOCAL, IpAddr::V6(_)) => UNREACHABLE_V6,
        _ => return None,
    };
    Some(IncomingError {
        destination,
        offender: offender.filter(|_| error.ee_origin != ORIGIN_LOCAL),
        icmp_type,
        icmp_code,
        sequence: None,
        mtu: too_long.then_some(error.ee_info),
        quoted: Vec::new(),
    })
}

/// Of an echo socket: which of its requests the error is about (RFC 792, RFC 4443, 4.1).
fn sequence(kind: Kind, datagram: &[u8]) -> Option<u16> {
    let number = datagram.get(6..8)?.try_into().ok()?;
    is_echo(kind).then(|| u16::from_be_bytes(number))
}

/// What is behind the header, which the kernel gives of an echo request and not of a UDP datagram.
fn payload(kind: Kind, datagram: &[u8]) -> &[u8] {
    let header = if is_echo(kind) { 8 } else { 0 };
    datagram.get(header..).unwrap_or_default()
}

const fn is_echo(kind: Kind) -> bool {
    matches!(kind, Kind::Echo { .. } | Kind::RawEcho { .. })
}

/// Of a raw socket: whether the echo request that the error is about was its own.
fn is_ours(kind: Kind, datagram: &[u8]) -> bool {
    let Kind::RawEcho {
        family, identifier, ..
    } = kind
    else {
        return true;
    };
    let request = match family {
        Family::V4 => 8,
        Family::V6 => 128,
    };
    datagram.first() == Some(&request) && datagram.get(4..6) == Some(&identifier.to_be_bytes())
}

fn v4(from: &sockaddr_in) -> Option<IpAddr> {
    let address = Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr));
    (!address.is_unspecified()).then_some(address.into())
}

fn v6(from: &sockaddr_in6) -> Option<IpAddr> {
    let address = Ipv6Addr::from(from.sin6_addr.s6_addr);
    let address = plain(SocketAddr::from((address, 0))).ip();
    (!address.is_unspecified()).then_some(address)
}
