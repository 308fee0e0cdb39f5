//! All TCP flows: how they are found, made, woken and forgotten.
use super::flow::{Flow, Offer, Opening, Outcome, Peer, Phase, Tuple};
use super::input::Input;
use super::segment::{Header, Route, Segment};
use super::seq::Seq;
use crate::counters::DropReason;
use crate::env::Env;
use crate::frame::{Link, Packet, Pseudo};
use crate::host::{HostError, Readiness, SocketId, Token, TokenClass};
use crate::icmp::{self, Problem};
use crate::policy::{self, Destination};
use crate::services::{Station, StreamId};
use crate::slab::{Key, Slab};
use crate::status::{FlowDirection, FlowStatus};
use crate::timer::Timers;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::Duration;

/// Turns of one [`TcpTable::poll`]: after so many, new input comes first.
const MAX_TURNS: usize = 64;
/// Likewise bytes from the world: whoever takes them is to begin while we go on.
const MAX_READ: u64 = 256 << 10;

/// A connection that came by a forward, for a guest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inbound {
    pub(crate) guest: u32,
    pub(crate) mac: crate::MacAddr,
    /// the guest's end
    pub(crate) to: SocketAddr,
    /// the client, as the guest is to see it
    pub(crate) from: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct TcpTable {
    flows: Slab<Flow>,
    index: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    timers: Timers,
    /// those with something to do
    list: VecDeque<u32>,
    /// those that wait for room towards the network
    blocked: Vec<u32>,
}

