//! Answers that are still good, bounded in number and in octets.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::message::{Answer, Query, Question};

/// Bounds of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// answers
    pub entries: usize,
    /// octets of all answers together
    pub bytes: usize,
    /// however long an answer says that it is good
    pub max_ttl: Duration,
    /// the same for what is not there
    pub max_negative_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 4096,
            bytes: 1 << 20,
            max_ttl: Duration::from_hours(24),
            max_negative_ttl: Duration::from_mins(15),
        }
    }
}

/// Queries that differ in these have different answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    question: Question,
    dnssec_ok: bool,
    checking_disabled: bool,
}

impl Key {
    fn new(query: &Query) -> Self {
        Self {
            question: query.question.clone(),
            dnssec_ok: query.dnssec_ok,
            checking_disabled: query.header.flags & super::spec::flag::CD != 0,
        }
    }
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    since: Duration,
    until: Duration,
    used: u64,
}

/// The cache of one network.
#[derive(Debug)]
pub(crate) struct Cache {
    limits: Limits,
    entries: BTreeMap<Key, Entry>,
    /// by last use
    order: BTreeSet<(u64, Key)>,
    bytes: usize,
    uses: u64,
}

impl Cache {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            order: BTreeSet::new(),
            bytes: 0,
            uses: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The kept answer, as one to this query.
    pub(crate) fn get(&mut self, now: Duration, query: &Query) -> Option<Vec<u8>> {
        let key = Key::new(query);
        let entry = self.entries.get_mut(&key)?;
        if entry.until <= now {
            self.remove(&key);
            return None;
        }
        self.uses += 1;
        let used = std::mem::replace(&mut entry.used, self.uses);
        let answer = entry.answer.to(query, now.saturating_sub(entry.since));
        self.order.remove(&(used, key.clone()));
        self.order.insert((self.uses, key));
        Some(answer)
    }

    /// Keeps an answer for as long as it says, within the limits.
    pub(crate) fn insert(&mut self, now: Duration, query: &Query, answer: Answer) {
        let Some(lifetime) = answer.lifetime() else {
            return;
        };
        let limit = if answer.header.counts[1] == 0 {
            self.limits.max_negative_ttl
        } else {
            self.limits.max_ttl
        };
        let lifetime = lifetime.min(limit);
        let size = answer.len();
        if lifetime.is_zero() || size > self.limits.bytes || self.limits.entries == 0 {
            return;
        }
        let key = Key::new(query);
        self.remove(&key);
        while self.entries.len() >= self.limits.entries || self.bytes + size > self.limits.bytes {
            let Some((_, oldest)) = self.order.first().cloned() else {
                return;
            };
            self.remove(&oldest);
        }
        self.uses += 1;
        self.bytes += size;
        self.order.insert((self.uses, key.clone()));
        let entry = Entry {
            answer,
            since: now,
            until: now.saturating_add(lifetime),
            used: self.uses,
        };
        self.entries.insert(key, entry);
    }

    /// Forgets everything: the upstreams are others now.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
        self.bytes = 0;
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.answer.len();
            self.order.remove(&(entry.used, key.clone()));
        }
    }
}

#[cfg(test)]
#[path = "cache_test.rs"]
mod tests;
