//! Names of guests, as the DHCP servers learn them and the DNS forwarder tells them.
//!
//! A name belongs to the station that claimed it first, for as long as one of its leases runs; a station with a reservation owns
//! the reservation's name always. So no guest can take over the name of another one, not even by way of the other address family.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::MacAddr;

/// Longest name of a host: one label (RFC 1035, 2.3.4).
pub const MAX_HOSTNAME: usize = 63;

/// Names that programs look up for what they mean: by them a guest could become everybody's proxy (VU#598349), tunnel (RFC 5214, 8.3)
/// or local host (RFC 6761, 6.3). Only a reservation gives them away.
const MEANT_OTHERWISE: [&str; 3] = ["wpad", "isatap", "localhost"];

/// A reservation: what a station is always given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// the station
    pub mac: MacAddr,
    /// its addresses, at most one of each family
    pub addresses: Vec<IpAddr>,
    /// its name
    pub hostname: Option<String>,
}

#[derive(Debug, Clone)]
struct Name {
    owner: MacAddr,
    /// reserved: never given to another station
    pinned: bool,
    addresses: Vec<(IpAddr, Duration)>,
}

impl Name {
    fn is_live(&self, now: Duration) -> bool {
        self.addresses.iter().any(|(_, until)| *until > now)
    }
}

/// Who is called what.
#[derive(Debug, Clone)]
pub struct Hosts {
    names: BTreeMap<String, Name>,
    by_address: BTreeMap<IpAddr, String>,
    capacity: usize,
}

impl Hosts {
    /// Names of at most `capacity` stations besides those of the reservations.
    pub fn new(reservations: &[Reservation], capacity: usize) -> Self {
        let mut hosts = Self {
            names: BTreeMap::new(),
            by_address: BTreeMap::new(),
            capacity: capacity.saturating_add(reservations.len()),
        };
        for reservation in reservations {
            let Some(name) = reservation.hostname.as_deref().and_then(hostname) else {
                continue;
            };
            for address in &reservation.addresses {
                hosts.by_address.insert(*address, name.clone());
            }
            // Reserved addresses are known before their guest boots: forwards by name need that.
            let addresses = reservation.addresses.iter();
            let addresses = addresses.map(|address| (*address, Duration::MAX)).collect();
            let owner = reservation.mac;
            hosts.names.insert(
                name,
                Name {
                    owner,
                    pinned: true,
                    addresses,
                },
            );
        }
        hosts
    }

    /// Enters `name` for `address`, which `mac` leases until `until`. False: it is another station's name, or there is no room.
    pub fn claim(
        &mut self,
        now: Duration,
        name: &str,
        mac: MacAddr,
        address: IpAddr,
        until: Duration,
    ) -> bool {
        let is_reserved = self.names.get(name).is_some_and(|held| held.pinned);
        if !is_reserved && MEANT_OTHERWISE.contains(&name) {
            return false;
        }
        if let Some(held) = self.names.get(name) {
            let taken = held.owner != mac && (held.pinned || held.is_live(now));
            if taken {
                return false;
            }
        } else if !self.make_room(now) {
            return false;
        }
        if self.by_address.get(&address).is_some_and(|old| old != name) {
            self.release(address);
        }
        let entry = self.names.entry(name.to_owned()).or_insert_with(|| Name {
            owner: mac,
            pinned: false,
            addresses: Vec::new(),
        });
        if entry.owner != mac {
            entry.owner = mac;
            for (old, _) in entry.addresses.drain(..) {
                self.by_address.remove(&old);
            }
        }
        let pinned = entry
            .addresses
            .iter()
            .any(|(held, until)| *held == address && *until == Duration::MAX);
        if !pinned {
            let expired = |(held, until): &(IpAddr, Duration)| *held == address || *until <= now;
            for (old, _) in entry.addresses.extract_if(.., |held| expired(held)) {
                self.by_address.remove(&old);
            }
            entry.addresses.push((address, until));
        }
        self.by_address.insert(address, name.to_owned());
        true
    }

    /// The address is no longer leased. What a reservation says of it stays.
    pub fn release(&mut self, address: IpAddr) {
        let Some(name) = self.by_address.get(&address) else {
            return;
        };
        let Some(entry) = self.names.get_mut(name) else {
            return;
        };
        let pinned =
            |(held, until): &(IpAddr, Duration)| *held == address && *until == Duration::MAX;
        if entry.pinned && entry.addresses.iter().any(pinned) {
            return;
        }
        entry.addresses.retain(|(held, _)| *held != address);
        if entry.addresses.is_empty() && !entry.pinned {
            self.names.remove(name);
        }
        self.by_address.remove(&address);
    }

    /// Addresses of a host, if there is one of that name; what it asked for last comes first.
    pub fn addresses(&self, now: Duration, name: &str) -> Option<impl Iterator<Item = IpAddr>> {
        let entry = self.names.get(name)?;
        let live = entry.addresses.iter().rev();
        let live = live.filter(move |(_, until)| *until > now);
        (entry.pinned || entry.is_live(now)).then(|| live.map(|(address, _)| *address))
    }

    /// The name of the host at `address`.
    pub fn name(&self, now: Duration, address: IpAddr) -> Option<&str> {
        let name = self.by_address.get(&address)?;
        let mut held = self.names.get(name)?.addresses.iter();
        held.any(|(held, until)| *held == address && *until > now)
            .then_some(name.as_str())
    }

    fn make_room(&mut self, now: Duration) -> bool {
        if self.names.len() < self.capacity {
            return true;
        }
        let dead: Vec<String> = self
            .names
            .iter()
            .filter(|(_, name)| !name.pinned && !name.is_live(now))
            .map(|(text, _)| text.clone())
            .collect();
        for text in dead {
            for (address, _) in self
                .names
                .remove(&text)
                .into_iter()
                .flat_map(|n| n.addresses)
            {
                self.by_address.remove(&address);
            }
        }
        self.names.len() < self.capacity
    }
}

/// What a guest calls itself, as a host name in lower case: the first label, if it is of letters, digits and hyphens (RFC 952).
pub fn hostname(text: &str) -> Option<String> {
    let label = text.split('.').next()?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let well_formed = (1..=MAX_HOSTNAME).contains(&label.len())
        && label.bytes().all(legal)
        && !label.starts_with('-')
        && !label.ends_with('-');
    well_formed.then(|| label.to_ascii_lowercase())
}

#[cfg(test)]
#[path = "hosts_test.rs"]
mod tests;
