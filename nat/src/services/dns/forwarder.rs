//! The forwarder: from what is known here, from the cache, or from an upstream server, in this order.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::MacAddr;

use super::cache::{Cache, Limits};
use super::exchange::{Exchange, Progress, TCP_TIMEOUT, UDP_TIMEOUT};
use super::message::{Answer, Query, Refusal, refuse};
use super::spec::rcode;
use super::streams::Streams;
use super::upstream::Upstreams;
use super::zone::Zone;
use crate::services::hosts::Hosts;
use crate::services::random::Random;
use crate::services::{Station, StreamId};
use crate::{Host, PortId, Token, TokenClass};

/// Questions of all guests that wait for an upstream: each has a socket.
const MAX_PENDING: usize = 512;
/// The same of the guests behind one port: who can make up MAC addresses is not to have them all.
const PER_PORT: usize = 64;
/// Every server is asked so often before the guest hears of a failure.
const ROUNDS: usize = 2;

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// a datagram
    Udp {
        by: Station,
        guest: SocketAddr,
        local: SocketAddr,
    },
    /// a connection
    Tcp { stream: StreamId, by: Station },
}

impl Client {
    const fn by(self) -> Station {
        match self {
            Self::Udp { by, .. } | Self::Tcp { by, .. } => by,
        }
    }

    /// The port of the network that its questions count against.
    const fn port(self) -> PortId {
        self.by().port
    }

    const fn set_port(&mut self, port: PortId) {
        match self {
            Self::Udp { by, .. } | Self::Tcp { by, .. } => by.port = port,
        }
    }
}

/// An answer that goes out as a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) mac: MacAddr,
    pub(crate) guest: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

#[derive(Debug)]
struct Pending {
    client: Client,
    query: Query,
    /// who asked the same since
    others: Vec<(Client, Query)>,
    exchange: Exchange,
    attempt: usize,
    deadline: Duration,
    generation: u32,
    /// what a server said that could not help, in case none can
    unhelpful: Option<Answer>,
}

/// What was done, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DnsCounters {
    /// questions
    pub queries: u64,
    /// answered from what is known of this network
    pub local: u64,
    /// answered from the cache
    pub cached: u64,
    /// questions passed on, every attempt counted
    pub forwarded: u64,
    /// questions that no server answered
    pub failed: u64,
    /// questions refused, because their guest's port or all together had too many under way
    pub over_quota: u64,
}

/// The forwarder of one network.
#[derive(Debug)]
pub(crate) struct Forwarder {
    zone: Zone,
    cache: Cache,
    upstreams: Upstreams,
    /// whether questions about the world are answered at all
    world: bool,
    random: Random,
    pending: BTreeMap<u32, Pending>,
    deadlines: BTreeSet<(Duration, u32)>,
    per_port: BTreeMap<PortId, usize>,
    /// of all ports
    waiting: usize,
    next_index: u32,
    streams: Streams,
    replies: Vec<Reply>,
    counters: DnsCounters,
}

/// What the forwarder uses while it handles something.
pub(crate) struct Scene<'a> {
    pub(crate) now: Duration,
    pub(crate) host: &'a mut dyn Host,
    pub(crate) hosts: &'a Hosts,
}

impl Forwarder {
    pub(crate) fn new(
        zone: Zone,
        limits: Limits,
        upstreams: &[SocketAddr],
        world: bool,
        seed: u64,
    ) -> Self {
        Self {
            zone,
            cache: Cache::new(limits),
            upstreams: Upstreams::new(upstreams),
            world,
            random: Random::new(seed),
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            per_port: BTreeMap::new(),
            waiting: 0,
            next_index: 0,
            streams: Streams::default(),
            replies: Vec::new(),
            counters: DnsCounters::default(),
        }
    }

    pub(crate) fn counters(&self) -> DnsCounters {
        self.counters
    }

    /// Other servers from now on. What they would have answered may be something else.
    pub(crate) fn set_upstreams(&mut self, servers: &[SocketAddr]) {
        self.upstreams = Upstreams::new(servers);
        self.cache.clear();
    }

