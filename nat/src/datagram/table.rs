//! All mappings, and what guests send by them.
use super::mapping::{Client, Endpoint, Kind, Mapping};
use super::narrow::Narrow;
use super::ports::Ports;
use crate::bytes::{Sum, get_u16};
use crate::counters::DropReason;
use crate::env::Env;
use crate::frame::{Packet, Pseudo, protocol};
use crate::host::{HostError, Outgoing, SocketId};
use crate::icmp::{self, Problem};
use crate::meta::{FrameMeta, GsoKind};
use crate::policy::{self, Destination};
use crate::slab::{Key, Slab};
use crate::status::FlowStatus;
use crate::timer::Timers;
use hashbrown::{HashSet, HashTable};
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A UDP datagram within its packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Udp<'a> {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Reads a datagram: its length must be that of the packet, or less.
    pub(crate) fn parse(packet: &Packet<'a>, verify: bool) -> Result<Self, DropReason> {
        let malformed = DropReason::Malformed;
        let field = |at| get_u16(packet.payload, at).ok_or(malformed);
        let (source_port, destination_port) = (field(0)?, field(2)?);
        let bytes = packet
            .payload
            .get(..usize::from(field(4)?))
            .ok_or(malformed)?;
        let payload = bytes.get(8..).ok_or(malformed)?;
        let has_sum = field(6)? != 0;
        // Only IPv4 does without one (RFC 768; RFC 8200, 8.1).
        if verify && (has_sum || packet.source.is_ipv6()) {
            let pseudo = Pseudo::new(packet.source, packet.destination).ok_or(malformed)?;
            let sum = pseudo.sum(protocol::UDP, bytes.len()).bytes(bytes);
            if !has_sum || sum.folded() != [0xff; 2] {
                return Err(DropReason::BadChecksum);
            }
        }
        if source_port == 0 || destination_port == 0 {
            return Err(DropReason::BadSource);
        }
        Ok(Self {
            source_port,
            destination_port,
            payload,
        })
    }
}

#[derive(Debug)]
pub(crate) struct DatagramTable {
    pub(super) mappings: Slab<Mapping>,
    index: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    timers: Timers,
    /// those of echoes
    pub(super) echoes: HashSet<u32, foldhash::fast::FixedState>,
    /// mappings whose sockets have something
    pub(super) pending: Vec<Key>,
    /// of the host, that mappings have
    pub(super) ports: Ports,
    /// sessions by forwards, by the forward's socket and the client
    pub(super) sessions: BTreeMap<(SocketId, Client), u32>,
    /// those with smaller MTUs
    pub(super) narrow: Narrow,
}