impl TcpTable {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            flows: Slab::new(),
            index: HashTable::new(),
            hasher: foldhash::fast::FixedState::with_seed(seed),
            timers: Timers::new(),
            list: VecDeque::new(),
            blocked: Vec::new(),
        }
    }

    pub(super) fn find(&self, tuple: &Tuple) -> Option<u32> {
        let hash = self.hasher.hash_one(tuple);
        let is_it = |&index: &u32| {
            self.flows
                .at(index)
                .is_some_and(|flow| flow.tuple == *tuple)
        };
        self.index.find(hash, is_it).copied()
    }

    /// A segment of a guest.
    pub(crate) fn input(
        &mut self,
        env: &mut Env<'_>,
        guest: u32,
        packet: &Packet<'_>,
        verify: bool,
    ) {
        let parsed = Segment::parse(packet.payload, packet.source, packet.destination, verify);
        let segment = match parsed {
            Ok(segment) => segment,
            Err(reason) => return env.counters.drop(reason),
        };
        let tuple = Tuple {
            guest,
            guest_port: segment.source_port,
            remote_port: segment.destination_port,
            guest_address: packet.source,
            remote_address: packet.destination,
        };
        if let Some(index) = self.find(&tuple) {
            match self.input_to(env, index, &segment) {
                Input::Replace => self.remove(env, index),
                _ => return,
            }
        }
        if segment.syn && segment.ack.is_none() && !segment.rst {
            self.open_outbound(env, packet, tuple, &segment);
        } else {
            env.counters.drop(DropReason::OutOfWindow);
            answer_with_reset(env, packet, &segment);
        }
    }

    fn input_to(&mut self, env: &mut Env<'_>, index: u32, segment: &Segment<'_>) -> Input {
        let Some(flow) = self.flows.at_mut(index) else {
            return Input::Ignored;
        };
        let opening = flow.opening();
        let input = flow.input(env, segment);
        if opening != flow.opening() {
            count_out(env, flow.tuple.guest, opening);
        }
        match input {
            Input::Listed => self.enlist(index),
            Input::Remove => self.remove(env, index),
            Input::Ignored | Input::Replace => {}
        }
        input
    }

    pub(super) fn flow_mut(&mut self, index: u32) -> Option<&mut Flow> {
        self.flows.at_mut(index)
    }

    /// It has something to do.
    pub(super) fn enlist(&mut self, index: u32) {
        if let Some(flow) = self.flows.at_mut(index)
            && !std::mem::replace(&mut flow.listed, true)
        {
            self.list.push_back(index);
        }
    }

    /// A guest wants a connection.
    fn open_outbound(
        &mut self,
        env: &mut Env<'_>,
        packet: &Packet<'_>,
        tuple: Tuple,
        segment: &Segment<'_>,
    ) {
        let judged = policy::judge(
            &env.config.policy,
            &env.config.addressing,
            env.host,
            tuple.remote_address,
        );
        let refused = match judged {
            Ok(Destination::Gateway) if env.services.listens(tuple.remote()) => {
                self.open(env, packet, tuple, segment, None)
            }
            Ok(Destination::Gateway) => {
                match policy::host_loopback(&env.config.policy, tuple.remote_address) {
                    Some(address) => self.open(env, packet, tuple, segment, Some(address)),
                    None => return answer_with_reset(env, packet, segment),
                }
            }
            Ok(Destination::World(_)) if packet.hop_limit <= 1 => {
                icmp::tell(env, tuple.guest, packet, Problem::TimeExceeded);
                Err(DropReason::HopLimit)
            }
            Ok(Destination::World(address)) => {
                self.open(env, packet, tuple, segment, Some(address))
            }
            Err(reason) => {
                if reason == DropReason::Policy {
                    answer_with_reset(env, packet, segment);
                }
                Err(reason)
            }
        };
        if let Err(reason) = refused {
            env.counters.drop(reason);
        }
    }

    /// Makes a flow towards an address of the world, or to a service of the gateway.
    fn open(
        &mut self,
        env: &mut Env<'_>,
        packet: &Packet<'_>,
        tuple: Tuple,
        segment: &Segment<'_>,
        world: Option<std::net::IpAddr>,
    ) -> Result<(), DropReason> {
        if !env.guests.may_half_open(tuple.guest) {
            return Err(DropReason::HalfOpenQuota);
        }
        env.guests.open_flow(tuple.guest, env.now)?;
        let key = self.flows.next_key();
        let iss = self.initial_sequence(&tuple, env.now);
        let offer = Offer::of(segment, tuple.guest_address.is_ipv4());
        let stream = stream_of(key);
        let connected = if let Some(address) = world {
            let remote = SocketAddr::new(address, tuple.remote_port);
            env.host.tcp_connect(token(key), remote).map(Peer::Host)
        } else if let Some(port) = env.guests.port_of(tuple.guest)
            && let mac = packet.link.source
            && env
                .services
                .stream_open(env.now, stream, Station { port, mac })
        {
            Ok(Peer::Service(stream))
        } else {
            Err(HostError::Refused)
        };
        let mac = packet.link.source;
        let direction = FlowDirection::Outbound;
        // A flow without a peer only tells why there is none.
        let no_peer = Peer::Service(stream);
        let peer = *connected.as_ref().unwrap_or(&no_peer);
        let mut flow = Flow::new(env, tuple, mac, direction, peer, iss, offer);
        if let Err(error) = connected {
            env.guests.close_flow(tuple.guest);
            flow.refuse(env, error);
            return match error {
                HostError::NoResources => Err(DropReason::HostResources),
                _ => Ok(()),
            };
        }
        let is_service = world.is_none();
        env.guests.count(tuple.guest, |held| held.half_open += 1);
        let index = self.insert(env, flow);
        if is_service {
            self.enlist(index);
        }
        Ok(())
    }

    /// A number that cannot be guessed, and grows with time (RFC 6528).
    fn initial_sequence(&self, tuple: &Tuple, now: Duration) -> Seq {
        let secret = self.hasher.hash_one((tuple, "initial sequence number"));
        let clock = now.as_micros() / 4;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "a number of 32 bits is wanted"
        )]
        Seq((secret as u32).wrapping_add(clock as u32))
    }

    fn insert(&mut self, env: &mut Env<'_>, flow: Flow) -> u32 {
        let (tuple, deadline) = (flow.tuple, flow.deadline());
        env.counters.tcp_opened += 1;
        let index = self.flows.insert(flow).index;
        let hash = self.hasher.hash_one(tuple);
        let (flows, hasher) = (&self.flows, &self.hasher);
        self.index.insert_unique(hash, index, |&index| {
            flows
                .at(index)
                .map_or(0, |flow| hasher.hash_one(flow.tuple))
        });
        self.timers.arm(index, deadline);
        index
    }

    /// Forgets a flow whose other end is closed.
    fn remove(&mut self, env: &mut Env<'_>, index: u32) {
        let Some(mut flow) = self.flows.remove(index) else {
            return;
        };
        let hash = self.hasher.hash_one(flow.tuple);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == index) {
            entry.remove();
        }
        self.timers.cancel(index);
        if flow.listed {
            // The index may be used again before its turn would come.
            self.list.retain(|&other| other != index);
            self.blocked.retain(|&other| other != index);
        }
        flow.release(env);
        count_out(env, flow.tuple.guest, flow.opening());
        env.guests.close_flow(flow.tuple.guest);
    }

    /// Ends the flows of guests that are gone: the world is told, and there is nobody else to be.
    pub(crate) fn end(&mut self, env: &mut Env<'_>, is_gone: impl Fn(&Env<'_>, u32) -> bool) {
        let of_gone = self.flows.iter();
        let of_gone = of_gone.filter(|(_, flow)| is_gone(env, flow.tuple.guest));
        let mut of_gone: Vec<u32> = of_gone.map(|(index, _)| index).collect();
        of_gone.sort_unstable();
        // Off the lists at once, not each with a walk through them.
        let stays = |index: &u32| of_gone.binary_search(index).is_err();
        self.list.retain(stays);
        self.blocked.retain(stays);
        for index in of_gone {
            if let Some(flow) = self.flows.at_mut(index) {
                flow.listed = false;
                flow.reset_peer(env);
            }
            self.remove(env, index);
        }
    }

    /// Takes a connection that came by a forward, and begins one to the guest that `whom` says. An error: none was taken.
    pub(crate) fn accept(
        &mut self,
        env: &mut Env<'_>,
        listener: SocketId,
        whom: impl FnOnce(&mut Env<'_>, &Self, SocketAddr) -> Result<Inbound, DropReason>,
    ) -> Result<(), HostError> {
        let key = self.flows.next_key();
        let (socket, client) = env.host.tcp_accept(listener, token(key))?;
        env.counters.forwarded += 1;
        let made = whom(env, self, client).and_then(|inbound| {
            if !env.guests.may_be_asked(inbound.guest) {
                return Err(DropReason::FlowQuota);
            }
            env.guests.open_inbound(inbound.guest, env.now)?;
            Ok(inbound)
        });
        let inbound = match made {
            Ok(inbound) => inbound,
            Err(reason) => {
                env.counters.drop(reason);
                env.host.reset(socket);
                return Ok(());
            }
        };
        let tuple = Tuple {
            guest: inbound.guest,
            guest_port: inbound.to.port(),
            remote_port: inbound.from.port(),
            guest_address: inbound.to.ip(),
            remote_address: inbound.from.ip(),
        };
        let iss = self.initial_sequence(&tuple, env.now);
        let direction = FlowDirection::Inbound;
        let peer = Peer::Host(socket);
        let offer = Offer::default();
        let mut flow = Flow::new(env, tuple, inbound.mac, direction, peer, iss, offer);
        flow.phase = Phase::SynSent;
        flow.syn_due = true;
        env.guests.count(inbound.guest, |held| held.unanswered += 1);
        let index = self.insert(env, flow);
        self.enlist(index);
        Ok(())
    }

    /// Whether a guest's end and a remote one are connected.
    pub(crate) fn is_taken(&self, guest: u32, to: SocketAddr, from: SocketAddr) -> bool {
        let tuple = Tuple {
            guest,
            guest_port: to.port(),
            remote_port: from.port(),
            guest_address: to.ip(),
            remote_address: from.ip(),
        };
        self.find(&tuple).is_some()
    }

    /// Something happened to a flow's socket.
    pub(crate) fn host_event(&mut self, token: Token, ready: Readiness) {
        let key = Key {
            index: token.index(),
            generation: token.generation(),
        };
        let Some(index) = self.flows.live(key) else {
            return;
        };
        if let Some(flow) = self.flows.at_mut(index) {
            flow.side.readable |= ready.readable || ready.peer_closed || ready.error;
            flow.side.writable |= ready.writable || ready.error;
            flow.side.hung_up |= ready.peer_closed || ready.error;
            flow.side.urgent |= ready.urgent;
        }
        self.enlist(index);
    }

    /// A service has output for a stream.
    pub(crate) fn stream_ready(&mut self, stream: StreamId) {
        let index = index_of(stream);
        if let Some(flow) = self.flows.at_mut(index)
            && flow.peer == Peer::Service(stream)
        {
            flow.side.readable = true;
            flow.side.writable = true;
            self.enlist(index);
        }
    }

    /// Runs timers and gives turns. Returns when to be called next.
    pub(crate) fn poll(&mut self, env: &mut Env<'_>) -> Option<Duration> {
        while let Some(index) = self.timers.pop(env.now) {
            self.handle(env, index, Flow::expire);
        }
        self.list.extend(self.blocked.drain(..));
        let (mut turns, mut read) = (0, 0);
        while turns < MAX_TURNS && read < MAX_READ {
            let Some(index) = self.list.pop_front() else {
                break;
            };
            turns += 1;
            self.handle(env, index, |flow, env| {
                flow.listed = false;
                let before = flow.received;
                let outcome = flow.turn(env);
                read += flow.received - before;
                outcome
            });
        }
        if self.list.is_empty() && self.blocked.is_empty() {
            self.timers.next()
        } else {
            Some(env.now)
        }
    }

    fn handle(
        &mut self,
        env: &mut Env<'_>,
        index: u32,
        what: impl FnOnce(&mut Flow, &mut Env<'_>) -> Outcome,
    ) {
        let Some(flow) = self.flows.at_mut(index) else {
            return;
        };
        let outcome = what(flow, env);
        let deadline = flow.deadline();
        match outcome {
            Outcome::Remove => return self.remove(env, index),
            Outcome::Again => self.enlist(index),
            Outcome::Blocked => {
                if !std::mem::replace(&mut flow.listed, true) {
                    self.blocked.push(index);
                }
            }
            Outcome::Keep => {}
        }
        self.timers.arm(index, deadline);
    }

    pub(crate) fn flows(&self, now: Duration) -> impl Iterator<Item = FlowStatus> + '_ {
        self.flows.iter().map(move |(_, flow)| flow.status(now))
    }
}

