//! A hierarchical timing wheel: one deadline per index, constant cost however many there are (Varghese and Lauck, 1987).
//!
//! A deadline that moves later is left where it is: it expires early, its owner finds nothing due and sets it again. So a flow
//! that moves its timeout with every packet touches the wheel a few times per second.
#![allow(
    clippy::cast_possible_truncation,
    reason = "levels, slots and digits are small"
)]

use std::time::Duration;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 64⁴ ticks are 18 hours; what is later waits at the end of the wheel, expires early and is set again.
const LEVELS: usize = 4;
const TICK: Duration = Duration::from_millis(4);
/// Less than a whole turn of the last level, so that its digit is never that of now.
const MAX_AHEAD: u64 = (SLOTS as u64 - 1) << (SLOT_BITS * (LEVELS as u32 - 1));
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Node {
    previous: u32,
    next: u32,
    /// slot of all levels, or `NONE`: not set
    slot: u32,
    deadline: u64,
}

const UNSET: Node = Node {
    previous: NONE,
    next: NONE,
    slot: NONE,
    deadline: 0,
};

/// Deadlines of small indices.
#[derive(Debug)]
pub(crate) struct Timers {
    nodes: Vec<Node>,
    heads: [u32; SLOTS * LEVELS],
    occupied: [u64; LEVELS],
    /// all ticks before this one have expired
    elapsed: u64,
    /// a list of its own: those that have expired and were not taken yet
    expired: u32,
}

/// The slot of `nodes` whose list is `Timers::expired`.
const EXPIRED: u32 = NONE - 1;

fn tick_before(time: Duration) -> u64 {
    ticks(time.as_nanos() / TICK.as_nanos())
}

fn tick_after(time: Duration) -> u64 {
    ticks(time.as_nanos().div_ceil(TICK.as_nanos()))
}

/// `Duration::MAX`, which is never, has more of them than 64 bits count.
fn ticks(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            heads: [NONE; SLOTS * LEVELS],
            occupied: [0; LEVELS],
            elapsed: 0,
            expired: NONE,
        }
    }

    /// Wants `index` to expire at `deadline`, or earlier.
    pub(crate) fn arm(&mut self, index: u32, deadline: Duration) {
        let deadline = tick_after(deadline);
        if let Some(node) = self.nodes.get(index as usize)
            && (node.slot == EXPIRED || node.slot != NONE && node.deadline <= deadline)
        {
            return;
        }
        self.cancel(index);
        let len = self.nodes.len().max(index as usize + 1);
        self.nodes.resize(len, UNSET);
        self.link(index, deadline);
    }

    /// Forgets an index.
    pub(crate) fn cancel(&mut self, index: u32) {
        let Some(node) = self.nodes.get_mut(index as usize) else {
            return;
        };
        let Node {
            previous,
            next,
            slot,
            ..
        } = std::mem::replace(node, UNSET);
        if slot == NONE {
            return;
        }
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.previous = previous;
        }
        if let Some(previous) = self.nodes.get_mut(previous as usize) {
            previous.next = next;
        } else {
            *self.head(slot) = next;
            if next == NONE && slot != EXPIRED {
                let (level, bit) = (slot as usize / SLOTS, slot as usize % SLOTS);
                if let Some(occupied) = self.occupied.get_mut(level) {
                    *occupied &= !(1 << bit);
                }
            }
        }
    }

    /// Takes an index whose deadline has passed.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<u32> {
        let now = tick_before(now);
        loop {
            if self.expired != NONE {
                let index = self.expired;
                self.cancel(index);
                return Some(index);
            }
            match self.next_slot() {
                Some((at, slot)) if at <= now => self.expire(at, slot),
                _ => {
                    self.elapsed = self.elapsed.max(now);
                    return None;
                }
            }
        }
    }

    /// When to call [`Timers::pop`] next.
    pub(crate) fn next(&self) -> Option<Duration> {
        if self.expired != NONE {
            return Some(Duration::ZERO);
        }
        let (at, _) = self.next_slot()?;
        Some(Duration::from_nanos(at.saturating_mul(4_000_000)))
    }

    fn head(&mut self, slot: u32) -> &mut u32 {
        // What has expired is in no slot of the wheel.
        self.heads
            .get_mut(slot as usize)
            .unwrap_or(&mut self.expired)
    }

    fn link(&mut self, index: u32, deadline: u64) {
        let ahead = deadline.saturating_sub(self.elapsed).min(MAX_AHEAD);
        let at = self.elapsed + ahead;
        // The highest digit in which it differs from now is the level: there all lower digits do not matter yet.
        let differs = (self.elapsed ^ at).checked_ilog2().unwrap_or(0);
        let level = ((differs / SLOT_BITS) as usize).min(LEVELS - 1);
        let slot = if ahead == 0 && deadline < self.elapsed {
            EXPIRED
        } else {
            let digit = at >> (SLOT_BITS * level as u32) & (SLOTS as u64 - 1);
            if let Some(occupied) = self.occupied.get_mut(level) {
                *occupied |= 1 << digit;
            }
            level as u32 * SLOTS as u32 + digit as u32
        };
        self.push(index, slot, at);
    }

    fn push(&mut self, index: u32, slot: u32, deadline: u64) {
        let head = std::mem::replace(self.head(slot), index);
        if let Some(node) = self.nodes.get_mut(head as usize) {
            node.previous = index;
        }
        if let Some(node) = self.nodes.get_mut(index as usize) {
            *node = Node {
                previous: NONE,
                next: head,
                slot,
                deadline,
            };
        }
    }

    /// The slot that is due first, and the tick when it is.
    fn next_slot(&self) -> Option<(u64, u32)> {
        self.occupied
            .iter()
            .enumerate()
            .filter(|(_, occupied)| **occupied != 0)
            .map(|(level, occupied)| {
                let shift = SLOT_BITS * level as u32;
                let digit = (self.elapsed >> shift) & (SLOTS as u64 - 1);
                // Slots from now on, in order; those before it are of the next turn.
                let ahead = u64::from(occupied.rotate_right(digit as u32).trailing_zeros());
                let at = ((self.elapsed >> shift) + ahead) << shift;
                let slot = level as u32 * SLOTS as u32 + ((digit + ahead) % SLOTS as u64) as u32;
                (at.max(self.elapsed), slot)
            })
            .min()
    }

    /// The time has come for a slot: what is due in it expires, the rest moves to a lower level.
    fn expire(&mut self, at: u64, slot: u32) {
        self.elapsed = at;
        let (level, bit) = (slot as usize / SLOTS, slot as usize % SLOTS);
        let mut index = std::mem::replace(self.head(slot), NONE);
        if let Some(occupied) = self.occupied.get_mut(level) {
            *occupied &= !(1 << bit);
        }
        while let Some(node) = self.nodes.get(index as usize).copied() {
            if node.deadline <= at {
                self.push(index, EXPIRED, node.deadline);
            } else {
                self.link(index, node.deadline);
            }
            index = node.next;
        }
    }
}

#[cfg(test)]
#[path = "timer_test.rs"]
mod tests;
