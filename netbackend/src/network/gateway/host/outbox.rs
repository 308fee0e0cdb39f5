//! Datagrams on their way out: those that belong together leave together.
use super::{
    error,
    sys::set_option,
    table::{Entry, Kind, Settings, Table},
};
use nat::{Family, HostError, Outgoing, SocketId, Unsent};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use std::{
    collections::VecDeque,
    io::IoSlice,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    os::fd::{AsFd, AsRawFd},
};

/// Datagrams of one system call at most (UDP_MAX_SEGMENTS of Linux).
const MOST: usize = 64;
/// Bytes of one system call at most: what one IPv4 packet may carry.
const LONGEST: usize = 65_507;
/// Bytes of a datagram that could not be sent that are kept: what an ICMP error has room for (RFC 1812, 4.3.2.3), less its headers.
const QUOTED: usize = 256;

/// Datagrams of one socket to one place, all but the last of one size.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    pending: Option<Pending>,
    /// What was taken and could not be sent. Asked for after each burst, whose length bounds it.
    pub(super) unsent: VecDeque<Unsent>,
}

/// Where datagrams go to, and from which address if not from the one that the kernel chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    to: SocketAddr,
    from: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    socket: SocketId,
    ends: Ends,
    settings: Settings,
    /// Bytes of each datagram.
    size: usize,
    count: usize,
}

impl Outbox {
    /// Sends a datagram, now or with those that follow.
    pub(super) fn send(
        &mut self,
        table: &mut Table,
        socket: SocketId,
        datagram: &Outgoing<'_>,
    ) -> Result<(), HostError> {
        let settings = Settings {
            hop_limit: datagram.hop_limit,
            traffic_class: Some(datagram.traffic_class),
            dont_fragment: Some(datagram.dont_fragment),
        };
        let ends = Ends {
            to: datagram.to,
            from: datagram.from,
        };
        if let Some(pending) = &mut self.pending {
            let length = datagram.payload.len();
            let joins = pending.socket == socket
                && pending.ends == ends
                && pending.settings == settings
                && datagram.segment.is_none()
                && (1..=pending.size).contains(&length)
                && self.bytes.len() + length <= LONGEST;
            if joins {
                self.bytes.extend_from_slice(datagram.payload);
                pending.count += 1;
                // A shorter one is the last of its kind.
                if length < pending.size || pending.count == MOST {
                    self.flush(table);
                }
                return Ok(());
            }
            self.flush(table);
        }
        let entry = table.entry(socket)?;
        // Ping sockets know no UDP_SEGMENT, and an empty datagram has nothing to be joined to.
        if !matches!(entry.kind, Kind::Datagram { .. })
            || datagram.segment.is_some()
            || datagram.payload.is_empty()
        {
            return send(entry, ends, settings, datagram.payload, datagram.segment);
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(datagram.payload);
        self.pending = Some(Pending {
            socket,
            ends,
            settings,
            size: datagram.payload.len(),
            count: 1,
        });
        Ok(())
    }

    /// Sends what is held back. Its sender has long been told that it was taken: what fails is kept for [`nat::Host::take_unsent`].
    pub(super) fn flush(&mut self, table: &mut Table) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let Ok(entry) = table.entry(pending.socket) else {
            return;
        };
        let segment = (pending.count > 1).then_some(pending.size);
        let segment = segment.and_then(|size| u16::try_from(size).ok());
        match send(entry, pending.ends, pending.settings, &self.bytes, segment) {
            Ok(()) => {}
            Err(failed) if segment.is_some() && concerns_segments(failed) => {
                for datagram in self.bytes.chunks(pending.size) {
                    if let Err(failed) = send(entry, pending.ends, pending.settings, datagram, None)
                    {
                        self.unsent
                            .push_back(pending.unsent(entry, failed, 1, datagram));
                    }
                }
            }
            Err(failed) => {
                let first = self.bytes.get(..pending.size).unwrap_or(&self.bytes);
                let unsent = pending.unsent(entry, failed, pending.count, first);
                self.unsent.push_back(unsent);
            }
        }
    }

    /// The same if it is this socket's.
    pub(super) fn flush_of(&mut self, socket: SocketId, table: &mut Table) {
        if self.pending.is_some_and(|pending| pending.socket == socket) {
            self.flush(table);
        }
    }
}

impl Pending {
    fn unsent(&self, entry: &Entry, error: HostError, count: usize, first: &[u8]) -> Unsent {
        Unsent {
            token: entry.token,
            socket: self.socket,
            to: self.ends.to,
            from: self.ends.from,
            error,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            quoted: first.get(..QUOTED).unwrap_or(first).to_vec(),
        }
    }
}

/// Whether an error may be one of several datagrams in one system call: the way out may lack what UDP_SEGMENT needs (EINVAL, EIO), or
/// one datagram may be longer than its MTU. Any other would befall each of them.
const fn concerns_segments(error: HostError) -> bool {
    matches!(error, HostError::MessageTooLong | HostError::Other(_))
}

