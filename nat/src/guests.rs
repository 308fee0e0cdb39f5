//! Who is on the network: what each guest has of what there is, and which addresses it answered from.
use crate::MacAddr;
use crate::config::Quotas;
use crate::counters::DropReason;
use crate::slab::Slab;
use hashbrown::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use switch::{Rate, TokenBucket};

/// Addresses that one guest may be known by: more than stable and temporary ones of some prefixes.
const MAX_ADDRESSES: usize = 16;
/// For how long an address belongs to whom it was seen from, if another claims it.
const ADDRESS_HOLD: Duration = Duration::from_mins(1);
/// ICMP errors per second to one guest (RFC 1812, 4.3.2.8; RFC 4443, 2.4 f).
const ICMP_ERRORS: Rate = Rate {
    per_second: 100,
    burst: 50,
};

/// What one guest has.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) mac: MacAddr,
    pub(crate) flows: usize,
    pub(crate) half_open: usize,
    /// sessions by forwards that it has not answered
    pub(crate) unanswered: usize,
    pub(crate) buffered: usize,
    pub(crate) reassembling: usize,
    new_flows: TokenBucket,
    /// of those that the world opens
    new_inbound: TokenBucket,
    icmp_errors: TokenBucket,
    upload: Option<TokenBucket>,
    download: Option<TokenBucket>,
    seen: Duration,
    addresses: Vec<IpAddr>,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    guest: u32,
    since: Duration,
    seen: Duration,
}

/// All guests that were seen.
#[derive(Debug)]
pub(crate) struct Guests {
    quotas: Quotas,
    slab: Slab<Guest>,
    by_mac: HashMap<[u8; 6], u32, foldhash::fast::FixedState>,
    by_address: HashMap<IpAddr, Owner, foldhash::fast::FixedState>,
    /// flows of all guests
    flows: usize,
}

impl Guest {
    fn new(mac: MacAddr, quotas: &Quotas, now: Duration) -> Self {
        let bytes = |rate: Option<u64>| {
            rate.map(|rate| TokenBucket::new(Rate::with_default_burst(rate, 64 << 10), now))
        };
        let new_flows = Rate {
            per_second: quotas.new_flows_per_second.into(),
            burst: quotas.new_flows_burst.into(),
        };
        Self {
            mac,
            flows: 0,
            half_open: 0,
            unanswered: 0,
            buffered: 0,
            reassembling: 0,
            new_flows: TokenBucket::new(new_flows, now),
            new_inbound: TokenBucket::new(new_flows, now),
            icmp_errors: TokenBucket::new(ICMP_ERRORS, now),
            upload: bytes(quotas.upload_rate),
            download: bytes(quotas.download_rate),
            seen: now,
            addresses: Vec::new(),
        }
    }

    /// Whether bytes may go to the world now.
    pub(crate) fn may_upload(&mut self, now: Duration, bytes: usize) -> bool {
        take(&mut self.upload, now, bytes)
    }

    /// Whether bytes may go to the guest now.
    pub(crate) fn may_download(&mut self, now: Duration, bytes: usize) -> bool {
        take(&mut self.download, now, bytes)
    }

    /// Whether anything limits its upload.
    pub(crate) const fn is_upload_limited(&self) -> bool {
        self.upload.is_some()
    }

    /// Whether an ICMP error may be sent to it.
    pub(crate) fn may_get_error(&mut self, now: Duration) -> bool {
        self.icmp_errors.take(now, 1)
    }
}

fn take(bucket: &mut Option<TokenBucket>, now: Duration, bytes: usize) -> bool {
    bucket
        .as_mut()
        .is_none_or(|bucket| bucket.take(now, bytes as u64))
}

