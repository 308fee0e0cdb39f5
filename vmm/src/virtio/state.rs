//! The volatile state of a virtio PCI device: what a snapshot must carry.
use super::spec::{self, NO_VECTOR};
use virtqueue::{QueueConfig, RingFeatures, RingPosition};

/// One queue, as the driver set it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Entries at most.
    pub max_size: u16,
    /// Entries chosen by the driver.
    pub size: u16,
    /// MSI-X vector.
    pub vector: u16,
    /// The driver enabled it.
    pub enabled: bool,
    /// Descriptor area, guest physical.
    pub desc: u64,
    /// Driver area, guest physical.
    pub avail: u64,
    /// Device area, guest physical.
    pub used: u64,
}

impl QueueState {
    /// A queue after reset.
    pub fn new(max_size: u16) -> Self {
        Self {
            max_size,
            size: max_size,
            vector: NO_VECTOR,
            enabled: false,
            desc: 0,
            avail: 0,
            used: 0,
        }
    }

    /// How the device side is to run it.
    pub fn config(&self, features: u64) -> QueueConfig {
        QueueConfig {
            size: self.size,
            desc: self.desc,
            avail: self.avail,
            used: self.used,
            features: RingFeatures {
                event_idx: features & spec::F_EVENT_IDX != 0,
                indirect: features & spec::F_INDIRECT_DESC != 0,
                in_order: features & spec::F_IN_ORDER != 0,
                packed: false,
            },
            position: RingPosition::default(),
        }
    }
}

/// The registers of the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportState {
    /// Which offered features are shown.
    pub device_feature_select: u32,
    /// Which accepted features are shown.
    pub driver_feature_select: u32,
    /// Features the driver accepted; final once FEATURES_OK is set.
    pub driver_features: u64,
    /// Vector of configuration changes.
    pub config_vector: u16,
    /// Device status without NEEDS_RESET, which is the device's.
    pub status: u8,
    /// Which queue is shown.
    pub queue_select: u16,
    /// The queues.
    pub queues: Vec<QueueState>,
}

impl TransportState {
    /// The state after reset of a device with queues of these sizes.
    pub fn new(queue_sizes: &[u16]) -> Self {
        Self {
            device_feature_select: 0,
            driver_feature_select: 0,
            driver_features: 0,
            config_vector: NO_VECTOR,
            status: 0,
            queue_select: 0,
            queues: queue_sizes.iter().copied().map(QueueState::new).collect(),
        }
    }

    /// Back to the state after reset.
    pub fn reset(&mut self) {
        let sizes: Vec<u16> = self.queues.iter().map(|queue| queue.max_size).collect();
        *self = Self::new(&sizes);
    }

    /// The driver has set `bit` of the device status.
    pub fn has(&self, bit: u8) -> bool {
        self.status & bit != 0
    }
}
