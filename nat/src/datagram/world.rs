//! What the world sends to mappings: datagrams, and errors about what was sent.
use super::mapping::{Endpoint, Kind, Mapping};
use super::table::DatagramTable;
use crate::bytes::{Sum, set};
use crate::counters::DropReason;
use crate::env::Env;
use crate::frame::{ETHERNET_LEN, Fragmenter, IpHeader, Link, Pseudo, emit_datagram, protocol};
use crate::host::{Incoming, IncomingError, Readiness, SocketId, Token};
use crate::icmp::{Problem, Remains, TooBig, tell_of};
use crate::meta::{Gso, GsoKind};
use crate::slab::Key;
use std::net::{IpAddr, SocketAddr};

/// Bytes of a UDP header.
const UDP_LEN: usize = 8;
/// Datagrams of one socket at once: then the others have their turn.
const BATCH: usize = 64;
/// Errors of one socket at once.
const MAX_ERRORS: usize = 16;
/// Bytes of an echo message that a guest gets; a larger one is no answer to what a guest can send in one frame.
const MAX_ECHO: usize = 65_535 - 40 - 8;

impl DatagramTable {
    /// Something happened to a mapping's socket.
    pub(crate) fn host_event(&mut self, env: &mut Env<'_>, token: Token, ready: Readiness) {
        let key = Key {
            index: token.index(),
            generation: token.generation(),
        };
        let Some(index) = self.mappings.live(key) else {
            return;
        };
        if ready.error
            && let Some(socket) = self.mappings.at(index).map(|mapping| mapping.socket)
        {
            self.drain_errors(env, index, socket);
        }
        if let Some(mapping) = self.mappings.at_mut(index)
            && ready.readable
            && !std::mem::replace(&mut mapping.listed, true)
        {
            self.pending.push(key);
        }
    }

    /// Takes what has come for mappings. True: there is more.
    pub(super) fn receive_pending(&mut self, env: &mut Env<'_>) -> bool {
        for key in std::mem::take(&mut self.pending) {
            let Some(index) = self.mappings.live(key) else {
                continue;
            };
            let more = self.receive(env, index);
            if let Some(mapping) = self.mappings.at_mut(index) {
                mapping.listed = more;
                if more {
                    self.pending.push(key);
                }
            }
        }
        !self.pending.is_empty()
    }