impl Guests {
    pub(crate) fn new(quotas: Quotas, seed: u64) -> Self {
        let state = foldhash::fast::FixedState::with_seed(seed);
        Self {
            quotas,
            slab: Slab::new(),
            by_mac: HashMap::with_hasher(state.clone()),
            by_address: HashMap::with_hasher(state),
            flows: 0,
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Guest> {
        self.slab.at(id)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Guest> {
        self.slab.at_mut(id)
    }

    /// Who has a MAC address.
    #[cfg(test)]
    pub(crate) fn by_mac(&self, mac: MacAddr) -> Option<&Guest> {
        self.get(self.id_of(mac)?)
    }

    /// Whoever a frame came from; a new one if there may be more.
    pub(crate) fn seen(&mut self, mac: MacAddr, now: Duration) -> Option<u32> {
        if let Some(&id) = self.by_mac.get(&mac.0) {
            if let Some(guest) = self.slab.at_mut(id) {
                guest.seen = now;
            }
            return Some(id);
        }
        if self.slab.len() >= self.quotas.guests && !self.forget_one() {
            return None;
        }
        let key = self.slab.insert(Guest::new(mac, &self.quotas, now));
        self.by_mac.insert(mac.0, key.index);
        Some(key.index)
    }

    /// Makes room for a guest: of those without a flow, the one that was silent for the longest time goes.
    fn forget_one(&mut self) -> bool {
        let oldest = self
            .slab
            .iter()
            .filter(|(_, guest)| guest.flows == 0 && guest.reassembling == 0)
            .min_by_key(|(_, guest)| guest.seen)
            .map(|(id, _)| id);
        let Some(guest) = oldest.and_then(|id| self.slab.remove(id)) else {
            return false;
        };
        self.by_mac.remove(&guest.mac.0);
        for address in &guest.addresses {
            self.by_address.remove(address);
        }
        true
    }

    /// An address was the source of something a guest sent. `holder` knows for whom it is reserved, or who leases it since when:
    /// then it is that one's and nobody else's, but of one who has had it by hand since before.
    pub(crate) fn learn(
        &mut self,
        id: u32,
        address: IpAddr,
        now: Duration,
        holder: impl FnOnce() -> Option<(MacAddr, Duration)>,
    ) {
        if let Some(owner) = self.by_address.get_mut(&address)
            && owner.guest == id
        {
            owner.seen = now;
            return;
        }
        let holder = holder();
        let mac = self.get(id).map(|guest| guest.mac);
        if holder.is_some_and(|(holder, _)| Some(holder) != mac) {
            return;
        }
        if let Some(owner) = self.by_address.get(&address) {
            let is_earlier = holder.is_none_or(|(_, since)| owner.since < since);
            if is_earlier && now.saturating_sub(owner.seen) < ADDRESS_HOLD {
                return;
            }
            let previous = owner.guest;
            if let Some(previous) = self.slab.at_mut(previous) {
                previous.addresses.retain(|held| *held != address);
            }
        }
        let Some(guest) = self.slab.at_mut(id) else {
            return;
        };
        if guest.addresses.len() >= MAX_ADDRESSES {
            let forgotten = guest.addresses.remove(0);
            self.by_address.remove(&forgotten);
        }
        guest.addresses.push(address);
        let owner = Owner {
            guest: id,
            since: now,
            seen: now,
        };
        self.by_address.insert(address, owner);
    }

    /// Whoever has a MAC address.
    pub(crate) fn id_of(&self, mac: MacAddr) -> Option<u32> {
        self.by_mac.get(&mac.0).copied()
    }

    /// Who has an address.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<u32> {
        self.by_address.get(&address).map(|owner| owner.guest)
    }

    /// The address of the network's only guest, if there is one that has an address.
    pub(crate) fn only_address(&self) -> Option<IpAddr> {
        let mut guests = self
            .slab
            .iter()
            .filter(|(_, guest)| !guest.addresses.is_empty());
        let (_, only) = guests.next()?;
        let first = only.addresses.iter().find(|address| address.is_ipv4());
        guests
            .next()
            .is_none()
            .then(|| first.or(only.addresses.first()).copied())?
    }

    /// Counts a new flow of a guest in, if it may have one more.
    pub(crate) fn open_flow(&mut self, id: u32, now: Duration) -> Result<(), DropReason> {
        self.open(id, now, |guest| &mut guest.new_flows)
    }

    /// The same for one that comes by a forward: whoever opens these takes no turn of the guest's own.
    pub(crate) fn open_inbound(&mut self, id: u32, now: Duration) -> Result<(), DropReason> {
        self.open(id, now, |guest| &mut guest.new_inbound)
    }

    /// Whether the world may begin one more session with a guest that it has not answered: these never take more than a quarter
    /// of what the guest may have.
    pub(crate) fn may_be_asked(&self, id: u32) -> bool {
        let most = (self.quotas.flows_per_guest / 4).max(1);
        self.get(id).is_some_and(|guest| guest.unanswered < most)
    }

    fn open(
        &mut self,
        id: u32,
        now: Duration,
        bucket: impl FnOnce(&mut Guest) -> &mut TokenBucket,
    ) -> Result<(), DropReason> {
        let guest = self.slab.at_mut(id).ok_or(DropReason::GuestQuota)?;
        if guest.flows >= self.quotas.flows_per_guest || self.flows >= self.quotas.flows {
            return Err(DropReason::FlowQuota);
        }
        if !bucket(guest).take(now, 1) {
            return Err(DropReason::FlowRate);
        }
        guest.flows += 1;
        self.flows += 1;
        Ok(())
    }

    /// Whether a guest may have one more connection half open.
    pub(crate) fn may_half_open(&self, id: u32) -> bool {
        self.get(id)
            .is_some_and(|guest| guest.half_open < self.quotas.half_open_per_guest)
    }

    /// Counts a flow out.
    pub(crate) fn close_flow(&mut self, id: u32) {
        if let Some(guest) = self.slab.at_mut(id) {
            guest.flows = guest.flows.saturating_sub(1);
            self.flows = self.flows.saturating_sub(1);
        }
    }

    /// Whether a guest's TCP buffers may grow by so much.
    pub(crate) fn may_buffer(&self, id: u32, more: usize) -> bool {
        self.get(id)
            .is_some_and(|guest| guest.buffered + more <= self.quotas.buffer_per_guest)
    }
}

#[cfg(test)]
#[path = "guests_test.rs"]
mod tests;
