//! The forwarding database: which port an address is behind (IEEE 802.1Q, 8.8).
//!
//! Keys come from guests and from the wire, so the hash is seeded at random, and every port has a
//! share of learned entries that it cannot exceed. An entry that is past its age is treated as
//! absent wherever it is met; a bounded sweep, a few buckets at a time, returns its room to its
//! port.
use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::mac::Key;
use crate::{MacAddr, PortId};

/// Buckets visited by one step of the sweep.
const SWEEP_BUCKETS: usize = 64;
/// The sweep goes round this many times in one ageing time.
const SWEEPS_PER_AGEING: u32 = 4;

/// Where an entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// [`PortConfig::mac`](crate::PortConfig::mac)
    Fixed,
    /// [`Switch::add_static`](crate::Switch::add_static)
    Static,
    /// a frame's source address
    Learned,
}

/// One line of the table, for status output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdbEntry {
    /// address
    pub mac: MacAddr,
    /// VLAN that it was learned in; 0: none, or fixed or static, and so in all
    pub vlan: u16,
    /// the port it is behind
    pub port: PortId,
    /// fixed, static or learned
    pub kind: EntryKind,
    /// time since it was last a source; zero unless learned
    pub age: Duration,
}

/// A bucket where a key was last found. It may be stale: the key is compared before it is believed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hint(usize);

/// What became of a source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learning {
    /// new, or seen again where it was
    Known,
    /// taken over from another port
    Moved,
    /// the port has its share: not learned
    Full,
    /// fixed or static on another port: not learned
    Pinned,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Key,
    seen: Duration,
    port: PortId,
    kind: EntryKind,
}

impl Entry {
    #[inline]
    fn is_expired(&self, now: Duration, ageing: Duration) -> bool {
        self.kind == EntryKind::Learned && now.saturating_sub(self.seen) >= ageing
    }
}

/// The table of one switch.
#[derive(Debug)]
pub(crate) struct Fdb {
    table: HashTable<Entry>,
    hasher: RandomState,
    ageing: Duration,
    capacity_per_port: usize,
    /// learned entries by port, expired ones included until they are swept
    learned: Vec<usize>,
    sweep_bucket: usize,
    next_sweep: Duration,
}

impl Fdb {
    pub(crate) fn new(ageing: Duration, capacity_per_port: usize) -> Self {
        Self {
            table: HashTable::new(),
            hasher: RandomState::default(),
            ageing,
            capacity_per_port,
            learned: Vec::new(),
            sweep_bucket: 0,
            next_sweep: Duration::ZERO,
        }
    }

    /// Makes room for the port's counter.
    pub(crate) fn add_port(&mut self, port: PortId) {
        let needed = usize::from(port.0) + 1;
        if self.learned.len() < needed {
            self.learned.resize(needed, 0);
        }
    }

    /// Forgets all that is behind the port.
    pub(crate) fn flush(&mut self, port: PortId) {
        self.table.retain(|entry| entry.port != port);
        if let Some(learned) = self.learned.get_mut(usize::from(port.0)) {
            *learned = 0;
        }
    }

    /// The port that has the address fixed or static.
    pub(crate) fn pinned(&self, key: Key) -> Option<PortId> {
        let entry = self.table.find(self.hash(key), |entry| entry.key == key)?;
        (entry.kind != EntryKind::Learned).then_some(entry.port)
    }

    /// Enters an address that neither ages nor moves; a learned entry gives way.
    pub(crate) fn pin(&mut self, key: Key, port: PortId, kind: EntryKind) {
        let pinned = Entry {
            key,
            seen: Duration::ZERO,
            port,
            kind,
        };
        let hash = self.hash(key);
        if let Some(entry) = self.table.find_mut(hash, |entry| entry.key == key) {
            let old = std::mem::replace(entry, pinned);
            if old.kind == EntryKind::Learned {
                self.release(old.port);
            }
        } else {
            self.insert(hash, pinned);
        }
    }

    /// The port that has the address fixed or static, if it is asked for in a VLAN: such addresses are entered once for all.
    #[inline]
    fn pinned_in_vlan(&self, key: Key) -> Option<PortId> {
        if key.vlan() == 0 {
            return None;
        }
        self.pinned(key.plain())
    }

    /// The port that the address is behind.
    #[inline]
    pub(crate) fn lookup(&self, key: Key, now: Duration, hint: &mut Hint) -> Option<PortId> {
        if let Some(owner) = self.pinned_in_vlan(key) {
            return Some(owner);
        }
        let entry = self.table.get_bucket(self.find(key, hint)?)?;
        (!entry.is_expired(now, self.ageing)).then_some(entry.port)
    }

