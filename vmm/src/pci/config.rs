//! The 256 bytes of a function's configuration space, with write masks.
use super::spec;
use thiserror::Error;

/// Bytes of a conventional function's configuration space.
pub const CONFIG_SPACE_LEN: usize = 256;
/// Where the capability list starts: right after the type-0 header.
const FIRST_CAPABILITY: usize = 0x40;

/// The identity that a function shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision ID.
    pub revision: u8,
    /// Class code: base class, subclass, programming interface (24 bits).
    pub class: u32,
    /// Subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// Subsystem ID.
    pub subsystem: u16,
}

/// A capability that found no room: a mistake of the device model, not of the guest.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("no room for {0} bytes of PCI capability {1:#04x}")]
pub struct CapabilityError(usize, u8);

/// Configuration bytes, the bits the guest may change, and the bits it clears by writing ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSpace {
    bytes: [u8; CONFIG_SPACE_LEN],
    writable: [u8; CONFIG_SPACE_LEN],
    write_one_to_clear: [u8; CONFIG_SPACE_LEN],
    last_capability: usize,
    free: usize,
}

impl ConfigSpace {
    /// A type-0 header with the registers every function has.
    pub fn new(identity: &Identity) -> Self {
        let mut config = Self {
            bytes: [0; CONFIG_SPACE_LEN],
            writable: [0; CONFIG_SPACE_LEN],
            write_one_to_clear: [0; CONFIG_SPACE_LEN],
            last_capability: 0,
            free: FIRST_CAPABILITY,
        };
        config.set_u16(spec::VENDOR_ID, identity.vendor);
        config.set_u16(spec::DEVICE_ID, identity.device);
        config.set(spec::REVISION_ID, &[identity.revision]);
        let [_, base, sub, interface] = identity.class.to_be_bytes();
        config.set(spec::CLASS_CODE, &[interface, sub, base]);
        config.set_u16(spec::SUBSYSTEM_VENDOR_ID, identity.subsystem_vendor);
        config.set_u16(spec::SUBSYSTEM_ID, identity.subsystem);
        let command = spec::COMMAND_IO
            | spec::COMMAND_MEMORY
            | spec::COMMAND_BUS_MASTER
            | spec::COMMAND_PARITY
            | spec::COMMAND_SERR
            | spec::COMMAND_INTX_DISABLE;
        config.allow_writes(spec::COMMAND, &command.to_le_bytes());
        config.allow_writes(spec::CACHE_LINE_SIZE, &[0xff]);
        config.allow_writes(spec::LATENCY_TIMER, &[0xff]);
        config.allow_writes(spec::INTERRUPT_LINE, &[0xff]);
        let rw1c = spec::STATUS_RW1C.to_le_bytes();
        copy_at(&mut config.write_one_to_clear, spec::STATUS, &rw1c);
        config
    }

    /// What the guest reads. Bytes beyond the 256 of a conventional function read as ones.
    pub fn read(&self, offset: u16, data: &mut [u8]) {
        for (at, byte) in (usize::from(offset)..).zip(data) {
            *byte = self.bytes.get(at).copied().unwrap_or(0xff);
        }
    }

    /// What the guest writes, through the masks. Bytes beyond the space are lost.
    pub fn write(&mut self, offset: u16, data: &[u8]) {
        let start = usize::from(offset).min(CONFIG_SPACE_LEN);
        let registers = self.bytes[start..].iter_mut();
        let masks = self.writable[start..]
            .iter()
            .zip(&self.write_one_to_clear[start..]);
        for ((byte, (writable, clear)), new) in registers.zip(masks).zip(data) {
            *byte = (*byte & !writable & !(new & clear)) | (new & writable);
        }
    }

    /// Sets bytes from the device side, past all masks.
    pub fn set(&mut self, offset: u16, data: &[u8]) {
        copy_at(&mut self.bytes, offset, data);
    }

    /// Sets a little-endian register from the device side.
    pub fn set_u16(&mut self, offset: u16, value: u16) {
        self.set(offset, &value.to_le_bytes());
    }

    /// Sets a little-endian register from the device side.
    pub fn set_u32(&mut self, offset: u16, value: u32) {
        self.set(offset, &value.to_le_bytes());
    }

    /// A register's value.
    pub fn u16(&self, offset: u16) -> u16 {
        let mut bytes = [0; 2];
        self.read(offset, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// A register's value.
    pub fn u32(&self, offset: u16) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Lets the guest write the bits set in `mask` at `offset`.
    pub fn allow_writes(&mut self, offset: u16, mask: &[u8]) {
        copy_at(&mut self.writable, offset, mask);
    }

    /// Appends a capability to the list: ID and next pointer are put before `body`. Returns its
    /// offset.
    pub fn add_capability(&mut self, id: u8, body: &[u8]) -> Result<u16, CapabilityError> {
        let len = body.len() + 2;
        let start = self.free;
        let end = start + len;
        if end > CONFIG_SPACE_LEN {
            return Err(CapabilityError(len, id));
        }
        self.bytes[start] = id;
        self.bytes[start + 1] = 0;
        self.bytes[start + 2..end].copy_from_slice(body);
        let link = match self.last_capability {
            0 => usize::from(spec::CAPABILITIES_POINTER),
            last => last + 1,
        };
        self.bytes[link] = u8::try_from(start).map_err(|_| CapabilityError(len, id))?;
        self.last_capability = start;
        // PCI 3.0, 6.7: capabilities are dword aligned.
        self.free = end.next_multiple_of(4);
        let status = self.u16(spec::STATUS) | spec::STATUS_CAPABILITIES;
        self.set_u16(spec::STATUS, status);
        u16::try_from(start).map_err(|_| CapabilityError(len, id))
    }
}

/// Copies `data` to `offset`, as far as it fits.
fn copy_at(bytes: &mut [u8; CONFIG_SPACE_LEN], offset: u16, data: &[u8]) {
    let start = usize::from(offset).min(CONFIG_SPACE_LEN);
    for (byte, new) in bytes[start..].iter_mut().zip(data) {
        *byte = *new;
    }
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
