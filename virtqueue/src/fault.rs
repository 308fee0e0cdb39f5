//! Faults of a ring: what a hostile or broken peer did.
use thiserror::Error;

/// Why a queue was latched as faulty. The first fault ends the queue until it is set up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueueFault {
    /// Size is 0, no power of two, or beyond 32768.
    #[error("queue size {0} is not a power of two between 1 and 32768")]
    Size(u16),
    // … the implementer completes this list
}
