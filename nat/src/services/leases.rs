//! Which client has which address, and until when: the table of both DHCP servers.
//!
//! It is bounded by the pool, by the reservations and by a share per station. A station that asks for more than its share gets its
//! own oldest address again under a new identity. When the pool is used up, what ran out longest ago is given away first, then the
//! oldest offer that nobody took, and then what was declined; a running lease is never taken away.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::MacAddr;
use serde::{Deserialize, Serialize};

use super::hosts::Reservation;

/// Addresses that one station may hold, under whatever client identifiers.
pub const PER_STATION: usize = 8;

/// How an address is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// offered, not asked for yet
    Offered,
    /// leased
    Bound,
    /// its client found it in use (DHCPDECLINE): nobody gets it for a while
    Declined,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// the address
    pub address: IpAddr,
    /// the client's identifier: of DHCPv4 the option or its hardware address, of DHCPv6 DUID and IAID
    pub client: Vec<u8>,
    /// the client's station
    pub mac: MacAddr,
    /// what the client calls itself
    pub hostname: Option<String>,
    /// how it is held
    pub state: State,
    /// until when
    pub expires: Duration,
    /// since when
    pub began: Duration,
    /// its number: stations that were given one earlier have lower ones
    pub number: u64,
    /// since when its station has had one, in milliseconds; less than 0: since before the table was made
    pub station_since: i64,
}

/// A lease as it is kept across a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// the address
    pub address: IpAddr,
    /// the client's identifier
    pub client: Vec<u8>,
    /// the client's station
    pub mac: [u8; 6],
    /// what the client calls itself
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// seconds until it runs out
    pub remaining: u64,
    /// milliseconds that its station has had one for
    #[serde(default)]
    pub station_age: i64,
}

/// Who asks for an address.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// its identifier
    pub id: &'a [u8],
    /// its station
    pub mac: MacAddr,
}

impl Client<'_> {
    fn key(&self) -> (MacAddr, Vec<u8>) {
        (self.mac, self.id.to_vec())
    }
}

/// The table of one network and one address family.
#[derive(Debug, Clone)]
pub struct LeaseTable {
    first: u128,
    last: u128,
    ipv6: bool,
    /// never given out so far: this one and all after it
    unused: u128,
    /// given out once, and held by nobody now
    returned: BTreeSet<IpAddr>,
    reserved: BTreeMap<MacAddr, IpAddr>,
    /// of the pool, but not to be given out: reservations, and the gateway's own addresses
    excluded: BTreeSet<IpAddr>,
    leases: BTreeMap<IpAddr, Lease>,
    /// identifiers are the clients' own words (clones of a machine have the same one): they count per station only
    by_client: BTreeMap<(MacAddr, Vec<u8>), IpAddr>,
    by_station: BTreeMap<MacAddr, Vec<IpAddr>>,
    /// all leases, those first that run out first
    by_expiry: BTreeSet<(Duration, IpAddr)>,
    /// leases that may be recycled before they run out, those first that should be
    spare: BTreeSet<(State, Duration, IpAddr)>,
    generation: u64,
}

// Offers are recycled before declined addresses are.
impl PartialOrd for State {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for State {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (*self as u8).cmp(&(*other as u8))
    }
}

impl LeaseTable {
    /// A table that gives out `pool` without `own`, the gateway's addresses, and to stations of `reservations` what these say.
    pub fn new(pool: RangeInclusive<IpAddr>, own: &[IpAddr], reservations: &[Reservation]) -> Self {
        let ipv6 = pool.start().is_ipv6();
        let mut reserved = BTreeMap::new();
        let mut excluded: BTreeSet<_> = own.iter().copied().collect();
        for reservation in reservations {
            let mut addresses = reservation.addresses.iter();
            if let Some(address) = addresses.find(|address| address.is_ipv6() == ipv6) {
                reserved.insert(reservation.mac, *address);
                excluded.insert(*address);
            }
        }
        Self {
            first: bits(*pool.start()),
            last: bits(*pool.end()),
            ipv6,
            unused: bits(*pool.start()),
            returned: BTreeSet::new(),
            reserved,
            excluded,
            leases: BTreeMap::new(),
            by_client: BTreeMap::new(),
            by_station: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            spare: BTreeSet::new(),
            generation: 0,
        }
    }

    /// A number that changes whenever what [`export`](Self::export) gives does, but for the passing of time.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// All lines, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// The leases that run.
    fn running(&self, now: Duration) -> impl Iterator<Item = &Lease> {
        let leases = self.leases.values();
        leases.filter(move |lease| lease.state == State::Bound && lease.expires > now)
    }

    /// Of all stations that have a lease now, the one that was given one first, and since when it has had one.
    pub fn first(&self, now: Duration) -> Option<(i64, MacAddr)> {
        let first = self.running(now).min_by_key(|lease| lease.number)?;
        Some((first.station_since, first.mac))
    }

