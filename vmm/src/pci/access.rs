//! The two ways to configuration space: ports 0xCF8/0xCFC and the memory-mapped ECAM window.
use super::bus::{FunctionAddress, PciBus};
use crate::bus::BusDevice;

/// First of the eight ports of configuration mechanism #1 (PCI 3.0, 3.2.2.3.2).
pub const CONFIG_PORTS: u64 = 0xcf8;
/// Number of those ports.
pub const CONFIG_PORTS_LEN: u64 = 8;
/// Bytes of the ECAM window of one bus (PCI Express 3.0, 7.2.2): 4 KiB per function.
pub const ECAM_LEN: u64 = 1 << 20;

/// CONFIG_ADDRESS: the next data access goes to configuration space.
const ENABLE: u32 = 1 << 31;
/// CONFIG_ADDRESS: bits that exist; the others read as 0.
const ADDRESS_MASK: u32 = 0x80ff_fffc;
/// Offset of CONFIG_DATA.
const DATA: u64 = 4;

/// Configuration mechanism #1.
#[derive(Debug)]
pub struct ConfigPorts {
    bus: PciBus,
    address: u32,
}

impl ConfigPorts {
    /// The ports of `bus`.
    pub fn new(bus: PciBus) -> Self {
        Self { bus, address: 0 }
    }

    /// The function and register that an access at CONFIG_DATA + `byte` means.
    fn target(&self, byte: u64) -> Option<(FunctionAddress, u16)> {
        let [register, devfn, bus, _] = self.address.to_le_bytes();
        if self.address & ENABLE == 0 || bus != 0 {
            return None;
        }
        let byte = u16::try_from(byte).ok()?;
        Some((
            FunctionAddress {
                slot: devfn >> 3,
                function: devfn & 7,
            },
            u16::from(register) + byte,
        ))
    }
}

impl BusDevice for ConfigPorts {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        let Some(byte) = offset.checked_sub(DATA) else {
            // Only a whole dword reaches CONFIG_ADDRESS; other accesses there are ordinary port
            // accesses.
            if offset == 0 && data.len() == 4 {
                data.copy_from_slice(&self.address.to_le_bytes());
            }
            return;
        };
        let room = usize::try_from(4u64.saturating_sub(byte)).unwrap_or(0);
        let len = data.len().min(room);
        if let (Some((function, register)), Some(data)) = (self.target(byte), data.get_mut(..len)) {
            self.bus.config_read(function, register, data);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let Some(byte) = offset.checked_sub(DATA) else {
            if let (0, Ok(address)) = (offset, <[u8; 4]>::try_from(data)) {
                self.address = u32::from_le_bytes(address) & ADDRESS_MASK;
            }
            return;
        };
        let room = usize::try_from(4u64.saturating_sub(byte)).unwrap_or(0);
        let len = data.len().min(room);
        if let (Some((function, register)), Some(data)) = (self.target(byte), data.get(..len)) {
            self.bus.config_write(function, register, data);
        }
    }
}

/// The ECAM window of bus 0.
#[derive(Debug)]
pub struct Ecam {
    bus: PciBus,
}

impl Ecam {
    /// The window of `bus`.
    pub fn new(bus: PciBus) -> Self {
        Self { bus }
    }
}

/// The function and register of an offset in the window, and how many bytes are left in that
/// function.
fn ecam_target(offset: u64) -> Option<(FunctionAddress, u16, usize)> {
    if offset >= ECAM_LEN {
        return None;
    }
    let register = u16::try_from(offset & 0xfff).ok()?;
    Some((
        FunctionAddress {
            slot: u8::try_from(offset >> 15).ok()?,
            function: u8::try_from(offset >> 12 & 7).ok()?,
        },
        register,
        0x1000 - usize::from(register),
    ))
}

impl BusDevice for Ecam {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((function, register, room)) = ecam_target(offset) {
            let len = data.len().min(room);
            if let Some(data) = data.get_mut(..len) {
                self.bus.config_read(function, register, data);
            }
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let Some((function, register, room)) = ecam_target(offset) {
            let len = data.len().min(room);
            if let Some(data) = data.get(..len) {
                self.bus.config_write(function, register, data);
            }
        }
    }
}
