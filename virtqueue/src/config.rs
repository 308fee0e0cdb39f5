//! How a queue is laid out and where it stands.

/// Ring features negotiated with the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingFeatures {
    /// VIRTIO_F_EVENT_IDX (virtio 1.2, 2.7.10 and 2.8.14)
    pub event_idx: bool,
    /// VIRTIO_F_INDIRECT_DESC (2.7.5.3 and 2.8.7)
    pub indirect: bool,
    /// VIRTIO_F_IN_ORDER (2.7.9 and 2.8.8). We complete in order whether negotiated or not.
    pub in_order: bool,
    /// VIRTIO_F_RING_PACKED: one ring of descriptors (2.8) instead of table, avail and used ring (2.7).
    pub packed: bool,
}

/// Where a ring stands: what a snapshot, GET_VRING_BASE or a reconnect must carry.
///
/// For a packed ring bits 0 to 14 are a place in the ring and bit 15 is the wrap counter, as in the event suppression areas
/// (virtio 1.2, 2.8.10) and in GET_VRING_BASE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingPosition {
    /// Next avail ring entry to fetch; in a packed ring the next descriptor.
    pub next_avail: u16,
    /// Next used ring entry to write; in a packed ring the next used descriptor.
    pub next_used: u16,
}

impl RingPosition {
    /// Of a fresh packed ring: both wrap counters start at 1 (2.8.1).
    pub const PACKED_START: Self = Self {
        next_avail: 1 << 15,
        next_used: 1 << 15,
    };

    /// Of a fresh ring with these features.
    pub fn start(features: RingFeatures) -> Self {
        if features.packed {
            Self::PACKED_START
        } else {
            Self::default()
        }
    }
}

/// A queue as set up by the driver. Addresses are guest physical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueConfig {
    /// Entries up to 32768; a power of two unless packed.
    pub size: u16,
    /// Descriptor table, or the packed descriptor ring; 16-byte aligned.
    pub desc: u64,
    /// Avail ring, 2-byte aligned; of a packed ring the driver event suppression area, 4-byte aligned.
    pub avail: u64,
    /// Used ring, or the device event suppression area; 4-byte aligned.
    pub used: u64,
    /// Negotiated ring features.
    pub features: RingFeatures,
    /// Where to start.
    pub position: RingPosition,
}