    /// The address that a station asked for last: what boots a machine and what runs on it afterwards may call themselves
    /// differently, and then each has a lease.
    pub fn latest_of(&self, now: Duration, mac: MacAddr) -> Option<IpAddr> {
        let own = self.running(now).filter(|lease| lease.mac == mac);
        own.max_by_key(|lease| (lease.expires, lease.number))
            .map(|lease| lease.address)
    }

    /// The station that an address is reserved for, or leased to now, and since when.
    pub fn holder(&self, now: Duration, address: IpAddr) -> Option<(MacAddr, Duration)> {
        let mut reserved = self.reserved.iter();
        if let Some((mac, _)) = reserved.find(|(_, reserved)| **reserved == address) {
            return Some((*mac, Duration::ZERO));
        }
        let lease = self.leases.get(&address)?;
        (lease.state == State::Bound && lease.expires > now).then_some((lease.mac, lease.began))
    }

    /// What the client holds, run out or not.
    pub fn of(&self, client: Client<'_>) -> Option<&Lease> {
        self.leases.get(self.by_client.get(&client.key())?)
    }

    /// Holds an address for a client that has not asked for a certain one: its reservation, the one it has, the one it would like
    /// if that is free, or any that is free. None: there is none.
    pub fn offer(
        &mut self,
        now: Duration,
        client: Client<'_>,
        wanted: Option<IpAddr>,
        until: Duration,
    ) -> Option<IpAddr> {
        let held = self.of(client).filter(|held| held.state != State::Declined);
        let held = held.map(|held| (held.address, held.state, held.expires));
        let address = match self.reserved.get(&client.mac) {
            Some(reserved) => *reserved,
            None => held
                .map(|(address, ..)| address)
                .filter(|address| self.is_allowed(*address, client.mac))
                .or_else(|| wanted.filter(|wanted| self.is_free(now, *wanted, client)))
                .or_else(|| self.any_free(now, client))?,
        };
        match held {
            // A running lease is not cut short by another DISCOVER.
            Some((same, State::Bound, expires)) if same == address && expires > now => {}
            _ => self.enter(client, address, State::Offered, None, (now, until)),
        }
        Some(address)
    }

    /// Leases this very address to the client. False: it may not have it.
    pub fn bind(
        &mut self,
        now: Duration,
        client: Client<'_>,
        address: IpAddr,
        hostname: Option<String>,
        until: Duration,
    ) -> bool {
        let due = self.reserved.get(&client.mac);
        let granted = match due {
            Some(reserved) => *reserved == address,
            None => self.is_free(now, address, client),
        };
        if granted {
            self.enter(client, address, State::Bound, hostname, (now, until));
            self.generation += 1;
        }
        granted
    }

    /// Ends what the client holds, if it is this address.
    pub fn release(&mut self, client: Client<'_>, address: IpAddr) -> bool {
        let held = self.of(client).is_some_and(|held| held.address == address);
        if held {
            self.remove(address);
            self.generation += 1;
        }
        held
    }

    /// The client found its address in use by somebody else: nobody gets it until `until`.
    pub fn decline(&mut self, client: Client<'_>, address: IpAddr, until: Duration) -> bool {
        let held = self.of(client).is_some_and(|held| held.address == address);
        if held {
            self.enter(client, address, State::Declined, None, (until, until));
            // Its client shall be offered another one.
            self.by_client.remove(&client.key());
            self.generation += 1;
        }
        held
    }

    /// Drops the offer that a client did not take up.
    pub fn withdraw(&mut self, client: Client<'_>) {
        let offered = self.of(client).filter(|held| held.state == State::Offered);
        if let Some(address) = offered.map(|held| held.address) {
            self.remove(address);
        }
    }

    /// The leases that run, to be kept.
    pub fn export(&self, now: Duration) -> Vec<LeaseRecord> {
        // Who came first is first again, and so gets the forwards that name nobody.
        let mut bound: Vec<&Lease> = self.running(now).collect();
        bound.sort_unstable_by_key(|lease| lease.number);
        let record = |lease: &Lease| LeaseRecord {
            address: lease.address,
            client: lease.client.clone(),
            mac: lease.mac.0,
            hostname: lease.hostname.clone(),
            remaining: lease.expires.saturating_sub(now).as_secs(),
            station_age: millis(now).saturating_sub(lease.station_since),
        };
        bound.into_iter().map(record).collect()
    }

    /// Takes kept leases, exported `elapsed` ago, as far as they still run and still belong into the pool.
    pub fn import(&mut self, now: Duration, records: &[LeaseRecord], elapsed: Duration) {
        for record in records {
            let remaining = Duration::from_secs(record.remaining).saturating_sub(elapsed);
            if remaining.is_zero() || record.address.is_ipv6() != self.ipv6 {
                continue;
            }
            let client = Client {
                id: &record.client,
                mac: MacAddr(record.mac),
            };
            let until = now.saturating_add(remaining);
            if self.bind(now, client, record.address, record.hostname.clone(), until)
                && let Some(lease) = self.leases.get_mut(&record.address)
            {
                let age = record.station_age.saturating_add(millis(elapsed));
                lease.station_since = millis(now).saturating_sub(age);
            }
        }
    }

