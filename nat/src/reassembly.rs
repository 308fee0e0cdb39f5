//! IP datagrams from their fragments (RFC 791, 3.2; RFC 8200, 4.5), within bounds.
//!
//! Fragments that overlap end their datagram (RFC 5722): no honest sender makes them, and what two readers make of them differs.
use crate::bytes::set;
use crate::config::{Quotas, Timeouts};
use crate::counters::DropReason;
use crate::frame::Packet;
use crate::guests::Guests;
use hashbrown::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Largest payload of a datagram.
const MAX_LEN: usize = 65_535 - 20;
/// Parts of one datagram that do not touch: honest ones come nearly in order.
const MAX_PARTS: usize = 64;
/// Incomplete datagrams of all guests.
const MAX_DATAGRAMS: usize = 1024;
/// What a datagram costs beside its bytes: so much that no guest's quota is more than a small part of [`MAX_DATAGRAMS`].
const OVERHEAD: usize = 4096;
/// Bytes of the first fragment that are kept for ICMP errors to quote.
const QUOTE: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    guest: u32,
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    /// RFC 791 tells datagrams apart by it; in IPv6 only the first fragment's counts
    protocol: Option<u8>,
}

#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    /// parts that are there, in order
    parts: Vec<(usize, usize)>,
    total: Option<usize>,
    /// protocol and start of the first fragment
    first: Option<(u8, Vec<u8>)>,
    until: Duration,
    /// what it counts against the guest
    cost: usize,
}

/// A datagram that is complete.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) payload: Vec<u8>,
    pub(crate) protocol: u8,
    /// its first fragment, or the start of it
    pub(crate) quote: Vec<u8>,
}

/// Datagrams that are not complete.
#[derive(Debug)]
pub(crate) struct Reassembly {
    partials: HashMap<Key, Partial, foldhash::fast::FixedState>,
    next: Option<Duration>,
}

impl Reassembly {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            partials: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
            next: None,
        }
    }

    /// A fragment; the datagram, if this was the last that was missing.
    pub(crate) fn input(
        &mut self,
        now: Duration,
        guest: u32,
        packet: &Packet<'_>,
        (guests, quotas, timeouts): (&mut Guests, &Quotas, &Timeouts),
    ) -> Result<Option<Whole>, DropReason> {
        let Some(fragment) = packet.fragment else {
            return Ok(None);
        };
        let (start, len) = (fragment.offset, packet.payload.len());
        let end = start + len;
        if len == 0 || end > MAX_LEN || (fragment.more && len % 8 != 0) {
            return Err(DropReason::BadFragment);
        }
        let key = Key {
            guest,
            source: packet.source,
            destination: packet.destination,
            id: fragment.id,
            protocol: packet.source.is_ipv4().then_some(packet.protocol),
        };
        if !self.partials.contains_key(&key) {
            if self.partials.len() >= MAX_DATAGRAMS {
                return Err(DropReason::ReassemblyQuota);
            }
            self.partials
                .insert(key, Partial::new(now + timeouts.reassembly));
            self.next = Some(self.next.map_or(now + timeouts.reassembly, |next| {
                next.min(now + timeouts.reassembly)
            }));
        }
        let Some(partial) = self.partials.get_mut(&key) else {
            return Err(DropReason::ReassemblyQuota);
        };
        let added = partial
            .charge(end, guest, guests, quotas)
            .and_then(|()| partial.add(start, packet.payload, fragment.more));
        if let Err(reason) = added {
            self.forget(&key, guests);
            return Err(reason);
        }
        if start == 0 {
            let quote = packet.whole.get(..QUOTE).unwrap_or(packet.whole);
            partial.first = Some((packet.protocol, quote.to_vec()));
        }
        if !partial.is_whole() {
            return Ok(None);
        }
        let whole = self.forget(&key, guests).and_then(|partial| {
            let (protocol, quote) = partial.first?;
            Some(Whole {
                payload: partial.bytes,
                protocol,
                quote,
            })
        });
        Ok(whole)
    }

    fn forget(&mut self, key: &Key, guests: &mut Guests) -> Option<Partial> {
        let partial = self.partials.remove(key)?;
        guests.count(key.guest, |held| {
            held.reassembling = held.reassembling.saturating_sub(partial.cost);
        });
        Some(partial)
    }

    /// Forgets what guests that are gone have sent.
    pub(crate) fn end(&mut self, guests: &mut Guests, is_gone: impl Fn(&Guests, u32) -> bool) {
        let keys = self.partials.keys();
        let gone: Vec<Key> = keys
            .filter(|key| is_gone(guests, key.guest))
            .copied()
            .collect();
        for key in &gone {
            self.forget(key, guests);
        }
    }

    /// Forgets what was not complete in time, and how many that were. Returns when to be called next.
    pub(crate) fn poll(&mut self, now: Duration, guests: &mut Guests) -> (Option<Duration>, usize) {
        if self.next.is_none_or(|next| next > now) {
            return (self.next, 0);
        }
        let late: Vec<Key> = self
            .partials
            .iter()
            .filter(|(_, partial)| partial.until <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in &late {
            self.forget(key, guests);
        }
        self.next = self.partials.values().map(|partial| partial.until).min();
        (self.next, late.len())
    }
}

impl Partial {
    const fn new(until: Duration) -> Self {
        Self {
            bytes: Vec::new(),
            parts: Vec::new(),
            total: None,
            first: None,
            until,
            cost: 0,
        }
    }

    /// Counts what a datagram of `end` bytes takes against its guest.
    fn charge(
        &mut self,
        end: usize,
        guest: u32,
        guests: &mut Guests,
        quotas: &Quotas,
    ) -> Result<(), DropReason> {
        let cost = self.cost.max(end + OVERHEAD);
        let more = cost - self.cost;
        let account = guests.get(guest).ok_or(DropReason::GuestQuota)?;
        if account.held.reassembling + more > quotas.reassembly_per_guest {
            return Err(DropReason::ReassemblyQuota);
        }
        guests.count(guest, |held| held.reassembling += more);
        self.cost = cost;
        Ok(())
    }

    fn add(&mut self, start: usize, payload: &[u8], more: bool) -> Result<(), DropReason> {
        let end = start + payload.len();
        let beyond = self
            .total
            .is_some_and(|total| end > total || (!more && end != total));
        let at = self.parts.partition_point(|part| part.1 <= start);
        let overlaps = self.parts.get(at).is_some_and(|part| part.0 < end);
        let short = !more && self.parts.last().is_some_and(|part| part.1 > end);
        if beyond || overlaps || short {
            return Err(DropReason::BadFragment);
        }
        if !more {
            self.total = Some(end);
        }
        self.parts.insert(at, (start, end));
        self.merge();
        if self.parts.len() > MAX_PARTS {
            return Err(DropReason::ReassemblyQuota);
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        set(&mut self.bytes, start, payload);
        Ok(())
    }

    /// Parts that touch become one.
    fn merge(&mut self) {
        self.parts.dedup_by(|later, earlier| {
            let touch = earlier.1 == later.0;
            if touch {
                earlier.1 = later.1;
            }
            touch
        });
    }

    fn is_whole(&self) -> bool {
        self.total.is_some_and(|total| self.parts == [(0, total)])
    }
}

#[cfg(test)]
#[path = "reassembly_test.rs"]
mod tests;
