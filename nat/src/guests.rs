//! Who is on the network: what each guest has of what there is, and which addresses it answered from.
use crate::MacAddr;
use crate::account::{Account, Held};
use crate::config::Quotas;
use crate::counters::{Counters, DropReason};
use crate::host::Incoming;
use crate::slab::Slab;
use hashbrown::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use switch::{PortId, TokenBucket};

/// Addresses that one guest may be known by: more than stable and temporary ones of some prefixes.
const MAX_ADDRESSES: usize = 16;
/// For how long an address belongs to whom it was seen from, if another claims it.
const ADDRESS_HOLD: Duration = Duration::from_mins(1);
/// Guests that a port may have however many there are behind others.
const SURE_GUESTS: usize = 16;
/// One port has this part of all guests at most.
const SHARE: usize = 4;
/// Guests that are looked at to find one to be forgotten: who sends from ever new addresses is not to make us search them all.
const LOOKS: usize = 8;

/// A station of the network, by its MAC address.
#[derive(Debug)]
struct Guest {
    mac: MacAddr,
    port: PortId,
    /// of its port
    account: u32,
    /// in the account's list
    place: usize,
    held: Held,
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
    accounts: Slab<Account>,
    by_port: HashMap<PortId, u32, foldhash::fast::FixedState>,
    by_address: HashMap<IpAddr, Owner, foldhash::fast::FixedState>,
    /// flows of all guests
    flows: usize,
}

impl Guests {
    pub(crate) fn new(quotas: Quotas, seed: u64) -> Self {
        let state = foldhash::fast::FixedState::with_seed(seed);
        Self {
            quotas,
            slab: Slab::new(),
            by_mac: HashMap::with_hasher(state.clone()),
            accounts: Slab::new(),
            by_port: HashMap::with_hasher(state.clone()),
            by_address: HashMap::with_hasher(state),
            flows: 0,
        }
    }

    /// What the port of a guest has.
    pub(crate) fn get(&self, id: u32) -> Option<&Account> {
        self.accounts.at(self.slab.at(id)?.account)
    }

    /// What the port of a guest has.
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Account> {
        self.accounts.at_mut(self.slab.at(id)?.account)
    }

