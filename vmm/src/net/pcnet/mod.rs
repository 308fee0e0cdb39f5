//! The AMD Am79C970A ("PCnet-PCI II"), and the Am79C973 ("PCnet-FAST III"), which has a PHY that drivers see.
//!
//! # Theory of operation
//! All registers but four lie behind an address port (RAP): [`Device`] decodes the ports in both widths, `csr` and `bcr` are what lies
//! behind them. The driver hands an initialization block over, then two rings of descriptors in one of four layouts
//! ([`descriptor`]). Frames leave uncopied, from the buffers in guest RAM; one that arrives is copied once more.
//!
//! A driver may tell of a frame to send (CSR0.TDMD, one of the [`Doorbells`]) or may wait until the chip looks by itself, and gives
//! receive descriptors back without telling. So the device looks: at the transmit ring in pauses that grow while nothing but doorbells
//! brings work, and for a frame without room in pauses that grow until it counts as missed.
mod bcr;
mod csr;
mod datapath;
pub mod descriptor;
mod device;
mod doorbells;
mod init;
mod poll;
mod receive;
#[expect(missing_docs, reason = "the names are the data sheet's")]
pub mod spec;
mod state;
#[cfg(test)]
mod tests;
mod transmit;

pub use device::Device;
pub use doorbells::Doorbells;
pub use state::Saved;

use super::{
    nic::{Access, Burst, Model},
    wire::Wire,
};
use crate::pci::{BarKind, Function, Identity};
use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

impl Model for Device {
    type Doorbells = Doorbells;
    type Saved = Saved;

    const NAME: &'static str = "pcnet";
    #[expect(
        clippy::single_range_in_vec_init,
        reason = "one range, and not what is in it"
    )]
    // RAP, which is written before every other access: that one brings it along.
    const QUIET_PORTS: &'static [Range<u16>] = &[0x12..0x14];

    fn function(&self) -> Function {
        let mut function = Function::new(&Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE,
            revision: self.state.chip.revision,
            class: spec::CLASS,
            subsystem_vendor: spec::VENDOR,
            subsystem: spec::DEVICE,
        });
        let len = u64::from(spec::REGISTERS_LEN);
        function.add_bar(spec::IO_BAR, BarKind::Io, len);
        function.add_bar(spec::MEMORY_BAR, BarKind::Memory32, len);
        function
    }

    fn doorbells(&self) -> Arc<Doorbells> {
        Arc::clone(&self.doorbells)
    }

    fn set_bus_master(&mut self, on: bool) {
        self.change_bus_master(on);
    }

    fn set_link(&mut self, up: bool, _now: Instant) {
        self.change_link(up);
    }

    fn read(&mut self, at: Access, _now: Instant) -> u32 {
        self.read_port(at)
    }

    fn write(&mut self, at: Access, value: u32, _now: Instant) -> bool {
        self.write_port(at, value)
    }

    /// In double word mode the ports are RDP's.
    fn quiet(&self) -> bool {
        !self.doorbells.dwio.load(Ordering::SeqCst)
    }

    fn burst(&mut self, wire: &mut dyn Wire, now: Instant) -> Burst {
        self.move_frames(wire, now)
    }

    fn restarted(&mut self) {
        self.stale = false;
    }

    fn save(&self, _now: Instant) -> Saved {
        self.snapshot()
    }

    fn restore(&mut self, saved: Saved, _now: Instant) {
        self.resume(saved);
    }
}
