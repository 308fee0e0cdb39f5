//! The forwarding database: which port an address is behind (IEEE 802.1Q, 8.8).
//!
//! Keys come from guests and from the wire, so the hash is seeded at random, and every port has a
//! share of learned entries that it cannot exceed. An entry that is past its age is treated as
//! absent wherever it is met; a bounded sweep, a few slots at a time, returns its room to its
//! port.
//!
//! Several switches may share one database, each on a thread of its own ([`Fdb::share`]). Look-ups, and sources that are where
//! they were, take no lock. New and moved addresses take one, so does what the control path does.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::mac::Key;
use crate::slots::{Place, Slot, Slots, Value};
use crate::{MacAddr, PortId};

/// Slots visited by one step of the sweep.
const SWEEP_SLOTS: usize = 64;
/// The sweep goes round this many times in one ageing time.
const SWEEPS_PER_AGEING: u64 = 4;
/// An entry is refreshed when this part of its life has passed, not with every frame: its cache line is shared by all workers.
const REFRESHES_PER_AGEING: u64 = 256;

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

/// A slot where a key was last found. It may be stale: the key is compared before it is believed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hint(Place);

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

/// What the switches of one network share.
#[derive(Debug)]
struct Shared {
    ageing: u64,
    capacity_per_port: usize,
    /// Counts the tables that there were.
    generation: AtomicU64,
    /// When the next step of the sweep is due, in milliseconds.
    next_sweep: AtomicU64,
    /// Held by whoever adds, moves or removes entries.
    book: Mutex<Book>,
}

/// The table as its writers see it.
#[derive(Debug)]
struct Book {
    slots: Arc<Slots>,
    /// entries in all
    used: usize,
    /// learned entries by port, expired ones included until they are swept
    learned: Vec<usize>,
    sweep_at: usize,
}

/// The database as one switch sees it.
#[derive(Debug)]
pub(crate) struct Fdb {
    shared: Arc<Shared>,
    /// The table of this generation.
    slots: Arc<Slots>,
    generation: u64,
    ageing: u64,
    /// A moment, and the same in milliseconds: it is asked for with every frame, and changes with every round.
    moment: (Duration, u64),
}

impl Fdb {
    pub(crate) fn new(ageing: Duration, capacity_per_port: usize) -> Self {
        let slots = Arc::new(Slots::new());
        let ageing = millis(ageing);
        Self {
            shared: Arc::new(Shared {
                ageing,
                capacity_per_port,
                generation: AtomicU64::new(0),
                next_sweep: AtomicU64::new(0),
                book: Mutex::new(Book {
                    slots: Arc::clone(&slots),
                    used: 0,
                    learned: Vec::new(),
                    sweep_at: 0,
                }),
            }),
            slots,
            generation: 0,
            ageing,
            moment: (Duration::ZERO, 0),
        }
    }

    /// The same database for another switch.
    pub(crate) fn share(&self) -> Self {
        let mut other = Self {
            shared: Arc::clone(&self.shared),
            slots: Arc::clone(&self.slots),
            generation: self.generation,
            ageing: self.ageing,
            moment: self.moment,
        };
        other.follow();
        other
    }

    /// Makes room for the port's counter.
    pub(crate) fn add_port(&mut self, port: PortId) {
        let needed = usize::from(port.0) + 1;
        let mut book = self.shared.lock();
        if book.learned.len() < needed {
            book.learned.resize(needed, 0);
        }
    }

    /// Forgets all that is behind the port.
    pub(crate) fn flush(&mut self, port: PortId) {
        let mut book = self.shared.lock();
        let mut removed = 0;
        let of_port = |slot: &&Slot| slot.entry().is_some_and(|(_, value)| value.port() == port);
        for slot in book.slots.slots().filter(of_port) {
            slot.clear();
            removed += 1;
        }
        book.used = book.used.saturating_sub(removed);
        if let Some(learned) = book.learned.get_mut(usize::from(port.0)) {
            *learned = 0;
        }
    }

    /// The port that has the address fixed or static.
    pub(crate) fn pinned(&self, key: Key) -> Option<PortId> {
        pinned(&self.shared.lock().slots, key)
    }

    /// Enters an address that neither ages nor moves; a learned entry gives way.
    pub(crate) fn pin(&mut self, key: Key, port: PortId, kind: EntryKind) {
        let pinned = Value::new(port, kind, 0);
        let mut book = self.shared.lock();
        if let Some((place, old)) = book.slots.find(key) {
            if let Some(slot) = book.slots.get(place) {
                slot.set(pinned);
            }
            if old.kind() == EntryKind::Learned {
                book.release(old.port());
            }
        } else {
            self.shared.insert(&mut book, key, pinned);
        }
        drop(book);
        self.follow();
    }

