//! What an emulated NIC sends and receives frames through: the driver side of a back-end's rings.
mod arena;
mod checksum;
mod rings;

pub use checksum::{Sum, complete, replace_partial};
pub use rings::{RingWire, WireError};

use virtqueue::{DriverBuffer, NET_HEADER_LEN, NetHeader};

/// Bytes of a frame that may be given as a private copy in front of the buffers in guest memory: a whole standard frame.
pub const MAX_HEAD: usize = (2 << 10) - NET_HEADER_LEN;
/// Buffers of one frame at most.
pub const MAX_BUFFERS: usize = 128;
/// The longest frame that is received: 16 KiB, more than any of our NICs takes.
pub const MAX_RECEIVED: usize = 16 << 10;

/// What the back-end does for frames that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offloads {
    /// Completes partial checksums.
    pub checksum: bool,
    /// Segments TCP over IPv4.
    pub tso4: bool,
    /// Segments TCP over IPv6.
    pub tso6: bool,
    /// Segments packets with CWR, which only the first segment may have.
    pub ecn: bool,
}

/// A frame on its way out.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Offloads asked for.
    pub header: &'a NetHeader,
    /// First bytes, copied now.
    pub head: &'a [u8],
    /// The rest, in guest memory; checked by the caller, read until the frame is reported as sent.
    pub body: &'a [DriverBuffer],
    /// Comes back when it is sent.
    pub token: u64,
}

/// The far end of a NIC.
pub trait Wire: Send {
    /// What it can do.
    fn offloads(&self) -> Offloads;
    /// Queues a frame; false: no room now, try again after the next one was sent.
    fn send(&mut self, frame: &Outgoing<'_>) -> bool;
    /// Makes queued frames known, once per burst.
    fn flush(&mut self);
    /// The token of a frame whose memory is no longer read.
    fn sent(&mut self) -> Option<u64>;
    /// Whether something came in that was not moved yet.
    fn has_received(&self) -> bool;
    /// Moves the next frame that came in to `frame`.
    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<NetHeader>;
    /// Forgets the frames on their way out; after it their memory is read no more.
    fn restart(&mut self);
}
