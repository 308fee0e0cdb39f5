//! The NIC on the bus. Its BARs have addresses: firmware gave them, or `vmm`.

use crate::io::{in32, out32};

/// `CONFIG_ADDRESS` and `CONFIG_DATA` (PCI 3.0, 3.2.2.3.2).
const ADDRESS: u16 = 0xCF8;
const DATA: u16 = 0xCFC;
const ENABLE: u32 = 1 << 31;
const SLOTS: u32 = 32;

const COMMAND: u32 = 0x04;
/// I/O and memory space, bus master.
const COMMAND_ALL: u32 = 7;
const CLASS: u32 = 0x08;
/// Base class 2, subclass 0: an Ethernet controller.
const ETHERNET: u32 = 0x0200;
const BAR0: u32 = 0x10;

pub struct Nic {
    slot: u32,
}

impl Nic {
    /// The first one on bus 0, switched on.
    pub fn find() -> Option<Self> {
        let nic = (0..SLOTS)
            .map(|slot| Self { slot })
            .find(|nic| nic.read(CLASS) >> 16 == ETHERNET)?;
        nic.write(COMMAND, COMMAND_ALL);
        Some(nic)
    }

    /// Address in memory space of a BAR.
    pub fn memory(&self, bar: u32) -> u32 {
        self.read(BAR0 + 4 * bar) & !0xF
    }

    /// The first port of a BAR in I/O space.
    pub fn ports(&self, bar: u32) -> u16 {
        let [low, high, ..] = (self.read(BAR0 + 4 * bar) & !0x3).to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    fn read(&self, register: u32) -> u32 {
        self.select(register);
        in32(DATA)
    }

    fn write(&self, register: u32, value: u32) {
        self.select(register);
        out32(DATA, value);
    }

    fn select(&self, register: u32) {
        out32(ADDRESS, ENABLE | self.slot << 11 | register);
    }
}