/// The stream of a flow's own: one that has it index later has another.
fn stream_of(key: Key) -> StreamId {
    StreamId(u64::from(key.generation) << 32 | u64::from(key.index))
}

fn index_of(StreamId(stream): StreamId) -> u32 {
    u32::try_from(stream & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn token(key: Key) -> Token {
    Token::new(TokenClass::Tcp, key.index, key.generation)
}

/// A connection is not being made any more.
fn count_out(env: &mut Env<'_>, guest: u32, opening: Option<Opening>) {
    env.guests.count(guest, |held| match opening {
        Some(Opening::HalfOpen) => held.half_open = held.half_open.saturating_sub(1),
        Some(Opening::Unanswered) => held.unanswered = held.unanswered.saturating_sub(1),
        None => {}
    });
}

/// Answers a segment of no connection.
fn answer_with_reset(env: &mut Env<'_>, packet: &Packet<'_>, segment: &Segment<'_>) {
    let (Some(header), Some(pseudo)) = (
        Header::reset_for(segment),
        Pseudo::new(packet.destination, packet.source),
    ) else {
        return;
    };
    if packet.destination.is_multicast() || packet.source.is_unspecified() {
        return;
    }
    let route = Route {
        link: Link {
            source: env.config.mac,
            destination: packet.link.source,
        },
        pseudo,
        source_port: segment.destination_port,
        destination_port: segment.source_port,
    };
    header.emit(env.out, &route, (&[], &[]), u16::MAX);
}
