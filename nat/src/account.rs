//! What a port of the network has of what there is, whatever addresses its frames come from.
use crate::config::Quotas;
use crate::host::Incoming;
use crate::limit::Limit;
use std::time::Duration;
use switch::{PortId, Rate, TokenBucket};

/// ICMP errors per second to one port (RFC 1812, 4.3.2.8; RFC 4443, 2.4 f).
const ICMP_ERRORS: Rate = Rate {
    per_second: 100,
    burst: 50,
};

/// What is held at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Held {
    pub(crate) flows: usize,
    pub(crate) half_open: usize,
    /// sessions by forwards that were not answered
    pub(crate) unanswered: usize,
    pub(crate) buffered: usize,
    pub(crate) reassembling: usize,
    /// ports of the host
    pub(crate) ports: usize,
}

impl Held {
    fn each(self, other: Self, what: impl Fn(usize, usize) -> usize) -> Self {
        Self {
            flows: what(self.flows, other.flows),
            half_open: what(self.half_open, other.half_open),
            unanswered: what(self.unanswered, other.unanswered),
            buffered: what(self.buffered, other.buffered),
            reassembling: what(self.reassembling, other.reassembling),
            ports: what(self.ports, other.ports),
        }
    }
}

/// What one port has. A guest can make up addresses as it likes, but no port.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) port: PortId,
    /// of all its guests
    pub(crate) held: Held,
    pub(crate) new_flows: TokenBucket,
    /// of those that the world opens
    pub(crate) new_inbound: TokenBucket,
    icmp_errors: TokenBucket,
    pub(crate) upload: Option<Limit>,
    pub(crate) download: Option<Limit>,
    /// its guests
    pub(crate) guests: Vec<u32>,
    /// the one to be looked at next, if one has to go
    hand: usize,
}

impl Account {
    pub(crate) fn new(port: PortId, quotas: &Quotas, now: Duration) -> Self {
        let bytes = |rate: Option<u64>| rate.map(|rate| Limit::new(rate, now));
        let new_flows = Rate {
            per_second: quotas.new_flows_per_second.into(),
            burst: quotas.new_flows_burst.into(),
        };
        Self {
            port,
            held: Held::default(),
            new_flows: TokenBucket::new(new_flows, now),
            new_inbound: TokenBucket::new(new_flows, now),
            icmp_errors: TokenBucket::new(ICMP_ERRORS, now),
            upload: bytes(quotas.upload_rate),
            download: bytes(quotas.download_rate),
            guests: Vec::new(),
            hand: 0,
        }
    }

    /// Whether a datagram may go to the world now.
    pub(crate) fn may_upload(&mut self, now: Duration, bytes: usize) -> bool {
        let limit = self.upload.as_mut();
        limit.is_none_or(|limit| limit.admit(now, bytes))
    }

    /// What of datagrams may go to the guest now, from the first on.
    pub(crate) fn admit<'a>(
        &mut self,
        now: Duration,
        datagrams: Incoming<'a>,
    ) -> Option<Incoming<'a>> {
        match self.download.as_mut() {
            None => Some(datagrams),
            Some(limit) => datagrams.leading(|bytes| limit.admit(now, bytes)),
        }
    }

    /// Whether anything limits its upload.
    pub(crate) const fn is_upload_limited(&self) -> bool {
        self.upload.is_some()
    }

    /// Whether an ICMP error may be sent to it.
    pub(crate) fn may_get_error(&mut self, now: Duration) -> bool {
        self.icmp_errors.take(now, 1)
    }

    /// A guest comes in, with what it has. Returns its place in the list.
    pub(crate) fn join(&mut self, guest: u32, held: Held) -> usize {
        self.held = self.held.each(held, usize::saturating_add);
        self.guests.push(guest);
        self.guests.len() - 1
    }

    /// The guest at a place goes, with what it has. Returns who has that place now.
    pub(crate) fn leave(&mut self, place: usize, held: Held) -> Option<u32> {
        self.held = self.held.each(held, usize::saturating_sub);
        if place < self.guests.len() {
            self.guests.swap_remove(place);
        }
        self.guests.get(place).copied()
    }

    /// The next few guests, of whom one may have to go: each has its turn, and none is looked at before the others were.
    pub(crate) fn next_few(&mut self, count: usize) -> impl Iterator<Item = u32> + '_ {
        let (start, len) = (self.hand, self.guests.len());
        self.hand = (start + count) % len.max(1);
        let turn = (start..start + count.min(len)).map(move |at| at % len);
        turn.filter_map(|at| self.guests.get(at).copied())
    }
}