impl DatagramTable {
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = foldhash::fast::FixedState::with_seed(seed);
        Self {
            mappings: Slab::new(),
            index: HashTable::new(),
            sessions: BTreeMap::new(),
            narrow: Narrow::default(),
            echoes: HashSet::with_hasher(hasher.clone()),
            ports: Ports::default(),
            hasher,
            timers: Timers::new(),
            pending: Vec::new(),
        }
    }

    pub(super) fn find(&self, endpoint: &Endpoint) -> Option<u32> {
        let hash = self.hasher.hash_one(endpoint);
        let is_it = |&index: &u32| {
            self.mappings
                .at(index)
                .is_some_and(|mapping| mapping.endpoint == *endpoint)
        };
        self.index.find(hash, is_it).copied()
    }

    pub(super) fn insert(&mut self, mapping: Mapping) -> u32 {
        let endpoint = mapping.endpoint;
        let expires = mapping.expires;
        let session = mapping.client.map(|client| (mapping.socket, client));
        let index = self.mappings.insert(mapping).index;
        if let Some(session) = session {
            self.sessions.insert(session, index);
        }
        let (mappings, hasher) = (&self.mappings, &self.hasher);
        self.index
            .insert_unique(hasher.hash_one(endpoint), index, |&index| {
                mappings
                    .at(index)
                    .map_or(0, |mapping| hasher.hash_one(mapping.endpoint))
            });
        if endpoint.kind == Kind::Echo {
            self.echoes.insert(index);
        }
        self.timers.arm(index, expires);
        index
    }

    /// Forgets a mapping.
    pub(super) fn remove(&mut self, env: &mut Env<'_>, index: u32) {
        let Some(mapping) = self.mappings.remove(index) else {
            return;
        };
        let hash = self.hasher.hash_one(mapping.endpoint);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == index) {
            entry.remove();
        }
        self.timers.cancel(index);
        self.echoes.remove(&index);
        env.guests.close_flow(mapping.endpoint.guest);
        if mapping.is_unanswered() {
            answered(env, mapping.endpoint.guest);
        }
        match mapping.client {
            None => {
                if mapping.endpoint.kind == Kind::Udp {
                    self.ports.give_back();
                    let guest = mapping.endpoint.guest;
                    env.guests
                        .count(guest, |held| held.ports = held.ports.saturating_sub(1));
                }
                env.host.close(mapping.socket);
            }
            Some(client) => {
                self.sessions.remove(&(mapping.socket, client));
                self.narrow.change(mapping.socket, mapping.mtu, None);
            }
        }
    }

    /// Forgets the sessions of a forward whose socket is closed.
    pub(crate) fn remove_sessions(&mut self, env: &mut Env<'_>, socket: SocketId) {
        self.remove_all(env, |_, mapping| {
            mapping.client.is_some() && mapping.socket == socket
        });
    }

    /// Forgets the mappings of guests that are gone.
    pub(crate) fn end(&mut self, env: &mut Env<'_>, is_gone: impl Fn(&Env<'_>, u32) -> bool) {
        self.remove_all(env, |env, mapping| is_gone(env, mapping.endpoint.guest));
    }

    fn remove_all(&mut self, env: &mut Env<'_>, which: impl Fn(&Env<'_>, &Mapping) -> bool) {
        let all = self.mappings.iter();
        let gone = all.filter(|(_, mapping)| which(env, mapping));
        let gone: Vec<u32> = gone.map(|(index, _)| index).collect();
        for index in gone {
            self.remove(env, index);
        }
    }

    /// A UDP datagram of a guest, not for a service.
    pub(crate) fn input_udp(
        &mut self,
        env: &mut Env<'_>,
        guest: u32,
        packet: &Packet<'_>,
        udp: &Udp<'_>,
        meta: FrameMeta,
    ) -> Result<(), DropReason> {
        let source = SocketAddr::new(packet.source, udp.source_port);
        let destination = SocketAddr::new(packet.destination, udp.destination_port);
        let segment = meta
            .gso
            .filter(|gso| gso.kind == GsoKind::Udp && usize::from(gso.size) < udp.payload.len())
            .map(|gso| gso.size);
        if !self.sessions.is_empty() {
            let session = Endpoint {
                kind: Kind::Udp,
                guest,
                address: source,
                client: Some(destination),
            };
            if let Some(index) = self.find(&session) {
                return self.send(env, index, packet, destination, udp.payload, segment);
            }
        }
        let world = world_of(env, guest, packet)?;
        let endpoint = Endpoint {
            kind: Kind::Udp,
            guest,
            address: source,
            client: None,
        };
        let index = self.find_or_open(env, endpoint, packet, destination)?;
        self.note_loopback(index, packet, world);
        let to = SocketAddr::new(world, udp.destination_port);
        self.send(env, index, packet, to, udp.payload, segment)
    }

    /// An echo request of a guest for somebody else than the gateway; `message` is the whole ICMP message.
    pub(crate) fn input_echo(
        &mut self,
        env: &mut Env<'_>,
        guest: u32,
        packet: &Packet<'_>,
        message: &[u8],
    ) -> Result<(), DropReason> {
        let identifier = get_u16(message, 4).ok_or(DropReason::Malformed)?;
        let world = world_of(env, guest, packet)?;
        let endpoint = Endpoint {
            kind: Kind::Echo,
            guest,
            address: SocketAddr::new(packet.source, identifier),
            client: None,
        };
        let destination = SocketAddr::new(packet.destination, 0);
        let index = self.find_or_open(env, endpoint, packet, destination)?;
        let to = SocketAddr::new(world, 0);
        self.send(env, index, packet, to, message, None)
    }

    fn note_loopback(&mut self, index: u32, packet: &Packet<'_>, world: IpAddr) {
        if world != packet.destination
            && let Some(mapping) = self.mappings.at_mut(index)
        {
            mapping.loopback = true;
        }
    }

    fn send(
        &mut self,
        env: &mut Env<'_>,
        index: u32,
        packet: &Packet<'_>,
        to: SocketAddr,
        payload: &[u8],
        segment: Option<u16>,
    ) -> Result<(), DropReason> {
        let Some(mapping) = self.mappings.at_mut(index) else {
            return Err(DropReason::FlowQuota);
        };
        let (guest, now) = (mapping.endpoint.guest, env.now);
        let allowed = env
            .guests
            .get_mut(guest)
            .is_none_or(|guest| guest.may_upload(now, payload.len()));
        if !allowed {
            return Err(DropReason::RateLimit);
        }
        let was_unanswered = mapping.is_unanswered();
        mapping.note_sent(to, payload.len(), &env.config.timeouts, now);
        if was_unanswered && !mapping.is_unanswered() {
            answered(env, guest);
        }
        let datagram = Outgoing {
            to: mapping.client.map_or(to, |client| client.address),
            from: mapping.client.and_then(|client| client.asked),
            payload,
            segment,
            // One hop is the gateway itself.
            hop_limit: Some(packet.hop_limit.saturating_sub(1).max(1)),
            dont_fragment: packet.dont_fragment && packet.source.is_ipv4(),
            traffic_class: packet.traffic_class,
        };
        let mut sent = env.host.send(mapping.socket, &datagram);
        let socket = mapping.socket;
        if !matches!(sent, Ok(()) | Err(HostError::WouldBlock)) {
            // An error that the network reported for an earlier datagram is told by the next call, whatever that is.
            self.drain_errors(env, index, socket);
            if !matches!(sent, Err(HostError::MessageTooLong)) {
                sent = env.host.send(socket, &datagram);
            }
        }
        match sent {
            Ok(()) => Ok(()),
            // As a full queue of any link would.
            Err(HostError::WouldBlock) => Err(DropReason::RateLimit),
            Err(error) => Err(refused(env, guest, packet, error)),
        }
    }

    /// Takes what has come, and forgets what has expired. Returns when to be called next.
    pub(crate) fn poll(&mut self, env: &mut Env<'_>) -> Option<Duration> {
        while let Some(index) = self.timers.pop(env.now) {
            match self.mappings.at(index).map(|mapping| mapping.expires) {
                Some(expires) if expires > env.now => self.timers.arm(index, expires),
                _ => self.remove(env, index),
            }
        }
        if self.receive_pending(env) {
            Some(env.now)
        } else {
            self.timers.next()
        }
    }

    pub(crate) fn flows(&self, now: Duration) -> impl Iterator<Item = FlowStatus> + '_ {
        self.mappings
            .iter()
            .map(move |(_, mapping)| mapping.status(now))
    }
}

