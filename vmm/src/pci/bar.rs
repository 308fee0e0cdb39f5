//! Base address registers: what a function decodes, and where.
use super::config::ConfigSpace;
use super::spec;
use crate::interrupt::DoorbellAddress;

/// Base address registers of a type-0 header.
pub const BAR_COUNT: u8 = 6;

/// Which address space a BAR asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes this register and the next one.
    Memory64,
}

/// A range that a function decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// Register, 0 to 5.
    pub index: u8,
    /// Address space.
    pub kind: BarKind,
    /// Bytes; a power of two, at least 16 (memory) or 4 (I/O).
    pub size: u64,
}

/// Where a BAR is decoded right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarAddress {
    /// First I/O port.
    Io(u64),
    /// First guest physical address.
    Memory(u64),
}

impl BarAddress {
    /// `offset` bytes from there, unless the address space ends before.
    pub fn at(self, offset: u32) -> Option<DoorbellAddress> {
        let (Self::Io(base) | Self::Memory(base)) = self;
        let address = base.checked_add(offset.into())?;
        match self {
            Self::Io(_) => u16::try_from(address).ok().map(DoorbellAddress::Pio),
            Self::Memory(_) => Some(DoorbellAddress::Mmio(address)),
        }
    }
}

impl Bar {
    fn register(&self) -> u16 {
        spec::BAR0 + 4 * u16::from(self.index)
    }

    /// Makes the registers of this BAR: type bits fixed, address bits above the size writable, so
    /// that the sizing protocol (PCI 3.0, 6.2.5.1: write ones, read back) needs no code of its own.
    pub(super) fn declare(&self, config: &mut ConfigSpace) {
        let mask = !(self.size - 1);
        let (flags, mask) = match self.kind {
            BarKind::Io => (spec::BAR_IO, mask & !u64::from(spec::BAR_IO_FLAGS)),
            BarKind::Memory32 => (0, mask & !u64::from(spec::BAR_MEMORY_FLAGS)),
            BarKind::Memory64 => (
                spec::BAR_MEMORY_64,
                mask & !u64::from(spec::BAR_MEMORY_FLAGS),
            ),
        };
        config.set_u32(self.register(), flags);
        let mask = mask.to_le_bytes();
        let width = if self.kind == BarKind::Memory64 { 8 } else { 4 };
        config.allow_writes(self.register(), &mask[..width]);
    }

    /// The base address programmed, decoded or not.
    pub fn base(&self, config: &ConfigSpace) -> u64 {
        let low = config.u32(self.register());
        match self.kind {
            BarKind::Io => u64::from(low & !spec::BAR_IO_FLAGS),
            BarKind::Memory32 => u64::from(low & !spec::BAR_MEMORY_FLAGS),
            BarKind::Memory64 => {
                let high = u64::from(config.u32(self.register() + 4));
                high << 32 | u64::from(low & !spec::BAR_MEMORY_FLAGS)
            }
        }
    }

    /// Programs the base address, as firmware does.
    pub fn set_base(&self, config: &mut ConfigSpace, base: u64) {
        let flags = u64::from(config.u32(self.register()) & spec::BAR_MEMORY_FLAGS);
        let bytes = (base | flags).to_le_bytes();
        let width = if self.kind == BarKind::Memory64 { 8 } else { 4 };
        config.set(self.register(), &bytes[..width]);
    }

    /// Where it is decoded: `None` while the command register says no, or at addresses that cannot
    /// be (0, past the port space, past the end of the address space: what a half-done sizing
    /// leaves behind).
    pub fn decoded(&self, config: &ConfigSpace) -> Option<BarAddress> {
        let command = config.u16(spec::COMMAND);
        let base = self.base(config);
        let end = base.checked_add(self.size)?;
        match self.kind {
            _ if base == 0 => None,
            BarKind::Io => {
                (command & spec::COMMAND_IO != 0 && end <= 0x1_0000).then_some(BarAddress::Io(base))
            }
            BarKind::Memory32 | BarKind::Memory64 => {
                (command & spec::COMMAND_MEMORY != 0).then_some(BarAddress::Memory(base))
            }
        }
    }
}
