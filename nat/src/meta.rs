//! Frames with what is known of them beside their bytes, and where they go.

/// What the sum of a frame's TCP or UDP header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// Nothing is known: in the frame, to be verified.
    #[default]
    Unknown,
    /// Verified by somebody trusted, or never left this host.
    Valid,
    /// The field holds the sum of the pseudo-header only (virtio 1.2, 5.1.6.2): the rest from `start` on is to be added, by
    /// whoever sends the frame over a wire.
    Partial {
        /// offset in the frame from which on is summed
        start: u16,
        /// offset of the field, from `start`
        offset: u16,
    },
}

/// What a large frame is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP segments over IPv4
    Tcp4,
    /// TCP segments over IPv6
    Tcp6,
    /// UDP datagrams (USO)
    Udp,
}

/// A frame that stands for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gso {
    /// what they are
    pub kind: GsoKind,
    /// payload bytes of each
    pub size: u16,
    /// bytes of headers in front of the payload
    pub header_len: u16,
}

/// What goes beside a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameMeta {
    /// state of the transport checksum
    pub checksum: Checksum,
    /// the frame stands for several
    pub gso: Option<Gso>,
}

/// Frames to the network.
pub trait Output {
    /// Sends a frame of `len` bytes that `fill` writes in place; `fill` is called once, with exactly `len` bytes whose content is
    /// undefined. False: there is no room, and nothing was called or sent.
    ///
    /// At least 65 550 bytes fit: an IP packet of 65 535 with its Ethernet header.
    fn emit(&mut self, len: usize, meta: FrameMeta, fill: &mut dyn FnMut(&mut [u8])) -> bool;

    /// Frames that surely find room now, however long they are. Who is told that there are none waits, as after an [`Output::emit`]
    /// without room.
    fn room(&mut self) -> usize;

    /// Frames of `len` bytes that surely find room now.
    fn room_for(&mut self, len: usize) -> usize {
        let _ = len;
        self.room()
    }
}