/// One session less waits for its guest's answer.
fn answered(env: &mut Env<'_>, guest: u32) {
    env.guests.count(guest, |held| {
        held.unanswered = held.unanswered.saturating_sub(1);
    });
}

/// Where a datagram goes to; the guest is told if it may not, or if it came too far.
fn world_of(env: &mut Env<'_>, guest: u32, packet: &Packet<'_>) -> Result<IpAddr, DropReason> {
    let destination = packet.destination;
    let judged = policy::judge(
        &env.config.policy,
        &env.config.addressing,
        env.host,
        destination,
    );
    match judged {
        Ok(Destination::Gateway) => {
            let loopback = policy::host_loopback(&env.config.policy, destination);
            loopback.ok_or_else(|| {
                icmp::tell(env, guest, packet, Problem::PortUnreachable);
                DropReason::BadDestination
            })
        }
        Ok(Destination::World(_)) if packet.hop_limit <= 1 => {
            icmp::tell(env, guest, packet, Problem::TimeExceeded);
            Err(DropReason::HopLimit)
        }
        Ok(Destination::World(address)) => Ok(address),
        Err(reason) => {
            if reason == DropReason::Policy {
                icmp::tell(env, guest, packet, Problem::Prohibited);
            }
            Err(reason)
        }
    }
}

/// The host did not open a socket, or did not send: the guest is told why if there is an error for that.
pub(super) fn refused(
    env: &mut Env<'_>,
    guest: u32,
    packet: &Packet<'_>,
    error: HostError,
) -> DropReason {
    if let Some(problem) = Problem::of(error) {
        icmp::tell(env, guest, packet, problem);
    }
    reason_of(error)
}

pub(super) const fn reason_of(error: HostError) -> DropReason {
    match error {
        HostError::NoResources => DropReason::HostResources,
        _ => DropReason::HostRefused,
    }
}

/// Checks an ICMP message's sum.
pub(crate) fn icmp_checksum_is_right(packet: &Packet<'_>) -> bool {
    let sum = match packet.protocol {
        protocol::ICMP => Some(Sum::default()),
        _ => Pseudo::new(packet.source, packet.destination)
            .map(|pseudo| pseudo.sum(protocol::ICMPV6, packet.payload.len())),
    };
    sum.is_some_and(|sum| sum.bytes(packet.payload).folded() == [0xff; 2])
}