    /// Answers that are to go out as datagrams.
    pub(crate) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// A question.
    pub(crate) fn query(&mut self, scene: &mut Scene<'_>, client: Client, message: &[u8]) {
        self.counters.queries += 1;
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(Refusal::Ignore) => return self.deliver(client, None),
            Err(Refusal::Answer(code)) => {
                return self.deliver(client, refuse(message, code));
            }
        };
        if let Some(answer) = self.zone.answer(scene.now, &query, scene.hosts) {
            self.counters.local += 1;
            return self.reply(client, &query, answer);
        }
        if !self.world {
            return self.reply(client, &query, query.failure(rcode::REFUSED));
        }
        if let Some(answer) = self.cache.get(scene.now, &query) {
            self.counters.cached += 1;
            return self.reply(client, &query, answer);
        }
        self.forward(scene, client, query);
    }

    /// Something happened to a socket of ours.
    pub(crate) fn host_event(&mut self, scene: &mut Scene<'_>, token: Token) {
        let index = token.index();
        let Some(pending) = self.live(token) else {
            return;
        };
        match pending.exchange.advance(scene.host, &pending.query) {
            Progress::Waiting => {}
            Progress::Failed => self.retry(scene, index, None),
            Progress::Answered(answer) => self.answered(scene, index, answer),
        }
    }

    /// A question could not be sent after all: the next server's turn, now.
    pub(crate) fn unsent(&mut self, scene: &mut Scene<'_>, token: Token) {
        if self.live(token).is_some() {
            self.retry(scene, token.index(), None);
        }
    }

    /// Whose socket has a token; `None`: it was closed before.
    fn live(&mut self, token: Token) -> Option<&mut Pending> {
        let pending = self.pending.get_mut(&token.index())?;
        (token.generation() == pending.generation & 0xff_ffff).then_some(pending)
    }

    /// Gives up on servers that take too long; when to be called next.
    pub(crate) fn poll(&mut self, scene: &mut Scene<'_>) -> Option<Duration> {
        while let Some((deadline, index)) = self.deadlines.first().copied() {
            if deadline > scene.now {
                break;
            }
            self.retry(scene, index, None);
        }
        let timeout = self.deadlines.first().map(|(deadline, _)| *deadline);
        let idle = self.streams.poll(scene.now);
        timeout.into_iter().chain(idle).min()
    }

    pub(crate) fn stream_open(&mut self, now: Duration, id: StreamId, by: Station) -> bool {
        self.streams.open(now, id, by)
    }

    /// Octets of a stream, whose guest is behind `port` now: what it asks counts there.
    pub(crate) fn stream_input(
        &mut self,
        scene: &mut Scene<'_>,
        (id, port): (StreamId, PortId),
        bytes: &[u8],
    ) -> usize {
        self.streams.follow(id, port);
        let Some(Station { mac, .. }) = self.streams.by(id) else {
            return bytes.len();
        };
        let by = Station { port, mac };
        let mut questions = Vec::new();
        let taken = self.streams.input(scene.now, id, bytes, &mut |question| {
            questions.push(question);
        });
        for question in questions {
            let client = Client::Tcp { stream: id, by };
            self.query(scene, client, &question);
        }
        taken
    }

    pub(crate) fn stream_output(&mut self, id: StreamId, into: &mut [u8]) -> Option<usize> {
        self.streams.output(id, into)
    }

    /// The stream asks no more, and ends with its last answer.
    pub(crate) fn stream_finished(&mut self, id: StreamId) {
        self.streams.finish(id);
    }

    /// What the stream asked is answered to nobody, and counts as its port's until then.
    pub(crate) fn stream_closed(&mut self, id: StreamId) {
        self.streams.close(id);
    }

    /// A port is gone: what its guests asked is answered to nobody, and whoever gets its number begins with nothing. `place_of` knows
    /// behind which port a guest is now: who has moved keeps what it asked, and it counts where the guest is.
    pub(crate) fn forget_port(
        &mut self,
        host: &mut dyn Host,
        port: PortId,
        place_of: &dyn Fn(MacAddr) -> Option<PortId>,
    ) {
        self.streams.forget_port(port, place_of);
        self.count_elsewhere(port, place_of);
        let mut alone = Vec::new();
        for (index, pending) in &mut self.pending {
            let before = pending.others.len();
            pending.others.retain(|(client, _)| client.port() != port);
            self.waiting = self.waiting.saturating_sub(before - pending.others.len());
            if pending.client.port() != port {
                continue;
            }
            match pending.others.pop() {
                // One answer will do for both, so the exchange goes on.
                Some((client, query)) => {
                    (pending.client, pending.query) = (client, query);
                    self.waiting = self.waiting.saturating_sub(1);
                }
                None => alone.push(*index),
            }
        }
        for pending in alone.into_iter().filter_map(|index| self.finish(index)) {
            pending.exchange.close(host);
        }
        self.per_port.remove(&port);
    }

    /// What guests asked while they were behind a port counts where they are now; over its bounds, if need be, until it is answered.
    fn count_elsewhere(&mut self, port: PortId, place_of: &dyn Fn(MacAddr) -> Option<PortId>) {
        for pending in self.pending.values_mut() {
            let others = pending.others.iter_mut().map(|(client, _)| client);
            for client in std::iter::once(&mut pending.client).chain(others) {
                if client.port() == port
                    && let Some(now) = place_of(client.by().mac)
                {
                    count_out_of(&mut self.per_port, port);
                    *self.per_port.entry(now).or_default() += 1;
                    client.set_port(now);
                }
            }
        }
    }

    pub(crate) fn next_ready_stream(&mut self) -> Option<StreamId> {
        self.streams.next_ready()
    }

    fn forward(&mut self, scene: &mut Scene<'_>, client: Client, query: Query) {
        if !self.has_quota(client) {
            self.counters.over_quota += 1;
            return self.reply(client, &query, query.failure(rcode::REFUSED));
        }
        *self.per_port.entry(client.port()).or_default() += 1;
        self.waiting += 1;
        // One question is under way once: with every copy of it a forged answer would have one more chance (RFC 5452, 5).
        let mut pending = self.pending.values_mut();
        if let Some(same) = pending.find(|pending| pending.query.asks_the_same_as(&query)) {
            same.others.push((client, query));
            return;
        }
        let index = self.free_index();
        let generation = self.random.u64();
        let [.., a, b, c] = generation.to_be_bytes();
        let generation = u32::from_be_bytes([0, a, b, c]);
        let token = Token::new(TokenClass::Service, index, generation);
        let Some((exchange, attempt)) = self.ask(scene.host, token, &query, 0) else {
            self.counters.failed += 1;
            self.count_out(client);
            return self.reply(client, &query, query.failure(rcode::SERVER_FAILURE));
        };
        let deadline = scene.now.saturating_add(UDP_TIMEOUT);
        self.deadlines.insert((deadline, index));
        let pending = Pending {
            client,
            query,
            others: Vec::new(),
            exchange,
            attempt,
            deadline,
            generation,
            unhelpful: None,
        };
        self.pending.insert(index, pending);
    }

    /// Asks the first server that can be asked, from the `attempt`th on.
    fn ask(
        &mut self,
        host: &mut dyn Host,
        token: Token,
        query: &Query,
        attempt: usize,
    ) -> Option<(Exchange, usize)> {
        for attempt in attempt..self.upstreams.len() * ROUNDS {
            let server = self.upstreams.at(attempt)?;
            self.counters.forwarded += 1;
            let id = self.random.u16();
            if let Ok(exchange) = Exchange::udp(host, token, server, query, id) {
                return Some((exchange, attempt));
            }
        }
        None
    }

    fn answered(&mut self, scene: &mut Scene<'_>, index: u32, answer: Answer) {
        let Some(pending) = self.pending.get(&index) else {
            return;
        };
        if answer.is_truncated() && !pending.exchange.is_tcp() {
            return self.ask_again_over_tcp(scene, index);
        }
        let code = answer.header.rcode();
        if !matches!(code, rcode::NO_ERROR | rcode::NAME_ERROR) {
            return self.retry(scene, index, Some(answer));
        }
        let Some(pending) = self.finish(index) else {
            return;
        };
        if pending.attempt > 0 {
            self.upstreams.prefer(pending.exchange.server);
        }
        pending.exchange.close(scene.host);
        for (client, query) in &pending.others {
            self.reply(*client, query, answer.to(query, Duration::ZERO));
        }
        let (client, query) = (pending.client, pending.query);
        let bytes = answer.to(&query, Duration::ZERO);
        self.cache.insert(scene.now, &query, answer);
        self.reply(client, &query, bytes);
    }

    /// The answer did not fit into a datagram.
    fn ask_again_over_tcp(&mut self, scene: &mut Scene<'_>, index: u32) {
        let id = self.random.u16();
        let Some(pending) = self.pending.get_mut(&index) else {
            return;
        };
        let server = pending.exchange.server;
        let generation = pending.generation.wrapping_add(1);
        let token = Token::new(TokenClass::Service, index, generation);
        let Ok(exchange) = Exchange::tcp(scene.host, token, server, &pending.query, id) else {
            return self.retry(scene, index, None);
        };
        pending.generation = generation;
        std::mem::replace(&mut pending.exchange, exchange).close(scene.host);
        self.counters.forwarded += 1;
        self.postpone(index, scene.now.saturating_add(TCP_TIMEOUT));
    }

    /// The next server's turn; after the last one the guest is told.
    fn retry(&mut self, scene: &mut Scene<'_>, index: u32, unhelpful: Option<Answer>) {
        let Some(mut pending) = self.pending.remove(&index) else {
            return;
        };
        if unhelpful.is_some() {
            pending.unhelpful = unhelpful;
        }
        pending.generation = pending.generation.wrapping_add(1);
        let token = Token::new(TokenClass::Service, index, pending.generation);
        let next = self.ask(scene.host, token, &pending.query, pending.attempt + 1);
        if let Some((exchange, attempt)) = next {
            std::mem::replace(&mut pending.exchange, exchange).close(scene.host);
            pending.attempt = attempt;
            self.pending.insert(index, pending);
            return self.postpone(index, scene.now.saturating_add(UDP_TIMEOUT));
        }
        self.counters.failed += 1;
        self.pending.insert(index, pending);
        let Some(pending) = self.finish(index) else {
            return;
        };
        pending.exchange.close(scene.host);
        let first = (pending.client, pending.query);
        for (client, query) in std::iter::once(first).chain(pending.others) {
            let unhelpful = pending.unhelpful.as_ref();
            let answer = unhelpful.map(|answer| answer.to(&query, Duration::ZERO));
            let answer = answer.unwrap_or_else(|| query.failure(rcode::SERVER_FAILURE));
            self.reply(client, &query, answer);
        }
    }

    fn postpone(&mut self, index: u32, deadline: Duration) {
        if let Some(pending) = self.pending.get_mut(&index) {
            self.deadlines.remove(&(pending.deadline, index));
            pending.deadline = deadline;
            self.deadlines.insert((deadline, index));
        }
    }

    fn finish(&mut self, index: u32) -> Option<Pending> {
        let pending = self.pending.remove(&index)?;
        self.deadlines.remove(&(pending.deadline, index));
        self.count_out(pending.client);
        for (client, _) in &pending.others {
            self.count_out(*client);
        }
        Some(pending)
    }

    fn count_out(&mut self, client: Client) {
        self.waiting = self.waiting.saturating_sub(1);
        count_out_of(&mut self.per_port, client.port());
    }

    fn has_quota(&self, client: Client) -> bool {
        let own = self.per_port.get(&client.port()).copied().unwrap_or(0);
        self.waiting < MAX_PENDING && own < PER_PORT
    }

    fn free_index(&mut self) -> u32 {
        while self.pending.contains_key(&self.next_index) {
            self.next_index = self.next_index.wrapping_add(1);
        }
        self.next_index
    }

    fn reply(&mut self, client: Client, query: &Query, answer: Vec<u8>) {
        let answer = match client {
            Client::Udp { .. } => query.truncated(answer),
            Client::Tcp { .. } => answer,
        };
        self.deliver(client, Some(answer));
    }

    fn deliver(&mut self, client: Client, answer: Option<Vec<u8>>) {
        match client {
            Client::Tcp { stream, .. } => self.streams.answer(stream, answer.as_deref()),
            Client::Udp { by, guest, local } => self.replies.extend(answer.map(|payload| Reply {
                mac: by.mac,
                guest,
                local,
                payload,
            })),
        }
    }
}

/// A question of a port's is none any more.
fn count_out_of(per_port: &mut BTreeMap<PortId, usize>, port: PortId) {
    if let Some(count) = per_port.get_mut(&port) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            per_port.remove(&port);
        }
    }
}

#[cfg(test)]
#[path = "forwarder_test.rs"]
mod tests;