    /// What of datagrams the guest's limit lets through now, from the first on. The others are counted.
    pub(crate) fn admit<'a>(
        &mut self,
        id: u32,
        now: Duration,
        datagrams: Incoming<'a>,
        counters: &mut Counters,
    ) -> Option<Incoming<'a>> {
        let Some(account) = self.get_mut(id) else {
            return Some(datagrams);
        };
        let admitted = account.admit(now, datagrams);
        if admitted.is_none_or(|it| it.payload.len() < datagrams.payload.len()) {
            let passing = admitted.map_or(0, |it| it.datagrams().count());
            let lost = datagrams.datagrams().count() - passing;
            counters.drop_many(DropReason::RateLimit, lost);
        }
        admitted
    }

    /// The port that a guest is behind.
    pub(crate) fn port_of(&self, id: u32) -> Option<PortId> {
        self.slab.at(id).map(|guest| guest.port)
    }

    pub(crate) fn mac_of(&self, id: u32) -> Option<MacAddr> {
        self.slab.at(id).map(|guest| guest.mac)
    }

    /// What a guest itself has.
    #[cfg(test)]
    pub(crate) fn held_by(&self, mac: MacAddr) -> Option<Held> {
        self.slab.at(self.id_of(mac)?).map(|guest| guest.held)
    }

    /// Changes what a guest has, and its port by that.
    pub(crate) fn count(&mut self, id: u32, change: impl Fn(&mut Held)) {
        let Some(guest) = self.slab.at_mut(id) else {
            return;
        };
        change(&mut guest.held);
        if let Some(account) = self.accounts.at_mut(guest.account) {
            change(&mut account.held);
        }
    }

    /// Whoever a frame came from, by a port; a new one if there may be more.
    pub(crate) fn seen(&mut self, mac: MacAddr, port: PortId, now: Duration) -> Option<u32> {
        if let Some(&id) = self.by_mac.get(&mac.0) {
            let guest = self.slab.at_mut(id)?;
            guest.seen = now;
            if guest.port != port {
                self.moved(id, port, now);
            }
            return Some(id);
        }
        let account = self.account_of(port, now);
        if !self.may_join(account) && !self.forget_one(account) {
            return None;
        }
        let guest = Guest {
            mac,
            port,
            account,
            place: 0,
            held: Held::default(),
            seen: now,
            addresses: Vec::new(),
        };
        let id = self.slab.insert(guest).index;
        self.by_mac.insert(mac.0, id);
        self.join(id, account);
        Some(id)
    }

    fn account_of(&mut self, port: PortId, now: Duration) -> u32 {
        let (accounts, quotas) = (&mut self.accounts, &self.quotas);
        *self
            .by_port
            .entry(port)
            .or_insert_with(|| accounts.insert(Account::new(port, quotas, now)).index)
    }

    /// A guest is behind another port now, as after a migration: what it has goes with it.
    fn moved(&mut self, id: u32, port: PortId, now: Duration) {
        self.leave(id);
        let account = self.account_of(port, now);
        self.join(id, account);
    }

    fn join(&mut self, id: u32, account: u32) {
        if let (Some(guest), Some(to)) = (self.slab.at_mut(id), self.accounts.at_mut(account)) {
            guest.port = to.port;
            guest.account = account;
            guest.place = to.join(id, guest.held);
        }
    }

    fn leave(&mut self, id: u32) {
        let Some(guest) = self.slab.at(id) else {
            return;
        };
        let (place, index) = (guest.place, guest.account);
        let Some(account) = self.accounts.at_mut(index) else {
            return;
        };
        // An account without guests stays: what its port has used of its rates is not given back by a guest that goes elsewhere.
        let follower = account.leave(place, guest.held);
        if let Some(follower) = follower.and_then(|id| self.slab.at_mut(id)) {
            follower.place = place;
        }
    }

    /// Whether there may be one more guest behind a port.
    fn may_join(&self, account: u32) -> bool {
        let behind = self.accounts.at(account).map_or(0, |it| it.guests.len());
        let most = (self.quotas.guests / SHARE).max(1);
        behind < SURE_GUESTS.min(most) || (behind < most && self.slab.len() < self.quotas.guests)
    }

    /// Whether a guest is behind a port.
    pub(crate) fn is_behind(&self, id: u32, port: PortId) -> bool {
        self.port_of(id) == Some(port)
    }

    /// A port is gone: its guests are forgotten, who have no flows any more, and what it has used of its rates.
    pub(crate) fn forget_port(&mut self, port: PortId) {
        let Some(account) = self.by_port.remove(&port) else {
            return;
        };
        let guests = self.accounts.remove(account).map(|account| account.guests);
        for id in guests.into_iter().flatten() {
            self.forget(id);
        }
    }

    /// Makes room for a guest behind a port: of a few there without a flow, the one that was silent for the longest time goes.
    fn forget_one(&mut self, account: u32) -> bool {
        let Some(account) = self.accounts.at_mut(account) else {
            return false;
        };
        let oldest = account
            .next_few(LOOKS)
            .filter_map(|id| Some((id, self.slab.at(id)?)))
            .filter(|(_, guest)| guest.held == Held::default())
            .min_by_key(|(_, guest)| guest.seen)
            .map(|(id, _)| id);
        let Some(id) = oldest else {
            return false;
        };
        self.leave(id);
        self.forget(id)
    }

    /// Forgets a guest that is in no account's list.
    fn forget(&mut self, id: u32) -> bool {
        let Some(guest) = self.slab.remove(id) else {
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
        let mac = self.mac_of(id);
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
        self.open(id, now, |account| &mut account.new_flows)
    }

    /// The same for one that comes by a forward: whoever opens these takes no turn of the guest's own.
    pub(crate) fn open_inbound(&mut self, id: u32, now: Duration) -> Result<(), DropReason> {
        self.open(id, now, |account| &mut account.new_inbound)
    }

    /// Whether the world may begin one more session with a guest that it has not answered: these never take more than a quarter
    /// of what the guest's port may have.
    pub(crate) fn may_be_asked(&self, id: u32) -> bool {
        let most = (self.quotas.flows_per_guest / 4).max(1);
        self.get(id)
            .is_some_and(|account| account.held.unanswered < most)
    }

    fn open(
        &mut self,
        id: u32,
        now: Duration,
        bucket: impl FnOnce(&mut Account) -> &mut TokenBucket,
    ) -> Result<(), DropReason> {
        let is_full = self.flows >= self.quotas.flows;
        let most = self.quotas.flows_per_guest;
        let account = self.get_mut(id).ok_or(DropReason::GuestQuota)?;
        if is_full || account.held.flows >= most {
            return Err(DropReason::FlowQuota);
        }
        if !bucket(account).take(now, 1) {
            return Err(DropReason::FlowRate);
        }
        self.count(id, |held| held.flows += 1);
        self.flows += 1;
        Ok(())
    }

    /// Whether a guest may have one more connection half open.
    pub(crate) fn may_half_open(&self, id: u32) -> bool {
        self.get(id)
            .is_some_and(|account| account.held.half_open < self.quotas.half_open_per_guest)
    }

    /// Counts a flow out.
    pub(crate) fn close_flow(&mut self, id: u32) {
        self.count(id, |held| held.flows = held.flows.saturating_sub(1));
        self.flows = self.flows.saturating_sub(1);
    }

    /// Whether a guest's TCP buffers may grow by so much.
    pub(crate) fn may_buffer(&self, id: u32, more: usize) -> bool {
        self.get(id)
            .is_some_and(|account| account.held.buffered + more <= self.quotas.buffer_per_guest)
    }
}

#[cfg(test)]
#[path = "guests_test.rs"]
mod tests;