    /// Whether the address may be the station's at all: its reservation, or of the pool and nobody's reservation.
    fn is_allowed(&self, address: IpAddr, mac: MacAddr) -> bool {
        if let Some(reserved) = self.reserved.get(&mac) {
            return *reserved == address;
        }
        address.is_ipv6() == self.ipv6
            && (self.first..=self.last).contains(&bits(address))
            && !self.excluded.contains(&address)
    }

    fn is_free(&self, now: Duration, address: IpAddr, client: Client<'_>) -> bool {
        let held_by_other = self.leases.get(&address).is_some_and(|lease| {
            let same = lease.mac == client.mac
                && lease.client == client.id
                && lease.state != State::Declined;
            lease.expires > now && !same
        });
        self.is_allowed(address, client.mac) && !held_by_other
    }

    fn any_free(&mut self, now: Duration, client: Client<'_>) -> Option<IpAddr> {
        let share = self.by_station.get(&client.mac);
        if share.is_some_and(|held| held.len() >= PER_STATION) {
            return self.oldest_of(client.mac);
        }
        while self.unused <= self.last {
            let candidate = self.address(self.unused);
            // The end of the address space is no pool's business.
            self.unused = self.unused.checked_add(1)?;
            if !self.excluded.contains(&candidate) && !self.leases.contains_key(&candidate) {
                return Some(candidate);
            }
        }
        if let Some(returned) = self.returned.first() {
            return Some(*returned);
        }
        // What a reservation holds is passed over: there are few of them.
        let expired = self.by_expiry.iter().take_while(|(until, _)| *until <= now);
        let expired = expired.map(|(_, address)| *address);
        let spare = self.spare.iter().map(|(_, _, address)| *address);
        let mut candidates = expired.chain(spare);
        candidates.find(|address| self.is_allowed(*address, client.mac))
    }

    /// What a station that has had its share gives up for another one.
    fn oldest_of(&self, mac: MacAddr) -> Option<IpAddr> {
        let held = self.by_station.get(&mac)?.iter();
        let leases = held.filter_map(|address| self.leases.get(address));
        let oldest = leases.min_by_key(|lease| (lease.state == State::Bound, lease.expires))?;
        Some(oldest.address)
    }

    /// Writes one line, in place of what was there for the address or the client.
    fn enter(
        &mut self,
        client: Client<'_>,
        address: IpAddr,
        state: State,
        hostname: Option<String>,
        (now, until): (Duration, Duration),
    ) {
        let renewed = self.of(client).filter(|held| {
            held.address == address && held.state == State::Bound && state == State::Bound
        });
        let began = renewed.map_or(now, |held| held.began);
        // Another one of the same station counts from its first one: that may run out meanwhile.
        let own = self.by_station.get(&client.mac).into_iter().flatten();
        let own = own.filter_map(|held| self.leases.get(held));
        let own = own.filter(|held| held.state == State::Bound && held.expires > now);
        let first = own.map(|held| (held.number, held.station_since)).min();
        let (number, station_since) = first.unwrap_or((self.generation, millis(now)));
        if let Some(old) = self.by_client.get(&client.key()).copied() {
            self.remove(old);
        }
        self.remove(address);
        let share = self.by_station.get(&client.mac).map_or(0, Vec::len);
        if share >= PER_STATION
            && let Some(oldest) = self.oldest_of(client.mac)
        {
            self.remove(oldest);
        }
        self.returned.remove(&address);
        self.by_client.insert(client.key(), address);
        self.by_station.entry(client.mac).or_default().push(address);
        self.by_expiry.insert((until, address));
        if state != State::Bound {
            self.spare.insert((state, until, address));
        }
        let lease = Lease {
            address,
            client: client.id.to_vec(),
            mac: client.mac,
            hostname,
            state,
            expires: until,
            began,
            number,
            station_since,
        };
        self.leases.insert(address, lease);
    }

    fn remove(&mut self, address: IpAddr) {
        let Some(lease) = self.leases.remove(&address) else {
            return;
        };
        let key = (lease.mac, lease.client);
        if self.by_client.get(&key) == Some(&address) {
            self.by_client.remove(&key);
        }
        if let Some(held) = self.by_station.get_mut(&lease.mac) {
            held.retain(|held| *held != address);
            if held.is_empty() {
                self.by_station.remove(&lease.mac);
            }
        }
        self.by_expiry.remove(&(lease.expires, address));
        self.spare.remove(&(lease.state, lease.expires, address));
        let in_pool = (self.first..=self.last).contains(&bits(address));
        if in_pool && !self.excluded.contains(&address) {
            self.returned.insert(address);
        }
    }

    fn address(&self, bits: u128) -> IpAddr {
        if self.ipv6 {
            Ipv6Addr::from_bits(bits).into()
        } else {
            Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into()
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
#[path = "leases_test.rs"]
mod tests;
