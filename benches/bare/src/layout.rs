//! Where things are in the guest's memory. All of it is below 16 MiB, where nothing else is.

/// The stack grows down from here.
pub const STACK_TOP: u32 = 0x20_0000;
/// Descriptors of packets to send.
pub const SEND_RING: u32 = 0x20_0000;
/// Descriptors of buffers for packets that come.
pub const RECEIVE_RING: u32 = 0x21_0000;
/// Where a NIC reads what it shall be.
pub const INIT_BLOCK: u32 = 0x22_0000;
/// The frame that is sent, over and over; a frame of TCP segmentation has up to 64 KiB.
pub const FRAME: u32 = 0x30_0000;
/// Buffers for frames that come, `BUFFER` bytes each.
pub const BUFFERS: u32 = 0x40_0000;
/// Bytes of such a buffer.
pub const BUFFER: u32 = 2048;
