//! Registers of a type-0 configuration header and of the capabilities we build.
//!
//! Names and offsets: PCI Local Bus Specification 3.0, chapter 6 ("PCI 3.0" in comments).

/// Vendor ID (6.2.1).
pub const VENDOR_ID: u16 = 0x00;
/// Device ID.
pub const DEVICE_ID: u16 = 0x02;
/// Command (6.2.2).
pub const COMMAND: u16 = 0x04;
/// Status (6.2.3).
pub const STATUS: u16 = 0x06;
/// Revision ID.
pub const REVISION_ID: u16 = 0x08;
/// Class code: programming interface, subclass, base class.
pub const CLASS_CODE: u16 = 0x09;
/// Cache line size.
pub const CACHE_LINE_SIZE: u16 = 0x0c;
/// Latency timer.
pub const LATENCY_TIMER: u16 = 0x0d;
/// Header type; 0: one function, type-0 header.
pub const HEADER_TYPE: u16 = 0x0e;
/// First base address register (6.2.5); six of four bytes each.
pub const BAR0: u16 = 0x10;
/// Subsystem vendor ID (6.2.4).
pub const SUBSYSTEM_VENDOR_ID: u16 = 0x2c;
/// Subsystem ID.
pub const SUBSYSTEM_ID: u16 = 0x2e;
/// Capabilities pointer (6.7).
pub const CAPABILITIES_POINTER: u16 = 0x34;
/// Interrupt line: scratch of firmware and OS.
pub const INTERRUPT_LINE: u16 = 0x3c;
/// Interrupt pin: 1 = INTA.
pub const INTERRUPT_PIN: u16 = 0x3d;

/// Command: respond to I/O space.
pub const COMMAND_IO: u16 = 1 << 0;
/// Command: respond to memory space.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// Command: may master the bus.
pub const COMMAND_BUS_MASTER: u16 = 1 << 2;
/// Command: parity error response.
pub const COMMAND_PARITY: u16 = 1 << 6;
/// Command: SERR# enable.
pub const COMMAND_SERR: u16 = 1 << 8;
/// Command: INTx must not be asserted.
pub const COMMAND_INTX_DISABLE: u16 = 1 << 10;

/// Status: INTx is pending, whether or not the command register lets it out.
pub const STATUS_INTERRUPT: u16 = 1 << 3;
/// Status: there is a capability list.
pub const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Status: error bits, cleared by writing ones.
pub const STATUS_RW1C: u16 = 0xf900;

/// Bits of an I/O BAR that are not address: the space indicator (6.2.5.1).
pub const BAR_IO_FLAGS: u32 = 0x3;
/// Bits of a memory BAR that are not address.
pub const BAR_MEMORY_FLAGS: u32 = 0xf;
/// BAR is in I/O space.
pub const BAR_IO: u32 = 0x1;
/// Memory BAR takes two registers.
pub const BAR_MEMORY_64: u32 = 0x4;

/// Capability ID: vendor specific.
pub const CAP_VENDOR: u8 = 0x09;
/// Capability ID: MSI-X.
pub const CAP_MSIX: u8 = 0x11;

/// MSI-X message control: enable (6.8.2.3).
pub const MSIX_ENABLE: u16 = 1 << 15;
/// MSI-X message control: function mask.
pub const MSIX_FUNCTION_MASK: u16 = 1 << 14;
/// MSI-X vector control: mask (6.8.2.9).
pub const MSIX_VECTOR_MASK: u32 = 1;
/// Bytes of an MSI-X table entry.
pub const MSIX_ENTRY_LEN: u64 = 16;
/// Vectors at most (6.8.2).
pub const MSIX_MAX_VECTORS: usize = 2048;