    /// Takes a batch of one socket. True: there may be more.
    fn receive(&mut self, env: &mut Env<'_>, index: u32) -> bool {
        let Some(mapping) = self.mappings.at_mut(index) else {
            return false;
        };
        let Env {
            now,
            config,
            out,
            host,
            guests,
            counters,
            fragmenter,
            ..
        } = env;
        let socket = mapping.socket;
        // What finds no room in the network stays in the socket, which has more of it than we have.
        let mtu = mapping.mtu_within(fragmenter);
        let limit = BATCH.min(Fragmenter::room_within(mtu, *out));
        if limit == 0 {
            return true;
        }
        let mut sink = |incoming: Incoming<'_>| {
            let from = incoming.from;
            if !mapping.lets_in(from, config.policy.filtering) {
                return counters.drop(DropReason::Filtered);
            }
            let guest = mapping.endpoint.guest;
            let Some(incoming) = guests.admit(guest, *now, incoming, counters) else {
                return;
            };
            let source = mapping.seen_from(from, config.addressing.gateway(from.ip()));
            let link = Link {
                source: config.mac,
                destination: mapping.mac,
            };
            if deliver(mapping, *out, fragmenter, link, source, &incoming) {
                mapping.note_received(incoming.payload.len(), *now);
            } else {
                counters.drop(DropReason::NoRoom);
            }
        };
        match host.receive(socket, limit, &mut sink) {
            Ok(count) => count >= limit,
            Err(_) => false,
        }
    }

    /// Tells the guest what the network said about what it sent.
    pub(super) fn drain_errors(&mut self, env: &mut Env<'_>, index: u32, socket: SocketId) {
        let of_forward = |mapping: &Mapping| mapping.client.is_some();
        if self.mappings.at(index).is_some_and(of_forward) {
            return self.drain_session_errors(env, socket);
        }
        for _ in 0..MAX_ERRORS {
            let Some(error) = env.host.receive_error(socket) else {
                return;
            };
            let Some(mapping) = self.mappings.at(index) else {
                return;
            };
            // An error about something that the guest has not sent is somebody's invention.
            if !mapping.knows(error.destination.ip()) {
                env.counters.drop(DropReason::Filtered);
                continue;
            }
            let gateway = env.gateway_address(error.destination.ip());
            let destination = mapping.seen_from(error.destination, gateway);
            let guest = (mapping.endpoint.guest, mapping.mac);
            let number = match (mapping.endpoint.kind, destination) {
                (Kind::Udp, _) => protocol::UDP,
                (Kind::Echo, SocketAddr::V4(_)) => protocol::ICMP,
                (Kind::Echo, SocketAddr::V6(_)) => protocol::ICMPV6,
            };
            let offender = error
                .offender
                .filter(|offender| !offender.is_loopback() && !mapping.loopback);
            let second_word = match mapping.endpoint.kind {
                // The length of what is quoted, and no checksum: nothing that a guest looks at.
                Kind::Udp => {
                    let len = u16::try_from(8 + error.quoted.len()).unwrap_or(u16::MAX);
                    let [high, low] = len.to_be_bytes();
                    [high, low, 0, 0]
                }
                Kind::Echo => {
                    let [high, low] = error.sequence.unwrap_or(0).to_be_bytes();
                    [high, low, 0, 0]
                }
            };
            let remains = Remains {
                source: mapping.endpoint.address,
                destination,
                protocol: number,
                second_word,
                rest: &error.quoted,
            };
            tell_of(env, guest, offender, &remains, problem_of(&error));
        }
    }
}

pub(super) fn problem_of(error: &IncomingError) -> Problem {
    match error.mtu {
        Some(mtu) => Problem::TooBig(mtu),
        None => Problem::Other {
            kind: error.icmp_type,
            code: error.icmp_code,
        },
    }
}

impl DatagramTable {
    /// A router among the guests has no room for what comes from a remote end: it comes in fragments from now on, as long as the
    /// mapping lives. A guest can ask that of its own mappings only. False: it has no such mapping.
    pub(crate) fn too_big(&mut self, guest: u32, told: &TooBig) -> bool {
        let of = |client| Endpoint {
            kind: Kind::Udp,
            guest,
            address: told.guest,
            client,
        };
        let session = self.find(&of(Some(told.remote)));
        let Some(index) = session.or_else(|| self.find(&of(None))) else {
            return false;
        };
        let Some(mapping) = self.mappings.at_mut(index) else {
            return false;
        };
        // Never more than before (RFC 1191, 6.3, raises it after a while: that ends with the mapping).
        let mtu = Some(mapping.mtu.map_or(told.mtu, |mtu| mtu.min(told.mtu)));
        let before = std::mem::replace(&mut mapping.mtu, mtu);
        if mapping.client.is_some() {
            self.narrow.change(mapping.socket, before, mtu);
        }
        true
    }

    /// Datagrams to take of a forward's socket for the room that there is, whichever session of it they are for.
    pub(crate) fn room_of_forward(&self, env: &mut Env<'_>, socket: SocketId) -> usize {
        let most = env.fragmenter.mtu;
        let mtu = self.narrow.least(socket).map_or(most, |mtu| mtu.min(most));
        Fragmenter::room_within(mtu, env.out)
    }
}

impl Mapping {
    /// Bytes of a packet to the guest at most.
    fn mtu_within(&self, fragmenter: &Fragmenter) -> u16 {
        self.mtu
            .map_or(fragmenter.mtu, |mtu| mtu.min(fragmenter.mtu))
    }

    /// A remote end as the guest knows it.
    pub(super) fn seen_from(&self, from: SocketAddr, gateway: Option<IpAddr>) -> SocketAddr {
        match gateway {
            Some(gateway) if self.loopback && from.ip().is_loopback() => {
                SocketAddr::new(gateway, from.port())
            }
            _ => from,
        }
    }
}

