//! The Intel 82540EM ("PRO/1000 MT Desktop", e1000), and the 82545EM, which differs in its name only.
//!
//! # Theory of operation
//! [`Device`] holds registers, rings and interrupts. The doorbells TDT and RDT take no lock. RDT is kept by KVM: buffers that are given
//! back cost no exit of a vCPU, and wake nobody unless frames wait for them.
//!
//! A packet leaves without being copied here: its buffers in guest RAM go into a descriptor chain,
//! behind a private copy of those headers that the NIC has to change. TCP segmentation leaves as
//! one GSO frame. A frame that arrives is copied once more, from the NIC's own receive buffers: the
//! filters come first, and an e1000 ring has no way to skip a buffer.
mod datapath;
pub mod descriptor;
mod device;
mod interrupts;
mod pace;
pub mod phy;
mod receive;
#[expect(missing_docs, reason = "the names are the data sheet's")]
pub mod spec;
pub mod state;
mod transmit;

pub use device::{Device, Doorbells};

use self::state::Saved;
use super::{
    nic::{Access, Burst, Model, Width},
    wire::Wire,
};
use crate::pci::{BarKind, Function, Identity};
use std::{ops::Range, sync::Arc, time::Instant};

impl Model for Device {
    type Doorbells = Doorbells;
    type Saved = Saved;

    const NAME: &'static str = "e1000";
    const KEPT: &'static [(u8, Range<u32>)] = &[(spec::MEMORY_BAR, spec::RDT..spec::RDT + 4)];

    fn function(&self) -> Function {
        let chip = self.state.chip;
        let mut function = Function::new(&Identity {
            vendor: spec::VENDOR,
            device: chip.device,
            revision: chip.revision,
            class: spec::CLASS,
            subsystem_vendor: spec::VENDOR,
            subsystem: chip.subsystem,
        });
        function.add_bar(spec::MEMORY_BAR, BarKind::Memory32, spec::MEMORY_LEN);
        function.add_bar(spec::IO_BAR, BarKind::Io, spec::IO_LEN);
        function
    }

    fn doorbells(&self) -> Arc<Doorbells> {
        Arc::clone(&self.doorbells)
    }

    fn set_bus_master(&mut self, on: bool) {
        self.change_bus_master(on);
    }

    fn set_link(&mut self, up: bool, now: Instant) {
        self.change_link(up, now);
    }

    fn read(&mut self, at: Access, now: Instant) -> u32 {
        let value = match (at.bar, at.offset & !3) {
            (spec::MEMORY_BAR, register) => self.read_register(register, now),
            (_, spec::IOADDR) => self.io_address,
            (_, spec::IODATA) => self.read_register(self.io_address, now),
            _ => 0,
        };
        // Registers are 32 bits wide; a narrow access gets its part of one.
        value >> (8 * (at.offset & 3))
    }

    fn write(&mut self, at: Access, value: u32, now: Instant) -> bool {
        // Only whole registers can be written (13.2.1).
        if at.width != Width::Dword {
            return false;
        }
        let register = match (at.bar, at.offset) {
            (spec::MEMORY_BAR, register) => register,
            (_, spec::IODATA) => self.io_address,
            (_, spec::IOADDR) => {
                self.io_address = value & 0x1_fffc;
                return false;
            }
            _ => return false,
        };
        self.write_register(register, value, now);
        self.needs_thread(register)
    }

    fn burst(&mut self, wire: &mut dyn Wire, now: Instant) -> Burst {
        self.move_frames(wire, now)
    }

    fn restarted(&mut self) {
        self.let_go();
    }

    fn save(&self, now: Instant) -> Saved {
        self.snapshot(now)
    }

    fn restore(&mut self, saved: Saved, now: Instant) {
        self.resume(saved, now);
    }
}
