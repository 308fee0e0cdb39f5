//! How a queue is laid out and where it stands.

/// Ring features negotiated with the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingFeatures {
    /// VIRTIO_F_EVENT_IDX (virtio 1.2, 2.7.10)
    pub event_idx: bool,
    /// VIRTIO_F_INDIRECT_DESC (2.7.5.3)
    pub indirect: bool,
    /// VIRTIO_F_IN_ORDER (2.7.9). We complete in order whether negotiated or not.
    pub in_order: bool,
}

/// Where a ring stands: what a snapshot, GET_VRING_BASE or a reconnect must carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingPosition {
    /// Next avail ring entry to fetch.
    pub next_avail: u16,
    /// Next used ring entry to write.
    pub next_used: u16,
}

/// A split queue as set up by the driver. Addresses are guest physical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueConfig {
    /// Entries; a power of two up to 32768.
    pub size: u16,
    /// Descriptor table, 16-byte aligned.
    pub desc: u64,
    /// Avail (driver) ring, 2-byte aligned.
    pub avail: u64,
    /// Used (device) ring, 4-byte aligned.
    pub used: u64,
    /// Negotiated ring features.
    pub features: RingFeatures,
    /// Where to start.
    pub position: RingPosition,
}