/// Sends a datagram of the world to the guest. False: there was no room.
pub(super) fn deliver(
    mapping: &Mapping,
    out: &mut dyn crate::Output,
    fragmenter: &mut Fragmenter,
    link: Link,
    source: SocketAddr,
    incoming: &Incoming<'_>,
) -> bool {
    let to = mapping.endpoint.address;
    let header = IpHeader {
        source: source.ip(),
        destination: to.ip(),
        protocol: protocol::UDP,
        // The gateway is a hop.
        hop_limit: incoming.hop_limit.unwrap_or(64).saturating_sub(1).max(1),
        traffic_class: incoming.traffic_class,
    };
    match (mapping.endpoint.kind, Pseudo::new(source.ip(), to.ip())) {
        (_, None) => true,
        (Kind::Udp, Some(pseudo)) => {
            let ports = (source.port(), to.port());
            let mtu = mapping.mtu_within(fragmenter);
            let way = (fragmenter, mtu);
            deliver_udp(out, way, link, &header, pseudo, ports, incoming)
        }
        (Kind::Echo, Some(pseudo)) => {
            deliver_echo(out, fragmenter, link, header, pseudo, to.port(), incoming)
        }
    }
}

fn deliver_udp(
    out: &mut dyn crate::Output,
    (fragmenter, mtu): (&mut Fragmenter, u16),
    link: Link,
    header: &IpHeader,
    pseudo: Pseudo,
    ports: (u16, u16),
    incoming: &Incoming<'_>,
) -> bool {
    let headers = pseudo.ip_len() + UDP_LEN;
    let payload = incoming.payload;
    let segment = incoming
        .segment
        .filter(|size| usize::from(*size) < payload.len());
    let each = segment.map_or(payload.len(), usize::from);
    if headers + each <= usize::from(mtu) {
        let gso = segment.map(|size| Gso {
            kind: GsoKind::Udp,
            size,
            header_len: u16::try_from(ETHERNET_LEN + headers).unwrap_or(u16::MAX),
        });
        return emit_datagram(out, link, header, ports, payload, gso);
    }
    incoming.datagrams().all(|payload| {
        let len = UDP_LEN + payload.len();
        let mut head = [0; UDP_LEN];
        set(&mut head, 0, &ports.0.to_be_bytes());
        set(&mut head, 2, &ports.1.to_be_bytes());
        set(&mut head, 4, &u16::try_from(len).unwrap_or(0).to_be_bytes());
        let sum = pseudo.sum(protocol::UDP, len).bytes(&head).bytes(payload);
        let sum = match sum.checksum() {
            // Zero stands for "none" (RFC 768).
            [0, 0] => [0xff, 0xff],
            sum => sum,
        };
        set(&mut head, 6, &sum);
        fragmenter.emit_within(mtu, out, link, header, [&head, payload])
    })
}

/// The host's socket has its own identifier: the guest's goes back in, and the sum with it.
fn deliver_echo(
    out: &mut dyn crate::Output,
    fragmenter: &mut Fragmenter,
    link: Link,
    mut header: IpHeader,
    pseudo: Pseudo,
    identifier: u16,
    incoming: &Incoming<'_>,
) -> bool {
    let Some((head, rest)) = incoming.payload.split_first_chunk::<8>() else {
        return true;
    };
    if rest.len() > MAX_ECHO {
        return true;
    }
    let mut head = *head;
    set(&mut head, 2, &[0, 0]);
    set(&mut head, 4, &identifier.to_be_bytes());
    let sum = if let Pseudo::V4(..) = pseudo {
        header.protocol = protocol::ICMP;
        Sum::default()
    } else {
        header.protocol = protocol::ICMPV6;
        pseudo.sum(protocol::ICMPV6, incoming.payload.len())
    };
    let checksum = sum.bytes(&head).bytes(rest).checksum();
    set(&mut head, 2, &checksum);
    fragmenter.emit(out, link, &header, [&head, rest])
}
