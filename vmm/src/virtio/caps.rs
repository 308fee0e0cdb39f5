//! The virtio structures in BAR 0 and the vendor capabilities that point to them (virtio 1.2,
//! 4.1.4).
use super::spec::{self, common};
use crate::pci::{CapabilityError, Function, MsixLayout, spec as pci_spec};

/// BAR of everything.
pub(super) const BAR: u8 = 0;
/// Bytes of that BAR.
pub(super) const BAR_LEN: u64 = 0x8000;
/// Offset of the common configuration.
pub(super) const COMMON: u64 = 0x0000;
/// Offset of the ISR status.
pub(super) const ISR: u64 = 0x1000;
/// Offset of the device configuration.
pub(super) const DEVICE: u64 = 0x2000;
/// Bytes of the device configuration structure, more than any device has.
pub(super) const DEVICE_LEN: u64 = 0x100;
/// Offset of the doorbells.
pub(super) const NOTIFY: u64 = 0x3000;
/// Bytes between doorbells.
pub(super) const NOTIFY_MULTIPLIER: u32 = 4;
/// End of the doorbells.
pub(super) const NOTIFY_END: u64 = 0x4000;
/// Queues that have room for a doorbell.
pub(super) const MAX_QUEUES: usize = 0x1000 / NOTIFY_MULTIPLIER as usize;
/// MSI-X table and pending bits.
pub(super) const MSIX: MsixLayout = MsixLayout {
    bar: BAR,
    table: 0x4000,
    pending: 0x7000,
};
/// Vectors that have room in the table.
pub(super) const MAX_VECTORS: usize = 0x3000 / 16;

/// Offsets in the PCI configuration access capability (4.1.4.9).
pub(super) mod window {
    /// BAR to access.
    pub(in super::super) const BAR: u16 = 4;
    /// Offset in that BAR.
    pub(in super::super) const OFFSET: u16 = 8;
    /// Bytes to access.
    pub(in super::super) const LENGTH: u16 = 12;
    /// The data.
    pub(in super::super) const DATA: u16 = 16;
}

/// Adds all capabilities; returns the offset of the PCI configuration access capability.
pub(super) fn add(function: &mut Function, queues: usize) -> Result<u16, CapabilityError> {
    let notify_len = queues as u64 * u64::from(NOTIFY_MULTIPLIER);
    let notify = [
        capability(20, spec::CAP_NOTIFY, NOTIFY, notify_len).as_slice(),
        &NOTIFY_MULTIPLIER.to_le_bytes(),
    ]
    .concat();
    let access = [capability(20, spec::CAP_PCI_CFG, 0, 0).as_slice(), &[0; 4]].concat();
    let structures = [
        (spec::CAP_COMMON, COMMON, common::LEN as u64),
        (spec::CAP_ISR, ISR, 1),
        (spec::CAP_DEVICE, DEVICE, DEVICE_LEN),
    ];
    for (kind, offset, len) in structures {
        function.add_capability(pci_spec::CAP_VENDOR, &capability(16, kind, offset, len))?;
    }
    function.add_capability(pci_spec::CAP_VENDOR, &notify)?;
    let at = function.add_capability(pci_spec::CAP_VENDOR, &access)?;
    let config = function.config_mut();
    config.allow_writes(at + window::BAR, &[0xff]);
    config.allow_writes(at + window::OFFSET, &[0xff; 12]);
    Ok(at)
}

/// `struct virtio_pci_cap` after ID and next pointer.
fn capability(cap_len: u8, kind: u8, offset: u64, len: u64) -> [u8; 14] {
    let [o0, o1, o2, o3, ..] = offset.to_le_bytes();
    let [l0, l1, l2, l3, ..] = len.to_le_bytes();
    [cap_len, kind, BAR, 0, 0, 0, o0, o1, o2, o3, l0, l1, l2, l3]
}
