//! Numbers of the virtio specification 1.2 (sections in comments).

/// PCI vendor of all virtio devices (4.1.2).
pub const VENDOR: u16 = 0x1af4;
/// PCI device ID of a modern device is this plus the device type (4.1.2.1).
pub const DEVICE_BASE: u16 = 0x1040;

/// Device type: network card (5.1).
pub const TYPE_NET: u16 = 1;
/// Device type: block device (5.2).
pub const TYPE_BLOCK: u16 = 2;
/// Device type: entropy source (5.4).
pub const TYPE_RNG: u16 = 4;

/// Device status: the guest noticed the device (2.1).
pub const STATUS_ACKNOWLEDGE: u8 = 1;
/// Device status: the guest knows how to drive it.
pub const STATUS_DRIVER: u8 = 2;
/// Device status: the driver is ready; the device lives.
pub const STATUS_DRIVER_OK: u8 = 4;
/// Device status: features are agreed.
pub const STATUS_FEATURES_OK: u8 = 8;
/// Device status: the device cannot go on.
pub const STATUS_NEEDS_RESET: u8 = 64;
/// Device status: the driver gave up.
pub const STATUS_FAILED: u8 = 128;

/// Feature (6): chains may be described by an indirect table.
pub const F_INDIRECT_DESC: u64 = 1 << 28;
/// Feature: notifications are suppressed by index.
pub const F_EVENT_IDX: u64 = 1 << 29;
/// Feature: not a legacy device.
pub const F_VERSION_1: u64 = 1 << 32;
/// Feature: chains complete in order.
pub const F_IN_ORDER: u64 = 1 << 35;
/// Features that our own rings have.
pub const RING_FEATURES: u64 = F_INDIRECT_DESC | F_EVENT_IDX | F_IN_ORDER;

/// No MSI-X vector (4.1.4.3).
pub const NO_VECTOR: u16 = 0xffff;

/// `virtio_pci_cap.cfg_type` (4.1.4): common configuration.
pub const CAP_COMMON: u8 = 1;
/// Notifications.
pub const CAP_NOTIFY: u8 = 2;
/// ISR status.
pub const CAP_ISR: u8 = 3;
/// Device-specific configuration.
pub const CAP_DEVICE: u8 = 4;
/// PCI configuration access.
pub const CAP_PCI_CFG: u8 = 5;

/// ISR status (4.1.4.5): a queue has news.
pub const ISR_QUEUE: u8 = 1;
/// ISR status: the configuration changed.
pub const ISR_CONFIG: u8 = 2;

/// Registers of the common configuration structure (4.1.4.3).
pub mod common {
    /// Bytes, with the fields of 1.2.
    pub const LEN: usize = 64;
    /// Which 32 offered feature bits are shown.
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    /// Offered feature bits.
    pub const DEVICE_FEATURE: u64 = 0x04;
    /// Which 32 accepted feature bits are shown.
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    /// Accepted feature bits.
    pub const DRIVER_FEATURE: u64 = 0x0c;
    /// Vector of configuration changes.
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    /// Queues of the device.
    pub const NUM_QUEUES: u64 = 0x12;
    /// Device status.
    pub const DEVICE_STATUS: u64 = 0x14;
    /// Changes with the configuration.
    pub const CONFIG_GENERATION: u64 = 0x15;
    /// Which queue the following registers show.
    pub const QUEUE_SELECT: u64 = 0x16;
    /// Entries; 0: no such queue.
    pub const QUEUE_SIZE: u64 = 0x18;
    /// Vector of the queue.
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    /// 1: the queue is used.
    pub const QUEUE_ENABLE: u64 = 0x1c;
    /// Doorbell, in units of the notify multiplier.
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    /// Descriptor area.
    pub const QUEUE_DESC: u64 = 0x20;
    /// Driver area.
    pub const QUEUE_DRIVER: u64 = 0x28;
    /// Device area.
    pub const QUEUE_DEVICE: u64 = 0x30;
    /// First byte after the 64-bit addresses.
    pub const QUEUE_ADDRESSES_END: u64 = 0x38;
}
