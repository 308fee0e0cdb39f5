//! How much a port may carry.
use control::PortPolicy;
use std::time::Duration;
use switch::{Rate, TokenBucket};

/// A burst holds one GSO frame at least, or TCP would lose each one's tail.
const LEAST_BURST: u64 = 64 << 10;

/// The limits of one port. Frames over a limit are dropped and counted: a TCP sender then finds its rate.
#[derive(Debug, Default)]
pub(super) struct Limits {
    from_guest: Option<TokenBucket>,
    to_guest: Option<TokenBucket>,
}

impl Limits {
    pub(super) fn new(policy: &PortPolicy, now: Duration) -> Self {
        let bucket = |bits_per_second: u64| {
            TokenBucket::new(
                Rate::with_default_burst(bits_per_second / 8, LEAST_BURST),
                now,
            )
        };
        Self {
            from_guest: policy.limit_from_guest.map(bucket),
            to_guest: policy.limit_to_guest.map(bucket),
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
        admit(&mut self.from_guest, now, len)
    }

    /// Whether a frame of `len` bytes to the guest is within its limit.
    #[inline]
    pub(super) fn admit_to_guest(&mut self, now: Duration, len: u32) -> bool {
        admit(&mut self.to_guest, now, len)
    }
}

#[inline]
fn admit(bucket: &mut Option<TokenBucket>, now: Duration, len: u32) -> bool {
    bucket
        .as_mut()
        .is_none_or(|bucket| bucket.take(now, len.into()))
}
