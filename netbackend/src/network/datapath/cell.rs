//! Where receive rings are kept: several workers may put frames into one.
use super::ring::Ring;
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A receive ring that several workers feed, each with a whole burst at a time. Empty while the ring is not set up.
#[derive(Debug, Clone, Default)]
pub(in crate::network) struct SharedRing(Arc<Mutex<Option<Ring>>>);

/// The place of a receive ring.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one for each receive ring, and looked into for each burst: no detour by the heap"
)]
pub(super) enum RingCell {
    /// There is one worker: nobody else asks for it.
    Own(Option<Ring>),
    /// Locked while a burst goes in.
    Shared(SharedRing),
}

impl Default for RingCell {
    fn default() -> Self {
        Self::Own(None)
    }
}

impl RingCell {
    /// Opens it; waits for another worker that has it open.
    #[inline]
    pub(super) fn open(&mut self) -> Opened<'_> {
        match self {
            Self::Own(ring) => Opened::Own(ring),
            Self::Shared(SharedRing(ring)) => {
                Opened::Shared(ring.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }
}

/// A place that is open, with a ring or not.
#[derive(Debug)]
pub(super) enum Opened<'a> {
    Own(&'a mut Option<Ring>),
    Shared(MutexGuard<'a, Option<Ring>>),
}

impl Deref for Opened<'_> {
    type Target = Option<Ring>;

    #[inline]
    fn deref(&self) -> &Option<Ring> {
        match self {
            Self::Own(ring) => ring,
            Self::Shared(ring) => ring,
        }
    }
}

impl DerefMut for Opened<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Option<Ring> {
        match self {
            Self::Own(ring) => ring,
            Self::Shared(ring) => ring,
        }
    }
}
