//! One mapping.
use crate::MacAddr;
use crate::config::{Filtering, Timeouts};
use crate::host::{SocketId, TokenClass};
use crate::status::{FlowDirection, FlowState, FlowStatus, Protocol};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Remote ends that a mapping remembers, for filtering: of more, the one that was sent to first is forgotten.
const MAX_PEERS: usize = 64;

/// A session by a forward that the guest does not answer is kept for so long: anybody in the world can begin one.
const UNANSWERED: Duration = Duration::from_secs(30);

/// What a mapping carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Udp,
    Echo,
}

impl Kind {
    pub(crate) const fn class(self) -> TokenClass {
        match self {
            Self::Udp => TokenClass::Udp,
            Self::Echo => TokenClass::Echo,
        }
    }
}

/// What tells a mapping from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    pub(crate) kind: Kind,
    pub(crate) guest: u32,
    pub(crate) address: SocketAddr,
    /// only of a session by a forward: the client, as the guest sees it
    pub(crate) client: Option<SocketAddr>,
}

/// Who asks by a forward. Ordered by the address first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    /// which of the host's addresses it asked, and is to be answered from; `None`: the one that the socket is bound to
    pub(crate) asked: Option<IpAddr>,
}

#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) endpoint: Endpoint,
    pub(crate) mac: MacAddr,
    pub(crate) socket: SocketId,
    /// the client as it is, if this is a session by a forward, whose socket this is not the owner of
    pub(crate) client: Option<Client>,
    /// the guest thinks that it speaks with the gateway, not with the host's loopback
    pub(crate) loopback: bool,
    peers: Vec<SocketAddr>,
    /// what the way to the guest takes in one piece, if a router behind it has said so
    pub(crate) mtu: Option<u16>,
    pub(crate) last: SocketAddr,
    /// nothing but single exchanges with well-known ports so far
    one_shot: bool,
    /// the guest has sent something
    answered: bool,
    /// on the list of those whose sockets have something
    pub(crate) listed: bool,
    pub(crate) expires: Duration,
    pub(crate) created: Duration,
    pub(crate) active: Duration,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Mapping {
    pub(crate) fn new(
        endpoint: Endpoint,
        mac: MacAddr,
        socket: SocketId,
        first: SocketAddr,
        now: Duration,
    ) -> Self {
        Self {
            endpoint,
            mac,
            socket,
            client: None,
            loopback: false,
            peers: Vec::new(),
            mtu: None,
            last: first,
            one_shot: true,
            answered: false,
            listed: false,
            expires: now,
            created: now,
            active: now,
            sent: 0,
            received: 0,
        }
    }

    /// The guest sent to a remote end: that keeps the mapping (RFC 4787, REQ-6).
    pub(crate) fn note_sent(
        &mut self,
        to: SocketAddr,
        bytes: usize,
        timeouts: &Timeouts,
        now: Duration,
    ) {
        if self.peers.last() != Some(&to) && !self.peers.contains(&to) {
            if self.peers.len() >= MAX_PEERS {
                self.peers.remove(0);
            }
            self.peers.push(to);
        }
        self.one_shot &= to.port() < 1024;
        self.answered = true;
        self.last = to;
        self.sent += bytes as u64;
        self.refresh(timeouts, now);
    }

    /// The world sent something that was let through. That does not keep the mapping: somebody outside could for ever.
    pub(crate) fn note_received(&mut self, bytes: usize, now: Duration) {
        self.received += bytes as u64;
        self.active = now;
    }

    /// A session by a forward of which the guest has not sent anything yet.
    pub(crate) const fn is_unanswered(&self) -> bool {
        self.client.is_some() && !self.answered
    }

    pub(crate) fn refresh(&mut self, timeouts: &Timeouts, now: Duration) {
        let keep = match self.endpoint.kind {
            Kind::Udp if self.is_unanswered() => timeouts.udp.min(UNANSWERED),
            Kind::Echo => timeouts.echo,
            Kind::Udp if self.one_shot && self.client.is_none() => timeouts.udp_one_shot,
            Kind::Udp => timeouts.udp,
        };
        self.active = now;
        self.expires = now + keep;
    }

    /// Whether a remote end may send to the guest (RFC 4787, 5).
    pub(crate) fn lets_in(&self, from: SocketAddr, filtering: Filtering) -> bool {
        match (self.endpoint.kind, filtering) {
            (Kind::Udp, Filtering::EndpointIndependent) => true,
            (Kind::Udp, Filtering::AddressAndPortDependent) => self.peers.contains(&from),
            _ => self.knows(from.ip()),
        }
    }

    /// Whether the guest sent to an address.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.peers.iter().any(|peer| peer.ip() == address)
    }

    pub(crate) fn status(&self, now: Duration) -> FlowStatus {
        FlowStatus {
            protocol: match self.endpoint.kind {
                Kind::Udp => Protocol::Udp,
                Kind::Echo => Protocol::Echo,
            },
            direction: if self.client.is_some() {
                FlowDirection::Inbound
            } else {
                FlowDirection::Outbound
            },
            mac: self.mac,
            guest: self.endpoint.address,
            remote: self.last,
            state: FlowState::Established,
            sent: self.sent,
            received: self.received,
            buffered: 0,
            age: now.saturating_sub(self.created),
            idle: now.saturating_sub(self.active),
        }
    }
}
