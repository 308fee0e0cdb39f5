//! A burst of descriptor chains, popped at once, with private copies of every descriptor.

use std::{slice, sync::Arc};

use crate::{
    MemoryMap,
    segments::{Segment, Segments},
};

/// Segments after which a burst takes no further chain, so that its storage stays bounded.
pub(crate) const SEGMENTS_PER_BURST: usize = 2048;

/// What a completion names a chain by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    id: u16,
    slots: u16,
}

impl Head {
    #[inline]
    pub(crate) fn new(id: u16, slots: u16) -> Self {
        Self { id, slots }
    }

    /// Index of the head descriptor; in a packed ring the buffer id.
    #[inline]
    pub fn id(self) -> u16 {
        self.id
    }

    /// Places of the ring that the chain takes: in a packed ring all descriptors outside of an indirect table.
    #[inline]
    pub(crate) fn slots(self) -> u16 {
        self.slots
    }
}

/// A chain of a burst: its head, and where its segments are. The readable ones come first, then the writable ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainMeta {
    pub(crate) head: Head,
    /// The segment of a chain that has but one, as nearly all have: no second place to look at.
    pub(crate) only: Segment,
    /// First of several segments in the burst's storage; means nothing if there is one.
    pub(crate) first: u32,
    /// How many there are.
    pub(crate) pieces: u32,
    /// How many of them are readable.
    pub(crate) readable: u32,
    pub(crate) readable_len: u32,
    pub(crate) writable_len: u32,
}

/// Memory maps that a burst holds at most: guests who answer each other take turns, and counting references with each turn would wait for
/// all stores before.
const MAPS: usize = 4;

/// Reusable storage for up to [`Burst::MAX`] chains of one queue. Holds the memory map its segments point into, and those of the
/// queues before, until [`Burst::release`]d.
#[derive(Debug, Default)]
pub struct Burst {
    maps: [Option<Arc<MemoryMap>>; MAPS],
    /// Which of them the chains are of.
    map: usize,
    /// Which one was taken hold of last.
    newest: usize,
    /// It has a dirty log.
    logs: bool,
    pub(crate) segments: Vec<Segment>,
    pub(crate) chains: Vec<ChainMeta>,
}

impl Burst {
    /// Chains in one burst at most.
    pub const MAX: usize = 64;

    /// An empty burst.
    pub fn new() -> Self {
        Self {
            maps: Default::default(),
            map: 0,
            newest: 0,
            logs: false,
            segments: Vec::with_capacity(SEGMENTS_PER_BURST),
            chains: Vec::with_capacity(Self::MAX),
        }
    }

    /// Chains held.
    #[inline]
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// No chain held.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Chain `index`, oldest first.
    #[inline]
    pub fn chain(&self, index: usize) -> Option<Chain<'_>> {
        let meta = self.chains.get(index)?;
        let list = if meta.pieces == 1 {
            slice::from_ref(&meta.only)
        } else {
            self.pieces(meta)?
        };
        let (readable, writable) = list.split_at_checked(meta.readable as usize)?;
        Some(Chain {
            head: meta.head,
            readable: Segments {
                list: readable,
                len: meta.readable_len,
                log: None,
            },
            writable: Segments {
                list: writable,
                len: meta.writable_len,
                log: if self.logs { self.map() } else { None },
            },
        })
    }

    /// The segments of a chain that has not just one.
    fn pieces(&self, meta: &ChainMeta) -> Option<&[Segment]> {
        let from = self.segments.get(meta.first as usize..)?;
        from.get(..meta.pieces as usize)
    }

    /// Device-writable bytes of chain `index`.
    #[inline]
    pub fn writable_len(&self, index: usize) -> Option<u32> {
        Some(self.chains.get(index)?.writable_len)
    }

    /// What the chains are completed by, oldest first.
    #[inline]
    pub fn heads(&self) -> impl Iterator<Item = Head> + '_ {
        self.chains.iter().map(|meta| meta.head)
    }

    /// Forgets the chains, keeps storage and the memory map for the next burst.
    #[inline]
    pub fn clear(&mut self) {
        self.chains.clear();
        self.segments.clear();
    }

    /// Forgets all but the oldest `len` chains.
    pub(crate) fn truncate(&mut self, len: usize) {
        let gone = self.chains.get(len..).unwrap_or_default();
        if let Some(first) = gone.iter().find(|meta| meta.pieces > 1) {
            self.segments.truncate(first.first as usize);
        }
        self.chains.truncate(len);
    }

    /// Forgets the chains and lets go of all memory maps (before a quiesce is acknowledged).
    pub fn release(&mut self) {
        self.clear();
        self.maps = Default::default();
    }

    fn map(&self) -> Option<&MemoryMap> {
        self.maps.get(self.map)?.as_deref()
    }

    /// Takes hold of `mem`; false: the burst still holds chains of another map.
    #[inline]
    pub(crate) fn hold(&mut self, mem: &Arc<MemoryMap>) -> bool {
        let is_it = |held: &Option<Arc<MemoryMap>>| {
            let held = held.as_ref();
            held.is_some_and(|held| Arc::ptr_eq(held, mem))
        };
        if self.maps.get(self.map).is_some_and(is_it) {
            return true;
        }
        if !self.is_empty() {
            return false;
        }
        self.map = match self.maps.iter().position(is_it) {
            Some(place) => place,
            None => self.take_hold(mem),
        };
        self.logs = mem.logs();
        true
    }

    /// In the place of the map that was taken hold of first.
    fn take_hold(&mut self, mem: &Arc<MemoryMap>) -> usize {
        self.newest = (self.newest + 1) % MAPS;
        if let Some(place) = self.maps.get_mut(self.newest) {
            *place = Some(Arc::clone(mem));
        }
        self.newest
    }

    /// Chains that it has room for, unless their segments fill it before.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        Self::MAX.saturating_sub(self.chains.len())
    }

    /// Whether it takes no further chain.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.chains.len() >= Self::MAX || self.segments.len() >= SEGMENTS_PER_BURST
    }
}

/// One descriptor chain, validated.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'b> {
    head: Head,
    readable: Segments<'b>,
    writable: Segments<'b>,
}

impl<'b> Chain<'b> {
    /// What it is completed by ([`crate::DeviceQueue::complete`]).
    #[inline]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Device-readable part.
    #[inline]
    pub fn readable(&self) -> Segments<'b> {
        self.readable
    }

    /// Device-writable part.
    #[inline]
    pub fn writable(&self) -> Segments<'b> {
        self.writable
    }
}

#[cfg(test)]
#[path = "burst_test.rs"]
mod tests;
