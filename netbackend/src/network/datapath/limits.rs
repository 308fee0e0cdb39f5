//! How much a port may carry.
use super::BURST;
use control::PortPolicy;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use switch::{Rate, TokenBucket};

/// A burst holds one GSO frame at least, or TCP would lose each one's tail.
const LEAST_BURST: u64 = 64 << 10;

/// The limits of one port. Frames over a limit are dropped and counted: a TCP sender then finds its rate.
#[derive(Debug, Clone, Default)]
pub(in crate::network) struct Limits {
    /// For one worker: all sources of a port that has it stay together.
    from_guest: Option<TokenBucket>,
    /// For all workers.
    to_guest: Option<Arc<Mutex<TokenBucket>>>,
    /// What the guest sends is limited in any way.
    pub(super) keeps_together: bool,
}

/// Which frames of a group a limit lets pass, by their places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted(u32);

/// A group is of one burst.
const _: () = assert!(BURST <= 32, "a bit for each frame");

impl Admitted {
    const ALL: Self = Self(u32::MAX);

    #[inline]
    pub(super) fn has(self, index: usize) -> bool {
        self.0 >> (index % BURST) & 1 == 1
    }

    /// How many of `len` frames do not pass.
    #[inline]
    pub(super) fn refused(self, len: usize) -> usize {
        if self.0 == u32::MAX {
            return 0;
        }
        (0..len).filter(|index| !self.has(*index)).count()
    }
}

impl Limits {
    pub(in crate::network) fn new(policy: &PortPolicy) -> Self {
        let bucket = |bits_per_second: u64| {
            let rate = Rate::with_default_burst(bits_per_second / 8, LEAST_BURST);
            // Full when the datapath's time begins, and so ever since.
            TokenBucket::new(rate, Duration::ZERO)
        };
        let to_guest = policy.limit_to_guest.map(bucket);
        Self {
            from_guest: policy.limit_from_guest.map(bucket),
            to_guest: to_guest.map(|bucket| Arc::new(Mutex::new(bucket))),
            keeps_together: policy.limit_from_guest.is_some() || policy.storm_limit.is_some(),
        }
    }

    /// Whether frames from the guest are limited at all.
    #[inline]
    pub(super) fn limits_guest(&self) -> bool {
        self.from_guest.is_some()
    }

    /// Whether a frame of `len` bytes from the guest is within its limit.
    #[inline]
    pub(super) fn admit_from_guest(&mut self, now: Duration, len: u32) -> bool {
        self.from_guest
            .as_mut()
            .is_none_or(|bucket| bucket.take(now, len.into()))
    }

    /// Which frames to the guest, of these lengths, are within its limit. A storm (`behind`) gets what is above half of a burst:
    /// the rest is for those who behave.
    #[inline]
    pub(super) fn admit_to_guest(
        &self,
        now: Duration,
        behind: bool,
        lengths: impl Iterator<Item = u32>,
    ) -> Admitted {
        let Some(bucket) = &self.to_guest else {
            return Admitted::ALL;
        };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let reserve = if behind { bucket.burst() / 2 } else { 0 };
        let mut admitted = Admitted(u32::MAX);
        for (index, len) in lengths.enumerate().take(BURST) {
            if !bucket.take_above(now, len.into(), reserve) {
                admitted.0 &= !(1 << index);
            }
        }
        admitted
    }
}
