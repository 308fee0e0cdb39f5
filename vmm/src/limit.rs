//! A limit on log lines that a guest or a peer can cause.
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Lets one line through per second; the others are lost, their number is not.
///
/// ```
/// static LIMIT: vmm::limit::RateLimit = vmm::limit::RateLimit::new();
/// assert!(LIMIT.allow());
/// assert!(!LIMIT.allow());
/// assert_eq!(LIMIT.suppressed(), 1);
/// ```
#[derive(Debug, Default)]
pub struct RateLimit {
    /// Milliseconds on the process's clock before which nothing passes.
    next: AtomicU64,
    suppressed: AtomicU64,
}

impl RateLimit {
    const INTERVAL_MS: u64 = 1000;

    /// A limit that lets the first line through.
    pub const fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Whether a line may be logged now.
    pub fn allow(&self) -> bool {
        static START: OnceLock<Instant> = OnceLock::new();
        let now = START.get_or_init(Instant::now).elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let next = self.next.load(Ordering::Relaxed);
        let taken = now >= next
            && self
                .next
                .compare_exchange(
                    next,
                    now.saturating_add(Self::INTERVAL_MS),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if !taken {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Lines held back so far.
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }
}