    /// Makes an address the port's fixed one, and the only one. One that is bound to it anyway stays so: it is there still when the
    /// next takes its place.
    pub(crate) fn refix(&mut self, key: Key, port: PortId) {
        let found = self.shared.lock().slots.find(key);
        if found.is_none_or(|(_, value)| value.kind() != EntryKind::Static) {
            self.pin(key, port, EntryKind::Fixed);
        }
        let mut book = self.shared.lock();
        let is_old = |slot: &&Slot| {
            slot.entry().is_some_and(|(found, value)| {
                found != key && value.port() == port && value.kind() == EntryKind::Fixed
            })
        };
        let mut removed = 0;
        for slot in book.slots.slots().filter(is_old) {
            slot.clear();
            removed += 1;
        }
        book.used = book.used.saturating_sub(removed);
    }

    /// The port that has the address fixed or static, if it is asked for in a VLAN: such addresses are entered once for all.
    #[inline]
    fn pinned_in_vlan(&self, key: Key) -> Option<PortId> {
        if key.vlan() == 0 {
            return None;
        }
        pinned(&self.slots, key.plain())
    }

    /// The port that the address is behind.
    #[inline]
    pub(crate) fn lookup(&mut self, key: Key, now: Duration, hint: &mut Hint) -> Option<PortId> {
        if let Some(owner) = self.pinned_in_vlan(key) {
            return Some(owner);
        }
        let now = self.millis(now);
        let (_, value) = self.find(key, hint)?;
        (!is_expired(value, now, self.ageing)).then(|| value.port())
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
        let now = self.millis(now);
        match self.find(key, hint) {
            Some((place, value)) if value.port() == port => {
                self.refresh(place, value, now);
                Learning::Known
            }
            Some((_, value)) if value.kind() != EntryKind::Learned => Learning::Pinned,
            _ => self.learn_anew(key, port, now),
        }
    }

    /// Notes that a learned entry was seen again, if that was not noted lately.
    #[inline]
    fn refresh(&self, place: Place, value: Value, now: u64) {
        if self.is_refresh_due(value, now)
            && let Some(slot) = self.slots.get(place)
        {
            slot.replace(value, Value::new(value.port(), EntryKind::Learned, now));
        }
    }

    /// To be called before frames are decided on: takes over a table that has grown, does one bounded step of the sweep if it is
    /// due.
    #[inline]
    pub(crate) fn sweep(&mut self, now: Duration) {
        if now != self.moment.0 {
            self.begin_moment(now);
        }
    }

    fn begin_moment(&mut self, now: Duration) {
        if self.shared.generation.load(Ordering::Acquire) != self.generation {
            self.follow();
        }
        let now = self.millis(now);
        if now >= self.shared.next_sweep.load(Ordering::Relaxed) {
            self.shared.sweep_step(now);
        }
    }

    /// Whether the address is behind the port, and that was noted lately: nothing needs to be learned. As of the moment of the last
    /// [`sweep`](Self::sweep); not for addresses in a VLAN.
    #[inline]
    pub(crate) fn is_settled(&self, key: Key, port: PortId) -> bool {
        self.slots
            .value(key)
            .is_some_and(|value| value.port() == port && !self.is_refresh_due(value, self.moment.1))
    }

    /// The port that the address is behind. As of the moment of the last [`sweep`](Self::sweep); not for addresses in a VLAN.
    #[inline]
    pub(crate) fn owner(&self, key: Key) -> Option<PortId> {
        let value = self.slots.value(key)?;
        (!is_expired(value, self.moment.1, self.ageing)).then(|| value.port())
    }

    #[inline]
    fn is_refresh_due(&self, value: Value, now: u64) -> bool {
        let since = now.saturating_sub(value.seen());
        since > self.ageing / REFRESHES_PER_AGEING && value.kind() == EntryKind::Learned
    }

