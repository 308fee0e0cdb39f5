//! Faults of a ring: what a hostile or broken peer did.
use thiserror::Error;

/// Why a queue was latched as faulty. The first fault ends the fetch side of the queue until it is set up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum QueueFault {
    /// Size is 0, beyond 32768 (virtio 1.2, 2.7), or that of a split ring and no power of two.
    #[error(
        "queue size {0} is not between 1 and 32768, or not the power of two that a split ring needs"
    )]
    Size(u16),
    /// A ring area is not aligned as 2.7 demands.
    #[error("ring area at {0:#x} is misaligned")]
    Misaligned(u64),
    /// A ring area does not lie within one memory region.
    #[error("ring area at {0:#x} is not mapped")]
    RingUnmapped(u64),
    /// The driver made more available than the ring holds, or went backwards.
    #[error("avail index {index} is impossible after {expected}")]
    AvailIndex {
        /// Index found.
        index: u16,
        /// Next index to fetch.
        expected: u16,
    },
    /// The driver made descriptors of a packed ring available that the device has not given back.
    #[error("more descriptors are available than the ring has")]
    Overrun,
    /// Where a packed ring is to start lies beyond its end.
    #[error("position {0:#x} is beyond the ring")]
    Position(u16),
    /// An avail entry names a descriptor beyond the table.
    #[error("head descriptor {0} is beyond the table")]
    Head(u16),
    /// A descriptor continues beyond its table.
    #[error("next descriptor {0} is beyond the table")]
    Next(u16),
    /// A chain is longer than its table: it loops.
    #[error("descriptor chain loops")]
    Loop,
    /// A readable descriptor follows a writable one (2.7.4.2).
    #[error("readable descriptor after a writable one")]
    Order,
    /// An indirect descriptor without VIRTIO_F_INDIRECT_DESC.
    #[error("indirect descriptor was not negotiated")]
    IndirectNotNegotiated,
    /// An indirect descriptor within an indirect table (2.7.5.3.1).
    #[error("nested indirect descriptor")]
    IndirectNested,
    /// INDIRECT and NEXT together (2.7.5.3.1).
    #[error("indirect descriptor with a successor")]
    IndirectNext,
    /// An indirect table of 0 bytes, of a broken number of descriptors, or too long.
    #[error("indirect table of {0} bytes")]
    IndirectLength(u32),
    /// A buffer or indirect table is not mapped.
    #[error("buffer at {0:#x} is not mapped")]
    BufferUnmapped(u64),
    /// The buffers of one chain add up to 4 GiB or more.
    #[error("descriptor chain of 4 GiB or more")]
    ChainLength,
    /// The device reports a chain that the driver did not give, or an index that it cannot have reached.
    #[error("device returned a bad used element or index ({0})")]
    Used(u32),
}
