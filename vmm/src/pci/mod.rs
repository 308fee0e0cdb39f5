//! A PCI bus of 32 slots, and what device models need to live on it.
//!
//! # Theory of operation
//! A device model embeds a [`Function`] (configuration space, BARs, MSI-X, INTx) and implements
//! [`PciDevice`]. [`PciBus`] routes configuration accesses from [`ConfigPorts`] and [`Ecam`] to it,
//! compares after each write what the function now decodes with what is mapped, and moves its BARs
//! on the machine's port and memory busses.
//!
//! Locks are taken in this order: the bus device (config ports, ECAM or a BAR's region), the slot's
//! mappings, the device. A device model must not touch the busses itself. Posted writes take none of them.
mod access;
mod allocator;
mod bar;
mod bus;
mod config;
mod function;
mod intx;
mod msix;
pub mod spec;

pub use access::{CONFIG_PORTS, CONFIG_PORTS_LEN, ConfigPorts, ECAM_LEN, Ecam};
pub use allocator::{WindowFull, Windows};
pub use bar::{BAR_COUNT, Bar, BarAddress, BarKind};
pub use bus::{FunctionAddress, PciBus, PciError, SLOTS};
pub use config::{CONFIG_SPACE_LEN, CapabilityError, ConfigSpace, Identity};
pub use function::Function;
pub use intx::Intx;
pub use msix::{Msix, MsixEntry, MsixLayout, MsixState};

use crate::bus::Posted;

/// A device model with one function. Called from any vCPU thread, one call at a time.
pub trait PciDevice: Send {
    /// The common part.
    fn function(&self) -> &Function;
    /// The common part.
    fn function_mut(&mut self) -> &mut Function;
    /// A configuration read; overridden by models with registers of their own there.
    fn config_read(&mut self, offset: u16, data: &mut [u8]) {
        self.function_mut().config_read(offset, data);
    }
    /// A configuration write; overridden by models that must notice it.
    fn config_write(&mut self, offset: u16, data: &[u8]) {
        self.function_mut().config_write(offset, data);
    }
    /// Fills `data` from `offset` in BAR `bar` (MSI-X structures are dealt with before). Any length
    /// and alignment may come.
    fn bar_read(&mut self, _bar: u8, _offset: u64, data: &mut [u8]) {
        data.fill(0xff);
    }
    /// Takes `data` written at `offset` in BAR `bar`.
    fn bar_write(&mut self, _bar: u8, _offset: u64, _data: &[u8]) {}
    /// As [`bar_read`](Self::bar_read), once for every `size` bytes of `data`.
    fn bar_read_repeated(&mut self, bar: u8, offset: u64, size: usize, data: &mut [u8]) {
        for element in data.chunks_mut(size.max(1)) {
            self.bar_read(bar, offset, element);
        }
    }
    /// As [`bar_write`](Self::bar_write), once for every `size` bytes of `data`.
    fn bar_write_repeated(&mut self, bar: u8, offset: u64, size: usize, data: &[u8]) {
        for element in data.chunks(size.max(1)) {
            self.bar_write(bar, offset, element);
        }
    }
    /// What takes some writes to BAR `bar` without the device's lock; asked once. For devices without MSI-X.
    fn posted_writes(&self, _bar: u8) -> Posted {
        None
    }
    /// BAR `bar` is now decoded at `at`, or no longer. Doorbells follow here.
    fn bar_moved(&mut self, _bar: u8, _at: Option<BarAddress>) {}
}
