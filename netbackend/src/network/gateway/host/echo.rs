//! ICMP echo: "ping" sockets where the host lets us have them, else raw sockets that the supervisor opened.
//!
//! `net.ipv4.ping_group_range` says who may have ping sockets; in a new network namespace that is nobody. A raw socket sees all
//! ICMP of the host: a filter leaves it what answers its own requests.
use super::{
    datagram::{ask_for_errors, domain},
    error,
    outbox::sockaddr,
    table::{Entry, Kind, Settings},
};
use nat::{Family, HostError};
use nix::sys::socket::{MsgFlags, sendto};
use socket2::{Protocol, SockFilter, SockRef, Socket, Type};
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
};

/// An ICMP message with its header at most: what one packet carries.
const LONGEST: usize = 65_507 + 8;

/// Raw sockets that nobody uses.
#[derive(Debug)]
pub(super) struct RawPool {
    v4: Vec<OwnedFd>,
    v6: Vec<OwnedFd>,
    next_identifier: u16,
}

impl RawPool {
    pub(super) fn new(sockets: Vec<OwnedFd>) -> Self {
        let of = |socket: &OwnedFd| super::listen::family_of(socket).ok();
        let (v4, v6) = sockets
            .into_iter()
            .partition(|socket| of(socket) == Some(Family::V4));
        Self {
            v4,
            v6,
            next_identifier: 1,
        }
    }

    pub(super) fn put(&mut self, family: Family, socket: OwnedFd) {
        match family {
            Family::V4 => self.v4.push(socket),
            Family::V6 => self.v6.push(socket),
        }
    }

    /// A socket for echo requests.
    pub(super) fn open(&mut self, family: Family) -> Result<(OwnedFd, Kind), HostError> {
        let settings = Settings::default();
        let refused = match ping(family) {
            Ok(socket) => return Ok((socket, Kind::Echo { family, settings })),
            Err(refused) => error::of(refused),
        };
        if refused != HostError::NotPermitted {
            return Err(refused);
        }
        let pool = match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        let socket = pool.pop().ok_or(HostError::NotPermitted)?;
        let identifier = self.next_identifier;
        self.next_identifier = self.next_identifier.wrapping_add(1);
        prepare(&socket, family, identifier).map_err(error::of)?;
        let kind = Kind::RawEcho {
            family,
            settings,
            identifier,
        };
        Ok((socket, kind))
    }
}

fn protocol(family: Family) -> Protocol {
    match family {
        Family::V4 => Protocol::ICMPV4,
        Family::V6 => Protocol::ICMPV6,
    }
}

fn ping(family: Family) -> io::Result<OwnedFd> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(domain(family), kind, Some(protocol(family)))?.into();
    ask_for_errors(&socket, family)?;
    Ok(socket)
}

/// Raw sockets for gateways, as far as this process may have them.
pub(crate) fn raw_sockets(count: usize) -> Vec<OwnedFd> {
    let kind = Type::RAW.nonblocking().cloexec();
    let both = [Family::V4, Family::V6].into_iter();
    let sockets = both.flat_map(|family| {
        (0..count).map_while(move |_| {
            let socket = Socket::new(domain(family), kind, Some(protocol(family))).ok()?;
            // Nothing is for a socket that nobody uses.
            socket.attach_filter(&[RETURN_NOTHING]).ok()?;
            Some(OwnedFd::from(socket))
        })
    });
    sockets.collect()
}

// Classic BPF (linux/filter.h, linux/bpf_common.h).
const LOAD_HALF_ABSOLUTE: u16 = 0x28;
const LOAD_BYTE_ABSOLUTE: u16 = 0x30;
const LOAD_HALF_INDIRECT: u16 = 0x48;
const LOAD_BYTE_INDIRECT: u16 = 0x50;
/// X = 4 * (byte & 0xf): the length of an IPv4 header.
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const RETURN_NOTHING: SockFilter = SockFilter::new(RETURN, 0, 0, 0);
const ECHO_REPLY_V4: u32 = 0;
const ECHO_REPLY_V6: u32 = 129;

/// Leaves the socket only echo replies with its identifier.
fn prepare(socket: &OwnedFd, family: Family, identifier: u16) -> io::Result<()> {
    let identifier = u32::from(identifier);
    let accept = |loads: [SockFilter; 2], reply: u32| {
        let [load_type, load_identifier] = loads;
        [
            SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0),
            load_type,
            SockFilter::new(JUMP_IF_EQUAL, 0, 3, reply),
            load_identifier,
            SockFilter::new(JUMP_IF_EQUAL, 0, 1, identifier),
            SockFilter::new(RETURN, 0, 0, u32::MAX),
            RETURN_NOTHING,
        ]
    };
    let filter = match family {
        Family::V4 => accept(
            [
                SockFilter::new(LOAD_BYTE_INDIRECT, 0, 0, 0),
                SockFilter::new(LOAD_HALF_INDIRECT, 0, 0, 4),
            ],
            ECHO_REPLY_V4,
        ),
        // A raw socket of IPv6 sees no header before the message.
        Family::V6 => accept(
            [
                SockFilter::new(LOAD_BYTE_ABSOLUTE, 0, 0, 0),
                SockFilter::new(LOAD_HALF_ABSOLUTE, 0, 0, 4),
            ],
            ECHO_REPLY_V6,
        ),
    };
    SockRef::from(socket).attach_filter(&filter)?;
    ask_for_errors(socket, family)
}

/// Sends an echo request as a ping socket would: with the socket's own identifier, and its checksum.
pub(super) fn send_raw(
    entry: &Entry,
    family: Family,
    identifier: u16,
    to: SocketAddr,
    message: &[u8],
) -> Result<(), HostError> {
    let mut bytes = Vec::with_capacity(message.len().min(LONGEST));
    bytes.extend_from_slice(message);
    let Some(header) = bytes.first_chunk_mut::<8>() else {
        return Err(HostError::Other(libc::EINVAL));
    };
    let [_, _, sum_high, sum_low, id_high, id_low, ..] = header;
    [*id_high, *id_low] = identifier.to_be_bytes();
    [*sum_high, *sum_low] = [0, 0];
    if family == Family::V4 {
        let sum = checksum(&bytes);
        if let Some(place) = bytes.get_mut(2..4) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
    }
    // The port of a raw socket's address is a protocol, and must be 0 or its own.
    let to = sockaddr(SocketAddr::new(to.ip(), 0), family);
    let flags = MsgFlags::MSG_DONTWAIT;
    sendto(entry.socket.as_raw_fd(), &bytes, &to, flags)
        .map(drop)
        .map_err(error::of_errno)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        })
        .fold(0, |sum, word| {
            let sum = sum + word;
            (sum & 0xffff) + (sum >> 16)
        });
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn checksums_are_those_of_the_rfc() {
        // RFC 1071, 3: the sum of these is 0xddf2.
        assert_eq!(
            checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            !0xddf2
        );
        assert_eq!(checksum(&[0xff; 9]), !0xff00);
    }
}
