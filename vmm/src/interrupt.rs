//! How devices interrupt and how guests kick: the part of KVM that devices see.
use std::{io, sync::Arc};
use vmm_sys_util::eventfd::EventFd;

/// Where a notification write lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorbellAddress {
    /// At this guest physical address.
    Mmio(u64),
    /// At this port.
    Pio(u16),
}

/// An MSI message as a device's MSI-X table holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MsiMessage {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

/// One MSI-X vector's way into the guest: an irqfd and the route behind it.
pub trait MsiVector: Send + Sync {
    /// Signalling it interrupts the guest by the current route (or stays pending while masked). Handed to vhost-user back-ends.
    fn eventfd(&self) -> &EventFd;
    /// Sets the route; `None`: masked (events accumulate in the eventfd and fire when a route comes back).
    fn set_route(&self, message: Option<MsiMessage>) -> io::Result<()>;
}

/// A level-triggered INTx line (shared; the implementation ORs its users).
pub trait IntxLine: Send + Sync {
    /// Raises or lowers this user's share of the line.
    fn set(&self, level: bool);
}

/// What the machine gives to devices.
pub trait InterruptController: Send + Sync {
    /// A new MSI vector, masked.
    fn msi_vector(&self) -> io::Result<Arc<dyn MsiVector>>;
    /// The INTx line of a PCI slot's pin (0 = INTA).
    fn intx(&self, slot: u8, pin: u8) -> io::Result<Arc<dyn IntxLine>>;
    /// Writes of two bytes to `address`, whatever they are, signal `event` without leaving the kernel (ioeventfd).
    fn add_doorbell(&self, address: DoorbellAddress, event: &EventFd) -> io::Result<()>;
    /// Undoes [`InterruptController::add_doorbell`].
    fn remove_doorbell(&self, address: DoorbellAddress, event: &EventFd) -> io::Result<()>;
    /// Writes of this very byte to `address` do so; others come as ever.
    /// An error: so do these.
    fn add_byte_doorbell(
        &self,
        _address: DoorbellAddress,
        _byte: u8,
        _event: &EventFd,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Undoes [`InterruptController::add_byte_doorbell`].
    fn remove_byte_doorbell(
        &self,
        _address: DoorbellAddress,
        _byte: u8,
        _event: &EventFd,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Writes to the `len` bytes from `at` may be kept and brought together, in the order of all that is kept, when a vCPU makes an
    /// access that is not. An error: each comes at once.
    fn keep_writes(&self, _at: DoorbellAddress, _len: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Undoes [`InterruptController::keep_writes`].
    fn bring_writes(&self, _at: DoorbellAddress, _len: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Brings kept writes to memory now that devices take as [posted](crate::bus::PostedWrites) ones, up to the first other one. For a
    /// device's thread that may wait for one: a guest that polls need make no access that brings them.
    fn post_writes(&self) {}
}
