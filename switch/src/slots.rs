//! The table under the forwarding database: addresses by hash, read without a lock while another thread changes it.
//!
//! An address lies in one of two buckets that its hash names, each a cache line of four slots: a look-up touches one line
//! nearly always, two at most, whatever the size of the table. Readers need nothing but loads. Whoever adds or removes
//! holds the lock of the database ([`super::fdb`]); only [`Slot::replace`] does without.
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use crate::PortId;
use crate::fdb::EntryKind;
use crate::mac::Key;

/// Slots of a bucket: 16 bytes each, a cache line in all.
const BUCKET: usize = 4;
/// Buckets of a new table.
const FIRST_BUCKETS: usize = 16;
/// A table that has no slot for an address, though less than one in this many is used, does not grow: it would be of no use.
const SPARSE: usize = 8;

/// What is known of an address: port, kind and when it was last a source, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value(u64);

impl Value {
    const VACANT: Self = Self(0);
    const SEEN_BITS: u32 = 46;
    /// The latest moment that a value can tell: 2200 years of milliseconds.
    pub(crate) const LATEST: u64 = (1 << Self::SEEN_BITS) - 1;

    #[inline]
    pub(crate) fn new(port: PortId, kind: EntryKind, seen: u64) -> Self {
        let kind = match kind {
            EntryKind::Fixed => 1,
            EntryKind::Static => 2,
            EntryKind::Learned => 3,
        };
        Self(u64::from(port.0) << 48 | kind << Self::SEEN_BITS | seen.min(Self::LATEST))
    }

    #[inline]
    pub(crate) fn port(self) -> PortId {
        let [high, low, ..] = self.0.to_be_bytes();
        PortId(u16::from_be_bytes([high, low]))
    }

    #[inline]
    pub(crate) fn kind(self) -> EntryKind {
        match self.0 >> Self::SEEN_BITS & 3 {
            1 => EntryKind::Fixed,
            2 => EntryKind::Static,
            _ => EntryKind::Learned,
        }
    }

    /// When it was last a source, in milliseconds.
    #[inline]
    pub(crate) fn seen(self) -> u64 {
        self.0 & Self::LATEST
    }
}

/// Room for one address.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// 0: vacant; no station has that address.
    key: AtomicU64,
    value: AtomicU64,
}

impl Slot {
    /// The value, if this is the slot of `key`.
    #[inline]
    pub(crate) fn read(&self, key: Key) -> Option<Value> {
        if self.key.load(Ordering::Acquire) != key.0 {
            return None;
        }
        self.value_of(key)
    }

    /// The value, if this was the slot of `key` a moment ago (by an acquiring load) and is still.
    #[inline]
    fn value_of(&self, key: Key) -> Option<Value> {
        let value = Value(self.value.load(Ordering::Acquire));
        // The slot may have changed hands between the two loads; then its key is another by now (see `fill` and `clear`).
        let still = self.key.load(Ordering::Relaxed) == key.0;
        (still && value != Value::VACANT).then_some(value)
    }

    /// Replaces `old`, unless somebody was faster. Needs no lock.
    #[inline]
    pub(crate) fn replace(&self, old: Value, new: Value) {
        // Whoever was faster has seen the same address at the same time, or removes it.
        let _ = self
            .value
            .compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Sets the value of the key that is here.
    pub(crate) fn set(&self, value: Value) {
        self.value.store(value.0, Ordering::Release);
    }

    /// The address here with its value.
    pub(crate) fn entry(&self) -> Option<(Key, Value)> {
        let key = Key(self.key.load(Ordering::Acquire));
        if key.0 == 0 {
            return None;
        }
        self.read(key).map(|value| (key, value))
    }

    fn is_vacant(&self) -> bool {
        self.key.load(Ordering::Relaxed) == 0
    }

    /// The key last: whoever sees it sees the value, too.
    fn fill(&self, key: Key, value: Value) {
        self.value.store(value.0, Ordering::Release);
        self.key.store(key.0, Ordering::Release);
    }

    /// The key first: whoever sees a value of the slot's next owner sees that the key is gone.
    pub(crate) fn clear(&self) {
        self.key.store(0, Ordering::Relaxed);
        self.value.store(Value::VACANT.0, Ordering::Release);
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket([Slot; BUCKET]);

/// Index of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place(usize);

#[cfg(test)]
impl Place {
    /// A place that no table has.
    pub(crate) const BEYOND: Self = Self(usize::MAX);
}

/// The table. It never grows in place: see [`Slots::grown`].
#[derive(Debug)]
pub(crate) struct Slots {
    /// A power of two of them.
    buckets: Box<[Bucket]>,
    hasher: RandomState,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self::with_buckets(FIRST_BUCKETS, RandomState::default())
    }

    fn with_buckets(count: usize, hasher: RandomState) -> Self {
        Self {
            buckets: (0..count).map(|_| Bucket::default()).collect(),
            hasher,
        }
    }

    /// Slots in all.
    pub(crate) fn len(&self) -> usize {
        self.buckets.len() * BUCKET
    }

    #[inline]
    pub(crate) fn get(&self, place: Place) -> Option<&Slot> {
        let bucket = self.buckets.get(place.0 / BUCKET)?;
        bucket.0.get(place.0 % BUCKET)
    }

    /// The slot at an index below [`len`](Self::len).
    pub(crate) fn at(&self, index: usize) -> Option<&Slot> {
        self.get(Place(index))
    }

    /// Where the address is, and its value.
    #[expect(
        clippy::inline_always,
        reason = "by itself it returns three words through memory, with every frame"
    )]
    #[inline(always)]
    pub(crate) fn find(&self, key: Key) -> Option<(Place, Value)> {
        let (first, second) = self.buckets_of(key);
        self.find_in(first, key)
            .or_else(|| self.find_in(second, key))
    }

