//! The Realtek RTL8139C+, and the RTL8139C, which has no descriptor rings.
//!
//! # Theory of operation
//! The chip has two ways to move frames. In C mode a driver copies each frame into one of four buffers and finds what comes in
//! in one ring of bytes; such frames are short and are copied, so that the driver has its buffer back at once. In C+ mode
//! descriptors point to buffers, as with other NICs: a packet leaves uncopied, and TCP segmentation ("large send") leaves as one GSO
//! frame.
//!
//! A C+ driver gives receive descriptors back without telling. A frame without room is tried again when the driver touches the
//! interrupt registers, which it does when it has made room, and after a pause that grows.
mod datapath;
mod device;
mod doorbells;
mod offload;
mod receive;
mod reminder;
mod ring;
#[expect(missing_docs, reason = "the names are the data sheet's")]
pub mod spec;
mod state;
mod tally;
#[cfg(test)]
mod tests;
mod timer;

pub use device::Device;
pub use doorbells::Doorbells;
pub use state::Saved;

use super::{
    nic::{Access, Burst, Model},
    wire::Wire,
};
use crate::pci::{BarKind, Function, Identity};
use std::{ops::Range, sync::Arc, time::Instant};

impl Model for Device {
    type Doorbells = Doorbells;
    type Saved = Saved;

    const NAME: &'static str = "rtl8139";

    // All that Linux' 8139cp writes to send.
    const KNOCKS: &'static [(u32, u8)] = &[(spec::TPPOLL, spec::TPPOLL_NPQ)];

    // Read frames of C mode, each of them told of. A driver's next look at CR or the ISR brings what was kept.
    const KEPT: &'static [(u8, Range<u32>)] =
        &[(spec::MEMORY_BAR, spec::CAPR..spec::CAPR_HIGH + 1)];

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

    fn read(&mut self, at: Access, now: Instant) -> u32 {
        self.read_dword(at.offset & !3, now) >> (8 * (at.offset & 3))
    }

    fn write(&mut self, at: Access, value: u32, now: Instant) -> bool {
        let mut needs_thread = false;
        let (mut offset, mut value, mut left) = (at.offset, value, at.width.bytes());
        while left > 0 {
            let (register, width) = spec::register_at(offset);
            let lanes = (register + width - offset).min(left);
            self.write_lanes(offset, lanes, value, now);
            needs_thread |= self.needs_thread(register);
            offset += lanes;
            left -= lanes;
            value = value.checked_shr(8 * lanes).unwrap_or(0);
        }
        self.update_pin();
        needs_thread
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

impl Device {
    /// Writes `lanes` bytes from `offset` on, which all belong to one register; its other bytes keep what they are.
    fn write_lanes(&mut self, offset: u32, lanes: u32, value: u32, now: Instant) {
        let (register, width) = spec::register_at(offset);
        let ones = |bytes: u32| u32::try_from((1u64 << (8 * bytes)) - 1).unwrap_or(u32::MAX);
        let shift = 8 * (offset - register);
        let mask = ones(lanes) << shift;
        // Where ones clear, zeroes keep.
        let old = match register {
            spec::ISR | spec::CSCR => 0,
            _ => self.read_dword(register & !3, now) >> (8 * (register & 3)) & ones(width),
        };
        self.write_register(register, old & !mask | value << shift & mask, now);
    }

    /// Whether the thread has to act on a write. Every interrupt of the driver writes ISR and IMR: that must not cost a wake-up.
    fn needs_thread(&self, register: u32) -> bool {
        !matches!(register, spec::IMR | spec::ISR) || self.held.is_some()
    }
}
