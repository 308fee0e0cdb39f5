//! The Realtek RTL8029AS ("ne2k_pci"): an NE2000 on PCI.
//!
//! # Theory of operation
//! The chip is no bus master. It has packet memory of its own, of which drivers make transmit buffers and a receive ring of pages, and a
//! data port through which they read and write that memory, byte by byte or with string instructions ("remote DMA"). So a frame is
//! copied by the driver; here it goes from packet memory into the wire's buffer and from there into the ring, and nothing of it is in
//! guest memory.
//!
//! The thread sends when CR.TXP is set and fills the ring as frames come. A frame without room waits for a while, because a driver
//! needs far longer to recover from an overflow than to read the ring.
mod datapath;
mod device;
mod memory;
mod receive;
mod remote;
#[expect(missing_docs, reason = "the names are the data sheet's")]
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

pub use device::Device;
pub use state::Saved;

use super::{
    nic::{Access, Burst, Model, NoDoorbells},
    wire::Wire,
};
use crate::pci::{BarKind, Function, Identity};
use std::{ops::Range, sync::Arc, time::Instant};

impl Model for Device {
    type Doorbells = NoDoorbells;
    type Saved = Saved;

    const NAME: &'static str = "ne2k_pci";
    // BNRY, lengths and addresses of transfers on page 0; addresses on page 1. Drivers go on to another register behind a frame's BNRY.
    const QUIET_PORTS: &'static [Range<u16>] = &[0x03..0x07, 0x08..0x0c, 0x10..0x18];

    fn function(&self) -> Function {
        let mut function = Function::new(&Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE,
            revision: 0,
            class: spec::CLASS,
            subsystem_vendor: spec::VENDOR,
            subsystem: spec::DEVICE,
        });
        function.add_bar(spec::IO_BAR, BarKind::Io, spec::PORTS_LEN.into());
        function
    }

    fn doorbells(&self) -> Arc<NoDoorbells> {
        Arc::default()
    }

    fn set_bus_master(&mut self, _on: bool) {}

    fn set_link(&mut self, up: bool, _now: Instant) {
        self.state.link = up;
    }

    fn read(&mut self, at: Access, _now: Instant) -> u32 {
        let value = match at.offset {
            _ if at.bar != spec::IO_BAR => u32::MAX,
            spec::DATA_PORT..=spec::LAST_DATA_PORT => self.state.read_port(at.width),
            spec::RESET_PORT..=spec::LAST_RESET_PORT => {
                self.state.reset();
                0
            }
            0..=spec::LAST_REGISTER => {
                let mut bytes = [0; 4];
                for (byte, offset) in bytes
                    .iter_mut()
                    .zip(at.offset..at.offset + at.width.bytes())
                {
                    *byte = self.state.read_register(offset);
                }
                u32::from_le_bytes(bytes)
            }
            _ => u32::MAX,
        };
        self.update_pin();
        value
    }

    fn write(&mut self, at: Access, value: u32, _now: Instant) -> bool {
        if at.bar != spec::IO_BAR {
            return false;
        }
        match at.offset {
            spec::DATA_PORT..=spec::LAST_DATA_PORT => self.state.write_port(at.width, value),
            0..=spec::LAST_REGISTER => {
                let lanes = at.offset..at.offset + at.width.bytes();
                for (offset, byte) in lanes.zip(value.to_le_bytes()) {
                    self.state.write_register(offset, byte);
                }
            }
            _ => {}
        }
        // Every frame costs a dozen writes, of which one at most concerns the thread.
        let transmits = at.offset == spec::CR && self.state.cr & spec::CR_TXP != 0;
        let unblocked = self.remind();
        self.update_pin();
        transmits || unblocked
    }

    fn read_string(&mut self, at: Access, data: &mut [u8]) -> bool {
        let done = is_data_port(at);
        if done {
            self.state.read_ports(at.width, data);
            self.update_pin();
        }
        done
    }

    fn write_string(&mut self, at: Access, data: &[u8]) -> bool {
        let done = is_data_port(at);
        if done {
            self.state.write_ports(at.width, data);
            self.update_pin();
        }
        done
    }

    /// A driver that is interrupted at the end of a transfer waits for what nobody has brought to its end.
    fn quiet(&self) -> bool {
        self.state.imr & spec::ISR_RDC == 0
    }

    fn burst(&mut self, wire: &mut dyn Wire, now: Instant) -> Burst {
        self.move_frames(wire, now)
    }

    fn restarted(&mut self) {}

    fn save(&self, now: Instant) -> Saved {
        self.snapshot(now)
    }

    fn restore(&mut self, saved: Saved, now: Instant) {
        self.resume(saved, now);
    }
}

fn is_data_port(at: Access) -> bool {
    let ports = spec::DATA_PORT..=spec::LAST_DATA_PORT;
    at.bar == spec::IO_BAR && ports.contains(&at.offset)
}
