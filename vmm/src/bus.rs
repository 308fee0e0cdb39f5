//! Port-I/O and MMIO dispatch from vCPU exits to devices.
use std::sync::{Arc, Mutex};
use thiserror::Error;

/// A device behind a range of ports or of memory. Called from any vCPU thread; one call at a time per device.
pub trait BusDevice: Send {
    /// Fills `data` (1, 2, 4 or 8 bytes; anything else is the guest's problem) from `offset` in the range.
    fn read(&mut self, offset: u64, data: &mut [u8]);
    /// Takes `data` written at `offset` in the range.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// Why a range was refused.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum BusError {
    /// It overlaps a range that is taken.
    #[error("range {0:#x}+{1:#x} overlaps another device")]
    Overlap(u64, u64),
}

/// Devices by address range. Ranges may be added, moved and removed while vCPUs run (PCI BARs move).
#[derive(Default, Clone)]
pub struct Bus {}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bus")
    }
}

impl Bus {
    /// Puts a device at `base..base + len`.
    pub fn insert(
        &self,
        _base: u64,
        _len: u64,
        _device: Arc<Mutex<dyn BusDevice>>,
    ) -> Result<(), BusError> {
        todo!()
    }
    /// Takes away what starts at `base`.
    pub fn remove(&self, _base: u64) {
        todo!()
    }
    /// Dispatches a read; unclaimed addresses read as all ones. False: unclaimed.
    pub fn read(&self, _addr: u64, _data: &mut [u8]) -> bool {
        todo!()
    }
    /// Dispatches a write; unclaimed writes are lost. False: unclaimed.
    pub fn write(&self, _addr: u64, _data: &[u8]) -> bool {
        todo!()
    }
}