    /// The value of the address.
    #[inline]
    pub(crate) fn value(&self, key: Key) -> Option<Value> {
        self.find(key).map(|(_, value)| value)
    }

    /// Which slot it is does not steer a branch: that differs from frame to frame, and each guess that is wrong would wait for
    /// the line to come. All keys are loaded first, so that each is compared by a conditional move and nothing else.
    #[expect(clippy::inline_always, reason = "see `find`")]
    #[inline(always)]
    fn find_in(&self, bucket: usize, key: Key) -> Option<(Place, Value)> {
        let Bucket(slots) = self.buckets.get(bucket)?;
        let keys = slots
            .each_ref()
            .map(|slot| slot.key.load(Ordering::Acquire));
        let matching = (0..).zip(keys).fold(
            BUCKET,
            |found, (index, found_key)| {
                if found_key == key.0 { index } else { found }
            },
        );
        let value = slots.get(matching)?.value_of(key)?;
        Some((Place(bucket * BUCKET + matching), value))
    }

    /// Enters an address that is not there; false: there is no slot for it. Takes the lock of the database.
    pub(crate) fn insert(&self, key: Key, value: Value) -> bool {
        let slot = self.vacancy(key).or_else(|| self.make_room(key));
        if let Some(slot) = slot {
            slot.fill(key, value);
        }
        slot.is_some()
    }

    /// A vacant slot in one of the buckets of an address, the first if it can be.
    fn vacancy(&self, key: Key) -> Option<&Slot> {
        let mut slots = self.slots_of(key);
        slots.find(|slot| slot.is_vacant())
    }

    /// Moves an address that is in the way into its other bucket.
    fn make_room(&self, key: Key) -> Option<&Slot> {
        self.slots_of(key).find(|slot| {
            let Some((other, value)) = slot.entry() else {
                return true;
            };
            let Some(vacancy) = self.vacancy(other) else {
                return false;
            };
            // For a moment it is in both places. A reader may miss it all the same, if it looks at one too early and at the
            // other too late: then one frame is flooded.
            vacancy.fill(other, value);
            slot.clear();
            true
        })
    }

    /// The slots in which an address may be.
    fn slots_of(&self, key: Key) -> impl Iterator<Item = &Slot> + '_ {
        let (first, second) = self.buckets_of(key);
        let buckets = [first, second].into_iter();
        buckets
            .filter_map(|bucket| self.buckets.get(bucket))
            .flat_map(|bucket| &bucket.0)
    }

    /// A larger table with the same entries, `used` of them; `None`: growing would not help. Takes the lock of the database.
    pub(crate) fn grown(&self, used: usize) -> Option<Self> {
        let mut count = self.buckets.len();
        while used >= count * BUCKET / SPARSE {
            count = count.checked_mul(2)?;
            let larger = Self::with_buckets(count, self.hasher.clone());
            let mut entries = self.entries();
            if entries.all(|(key, value)| larger.insert(key, value)) {
                return Some(larger);
            }
        }
        None
    }

    /// All addresses with their values.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Key, Value)> + '_ {
        self.slots().filter_map(Slot::entry)
    }

    /// All slots.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> + '_ {
        self.buckets.iter().flat_map(|bucket| &bucket.0)
    }

    /// The two buckets of an address; never the same.
    #[inline]
    fn buckets_of(&self, key: Key) -> (usize, usize) {
        let mask = self.buckets.len() - 1;
        let hash = self.hasher.hash_one(key.0);
        // More buckets than half of the hash can name are not to be had.
        let index = |hash: u64| usize::try_from(hash).unwrap_or(usize::MAX) & mask;
        let (first, second) = (index(hash), index(hash >> 32));
        (first, if first == second { second ^ 1 } else { second })
    }
}

#[cfg(test)]
#[path = "slots_test.rs"]
mod tests;
