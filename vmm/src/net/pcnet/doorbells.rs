//! The register address port, and the one value that a driver writes for every frame: neither takes a lock.
use super::spec;
use crate::net::nic::{Access, Doorbells as Trait, Width};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

/// RAP, and CSR0.TDMD as it is written in normal operation.
///
/// To send a frame a driver selects CSR0 and writes TDMD. That write also says what IENA is to be, so it takes no lock only if it
/// leaves IENA as it is; a write that acknowledges, starts or stops goes to the device.
#[derive(Debug, Default)]
pub struct Doorbells {
    /// The register that RDP and BDP access.
    pub(super) rap: AtomicU16,
    /// Registers lie as in double word I/O mode.
    pub(super) dwio: AtomicBool,
    /// CSR0.TDMD: look at the transmit ring.
    pub(super) demand: AtomicBool,
    /// CSR0.IENA of the device, which takes TDMD while it transmits; `u16::MAX`: it does not.
    pub(super) enabled: AtomicU16,
    /// A frame waits for receive descriptors.
    pub(super) waiting: AtomicBool,
}

/// The device takes no TDMD.
pub(super) const OFF: u16 = u16::MAX;

impl Doorbells {
    fn status(&self, value: u16) -> Option<bool> {
        let ignored = spec::CSR0_ERR | spec::CSR0_INTR | spec::CSR0_RXON | spec::CSR0_TXON;
        let value = value & !ignored;
        if value & !spec::CSR0_TDMD != self.enabled.load(Ordering::SeqCst) {
            return None;
        }
        if value & spec::CSR0_TDMD != 0 {
            self.demand.store(true, Ordering::SeqCst);
            return Some(true);
        }
        Some(self.waiting.load(Ordering::SeqCst))
    }
}

impl Trait for Doorbells {
    fn ring(&self, at: Access, value: u32) -> Option<bool> {
        let [low, high, ..] = value.to_le_bytes();
        let value = u16::from_le_bytes([low, high]);
        match (self.dwio.load(Ordering::SeqCst), at.width, at.offset) {
            (false, Width::Word, spec::WIO_RAP) | (true, Width::Dword, spec::DWIO_RAP) => {
                self.rap.store(value & spec::RAP_MASK, Ordering::SeqCst);
                Some(false)
            }
            (false, Width::Word, spec::WIO_RDP) | (true, Width::Dword, spec::DWIO_RDP)
                if self.rap.load(Ordering::SeqCst) == spec::CSR_STATUS =>
            {
                self.status(value)
            }
            _ => None,
        }
    }
}