    /// Notes that the address was a source at the port.
    #[inline]
    pub(crate) fn learn(
        &mut self,
        key: Key,
        port: PortId,
        now: Duration,
        hint: &mut Hint,
    ) -> Learning {
        match self.pinned_in_vlan(key) {
            Some(owner) if owner == port => return Learning::Known,
            Some(_) => return Learning::Pinned,
            None => {}
        }
        let found = self.find(key, hint);
        match found.and_then(|bucket| self.table.get_bucket_mut(bucket)) {
            Some(entry) if entry.port == port => {
                entry.seen = now;
                Learning::Known
            }
            Some(entry) if entry.kind != EntryKind::Learned => Learning::Pinned,
            _ => self.learn_anew(key, port, now),
        }
    }

    /// One bounded step of the sweep, if it is due.
    #[inline]
    pub(crate) fn sweep(&mut self, now: Duration) {
        if now >= self.next_sweep {
            self.sweep_step(now);
        }
    }

    /// Entries that are not past their age, in no order.
    pub(crate) fn entries(&self, now: Duration) -> impl Iterator<Item = FdbEntry> + '_ {
        self.table
            .iter()
            .filter(move |entry| !entry.is_expired(now, self.ageing))
            .map(move |entry| {
                let learned = entry.kind == EntryKind::Learned;
                FdbEntry {
                    mac: entry.key.mac(),
                    vlan: entry.key.vlan(),
                    port: entry.port,
                    kind: entry.kind,
                    age: if learned {
                        now.saturating_sub(entry.seen)
                    } else {
                        Duration::ZERO
                    },
                }
            })
    }

    #[inline]
    fn find(&self, key: Key, hint: &mut Hint) -> Option<usize> {
        if self
            .table
            .get_bucket(hint.0)
            .is_some_and(|entry| entry.key == key)
        {
            return Some(hint.0);
        }
        let bucket = self
            .table
            .find_bucket_index(self.hash(key), |entry| entry.key == key)?;
        *hint = Hint(bucket);
        Some(bucket)
    }

    #[cold]
    fn learn_anew(&mut self, key: Key, port: PortId, now: Duration) -> Learning {
        if !self.reserve(port) {
            return Learning::Full;
        }
        let hash = self.hash(key);
        let Some(entry) = self.table.find_mut(hash, |entry| entry.key == key) else {
            self.insert(
                hash,
                Entry {
                    key,
                    seen: now,
                    port,
                    kind: EntryKind::Learned,
                },
            );
            return Learning::Known;
        };
        let moved = !entry.is_expired(now, self.ageing);
        let old = std::mem::replace(&mut entry.port, port);
        entry.seen = now;
        self.release(old);
        if moved {
            Learning::Moved
        } else {
            Learning::Known
        }
    }

    /// Takes one learned entry from the port's share; false: none left.
    fn reserve(&mut self, port: PortId) -> bool {
        let capacity = self.capacity_per_port;
        match self.learned.get_mut(usize::from(port.0)) {
            Some(learned) if *learned < capacity => {
                *learned += 1;
                true
            }
            _ => false,
        }
    }

    fn release(&mut self, port: PortId) {
        if let Some(learned) = self.learned.get_mut(usize::from(port.0)) {
            *learned = learned.saturating_sub(1);
        }
    }

    fn insert(&mut self, hash: u64, entry: Entry) {
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, entry, |entry| hasher.hash_one(entry.key));
    }

    #[inline]
    fn hash(&self, key: Key) -> u64 {
        self.hasher.hash_one(key)
    }

    #[cold]
    fn sweep_step(&mut self, now: Duration) {
        let buckets = self.table.num_buckets();
        for _ in 0..SWEEP_BUCKETS.min(buckets) {
            let bucket = self.sweep_bucket;
            self.sweep_bucket = if bucket + 1 < buckets { bucket + 1 } else { 0 };
            let Ok(entry) = self.table.get_bucket_entry(bucket) else {
                continue;
            };
            if entry.get().is_expired(now, self.ageing) {
                let (entry, _) = entry.remove();
                self.release(entry.port);
            }
        }
        let steps = u32::try_from(buckets / SWEEP_BUCKETS + 1).unwrap_or(u32::MAX);
        let pause = self.ageing / steps.saturating_mul(SWEEPS_PER_AGEING);
        self.next_sweep = now.saturating_add(pause);
    }
}

#[cfg(test)]
#[path = "fdb_test.rs"]
mod tests;