fn send(
    entry: &mut Entry,
    ends: Ends,
    settings: Settings,
    payload: &[u8],
    segment: Option<u16>,
) -> Result<(), HostError> {
    let family = apply(entry, settings);
    let bytes = match &entry.kind {
        Kind::RawEcho {
            identifier, family, ..
        } => {
            return super::echo::send_raw(entry, *family, *identifier, ends.to, payload);
        }
        _ => [IoSlice::new(payload)],
    };
    let to = sockaddr(ends.to, family);
    // A link-local address is one of each link, which the route to the client chooses.
    let source = ends.from.filter(|from| !is_link_local(*from));
    let source = source.map(|from| Source::new(from, family));
    let source = source.as_ref().map(Source::message);
    let segments = segment.as_ref().map(ControlMessage::UdpGsoSegments);
    // A socket sends with one of them, both or none.
    let one;
    let both;
    let beside: &[ControlMessage<'_>] = match (source, segments) {
        (Some(source), Some(segments)) => {
            both = [source, segments];
            &both
        }
        (Some(only), None) | (None, Some(only)) => {
            one = [only];
            &one
        }
        (None, None) => &[],
    };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let fd = entry.socket.as_raw_fd();
    // A pending error of an earlier datagram is told instead of sending; the second try sends.
    let sent = sendmsg(fd, &bytes, beside, flags, Some(&to))
        .or_else(|_| sendmsg(fd, &bytes, beside, flags, Some(&to)));
    sent.map(drop).map_err(error::of_errno)
}

const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// An address to send from, as the socket's family has it.
enum Source {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl Source {
    fn new(from: IpAddr, family: Family) -> Self {
        match (from, family) {
            (IpAddr::V4(from), Family::V4) => Self::V4(libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr {
                    s_addr: from.to_bits().to_be(),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            }),
            (from, _) => {
                let from = match from {
                    IpAddr::V4(from) => from.to_ipv6_mapped(),
                    IpAddr::V6(from) => from,
                };
                Self::V6(libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: from.octets(),
                    },
                    ipi6_ifindex: 0,
                })
            }
        }
    }

    const fn message(&self) -> ControlMessage<'_> {
        match self {
            Self::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Self::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }
}

/// The address as the socket's family has it: of IPv4 on a dual-stack socket, mapped.
pub(super) fn sockaddr(to: SocketAddr, family: Family) -> SockaddrStorage {
    match (to, family) {
        (SocketAddr::V4(v4), Family::V4) => v4.into(),
        (SocketAddr::V6(v6), _) => v6.into(),
        (SocketAddr::V4(v4), Family::V6) => {
            let mapped = v4.ip().to_ipv6_mapped();
            SocketAddrV6::new(mapped, v4.port(), 0, 0).into()
        }
    }
}

/// Has the kernel send as the datagram asks, where that differs from the one before.
fn apply(entry: &mut Entry, wanted: Settings) -> Family {
    let socket = entry.socket.as_fd();
    let Some((family, set)) = entry.kind.settings() else {
        return Family::V4;
    };
    let (v4, v6) = (libc::IPPROTO_IP, libc::IPPROTO_IPV6);
    // None of these fails for values that are an octet or a constant.
    if set.hop_limit != wanted.hop_limit {
        set.hop_limit = wanted.hop_limit;
        // -1: the host's default.
        let limit = wanted.hop_limit.map_or(-1, i32::from);
        let _ = match family {
            Family::V4 => set_option(socket, v4, libc::IP_TTL, limit),
            Family::V6 => set_option(socket, v6, libc::IPV6_UNICAST_HOPS, limit),
        };
    }
    if set.traffic_class != wanted.traffic_class {
        set.traffic_class = wanted.traffic_class;
        let class = wanted.traffic_class.map_or(0, i32::from);
        let _ = match family {
            Family::V4 => set_option(socket, v4, libc::IP_TOS, class),
            Family::V6 => set_option(socket, v6, libc::IPV6_TCLASS, class),
        };
    }
    if set.dont_fragment != wanted.dont_fragment {
        set.dont_fragment = wanted.dont_fragment;
        let never = wanted.dont_fragment == Some(true);
        let _ = match family {
            Family::V4 => {
                let how = if never {
                    libc::IP_PMTUDISC_DO
                } else {
                    libc::IP_PMTUDISC_DONT
                };
                set_option(socket, v4, libc::IP_MTU_DISCOVER, how)
            }
            Family::V6 => {
                let how = if never {
                    libc::IPV6_PMTUDISC_DO
                } else {
                    libc::IPV6_PMTUDISC_DONT
                };
                set_option(socket, v6, libc::IPV6_MTU_DISCOVER, how)
            }
        };
    }
    family
}