    /// Entries that are not past their age, in no order.
    pub(crate) fn entries(&self, now: Duration) -> impl Iterator<Item = FdbEntry> + '_ {
        let now = millis(now);
        let entries = self.slots.entries();
        let current = entries.filter(move |(_, value)| !is_expired(*value, now, self.ageing));
        current.map(move |(key, value)| {
            let learned = value.kind() == EntryKind::Learned;
            let age = now.saturating_sub(value.seen());
            FdbEntry {
                mac: key.mac(),
                vlan: key.vlan(),
                port: value.port(),
                kind: value.kind(),
                age: Duration::from_millis(if learned { age } else { 0 }),
            }
        })
    }

    #[inline]
    fn millis(&mut self, now: Duration) -> u64 {
        if self.moment.0 != now {
            self.moment = (now, millis(now));
        }
        self.moment.1
    }

    #[inline]
    fn find(&self, key: Key, hint: &mut Hint) -> Option<(Place, Value)> {
        if let Some(value) = self.slots.get(hint.0).and_then(|slot| slot.read(key)) {
            return Some((hint.0, value));
        }
        let (place, value) = self.slots.find(key)?;
        *hint = Hint(place);
        Some((place, value))
    }

    /// Takes over the table that the others have by now.
    #[cold]
    fn follow(&mut self) {
        let book = self.shared.lock();
        self.generation = self.shared.generation.load(Ordering::Relaxed);
        self.slots = Arc::clone(&book.slots);
    }

    #[cold]
    fn learn_anew(&mut self, key: Key, port: PortId, now: u64) -> Learning {
        let learning = self.shared.learn(key, port, now);
        self.follow();
        learning
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns an address that is new, or behind another port.
    fn learn(&self, key: Key, port: PortId, now: u64) -> Learning {
        let mut book = self.lock();
        let new = Value::new(port, EntryKind::Learned, now);
        // Another switch may have been here meanwhile.
        let old = book.slots.find(key);
        match old {
            Some((_, value)) if value.port() == port => return Learning::Known,
            Some((_, value)) if value.kind() != EntryKind::Learned => return Learning::Pinned,
            _ => {}
        }
        if !book.reserve(port, self.capacity_per_port) {
            return Learning::Full;
        }
        let Some((place, value)) = old else {
            if self.insert(&mut book, key, new) {
                return Learning::Known;
            }
            book.release(port);
            return Learning::Full;
        };
        if let Some(slot) = book.slots.get(place) {
            slot.set(new);
        }
        book.release(value.port());
        if is_expired(value, now, self.ageing) {
            Learning::Known
        } else {
            Learning::Moved
        }
    }

    /// Enters an address that is not there; the table grows if it must. False: there is no room.
    fn insert(&self, book: &mut Book, key: Key, value: Value) -> bool {
        while !book.slots.insert(key, value) {
            let Some(larger) = book.slots.grown(book.used) else {
                return false;
            };
            book.slots = Arc::new(larger);
            // Whoever sees it takes the lock before it takes the table.
            self.generation.fetch_add(1, Ordering::Release);
        }
        book.used += 1;
        true
    }

    #[cold]
    fn sweep_step(&self, now: u64) {
        let mut book = self.lock();
        if now < self.next_sweep.load(Ordering::Relaxed) {
            return;
        }
        let slots = Arc::clone(&book.slots);
        for _ in 0..SWEEP_SLOTS.min(slots.len()) {
            let at = book.sweep_at;
            book.sweep_at = if at + 1 < slots.len() { at + 1 } else { 0 };
            let Some(slot) = slots.at(at) else { continue };
            if let Some((_, value)) = slot.entry()
                && is_expired(value, now, self.ageing)
            {
                slot.clear();
                book.used = book.used.saturating_sub(1);
                book.release(value.port());
            }
        }
        let steps = u64::try_from(slots.len() / SWEEP_SLOTS + 1).unwrap_or(u64::MAX);
        let pause = self.ageing / steps.saturating_mul(SWEEPS_PER_AGEING);
        let next = now.saturating_add(pause);
        self.next_sweep.store(next, Ordering::Relaxed);
    }
}

impl Book {
    /// Takes one learned entry from the port's share; false: none left.
    fn reserve(&mut self, port: PortId, capacity: usize) -> bool {
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
}

fn pinned(slots: &Slots, key: Key) -> Option<PortId> {
    let (_, value) = slots.find(key)?;
    (value.kind() != EntryKind::Learned).then(|| value.port())
}

#[inline]
fn is_expired(value: Value, now: u64, ageing: u64) -> bool {
    value.kind() == EntryKind::Learned && now.saturating_sub(value.seen()) >= ageing
}

/// A time in milliseconds, as entries keep it.
fn millis(time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    millis.min(Value::LATEST)
}

#[cfg(test)]
#[path = "fdb_test.rs"]
mod tests;
