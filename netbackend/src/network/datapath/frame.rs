//! Frames of a burst in private memory, and frames on their way out.
use super::{BURST, flow, heads::Heads, packet::Packet, tap_io::TapIo};
use crate::{
    network::{command::PortOffloads, sys::IoVecs},
    offload::{self, Segmentation, Validated},
};
use std::ops::Range;
use switch::PortId;
use virtqueue::{Burst, Cursor, LocalReceiver, NetHeader, Segments};

/// Bytes of each frame that are copied once and steer everything.
pub(super) const HEAD: usize = offload::HEAD_LEN;
/// Smallest frame: an Ethernet header.
pub(super) const MIN_FRAME: u32 = 14;
/// Largest frame: a GSO frame with 64 KiB of IPv6 payload, its header, two VLAN tags and Ethernet.
pub(super) const MAX_FRAME: u32 = 65_535 + 40 + 8 + 14;
// The gateway of a NAT network takes all that is carried.
const _: () = assert!(MAX_FRAME as usize <= LocalReceiver::LONGEST_FRAME);

/// A frame as taken from its source. What steers its way is in `validated` and among the [`Heads`]; the rest is only ever
/// copied. Small, because it is moved about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// It asks for nothing, and is in the heads as a receiver takes it.
    plain: bool,
    /// What its header asks for.
    validated: Validated,
    /// Somebody we trust (a kernel behind a tap) has verified its checksum.
    data_valid: bool,
    /// Bytes of the frame, virtio-net header excluded.
    pub(super) len: u32,
    /// Where its bytes are: index of the head, and of the chain in the burst or of the tap buffer.
    pub(super) place: usize,
}

impl Frame {
    /// A frame of `len` bytes that asks for nothing, as its head says by now ([`Heads::read`]).
    #[inline]
    pub(super) fn plain(len: u32, place: usize) -> Self {
        Self {
            plain: true,
            validated: Validated::PLAIN,
            data_valid: false,
            len,
            place,
        }
    }

    /// A frame of `len` bytes that starts with `head`; `None`: its header asks for what does not fit it.
    pub(super) fn new(header: &NetHeader, head: &[u8], len: u32, place: usize) -> Option<Self> {
        let frame_len = usize::try_from(len).ok()?;
        let validated = offload::validate(header, head, frame_len).ok()?;
        Some(Self {
            plain: false,
            validated,
            data_valid: false,
            len,
            place,
        })
    }

    /// Notes that its checksum was verified.
    pub(super) fn with_data_valid(mut self, data_valid: bool) -> Self {
        self.data_valid = data_valid && !self.validated.needs_csum();
        self
    }

    /// Whether its sender negotiated what its header asks for (virtio 1.2, 5.1.6.2.1).
    pub(super) fn is_within(&self, offloads: PortOffloads) -> bool {
        let header = self.validated.header();
        let segmentation = match self.validated.segmentation() {
            None => true,
            Some(Segmentation::Tso4) => offloads.tx_tso4,
            Some(Segmentation::Tso6) => offloads.tx_tso6,
            Some(Segmentation::Ufo) => offloads.tx_ufo,
            Some(Segmentation::Uso4 | Segmentation::Uso6) => offloads.tx_uso,
        };
        segmentation
            && (!header.ecn || offloads.tx_ecn)
            && (!header.needs_csum || offloads.tx_checksum)
    }

    /// Bytes of the frame that are in its head.
    #[inline]
    fn head_len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(HEAD).min(HEAD)
    }
}

/// Source address of the frame that starts with `head`.
pub(super) fn source_mac(head: &[u8]) -> [u8; 6] {
    let source = head.get(6..).and_then(|rest| rest.first_chunk());
    source.copied().unwrap_or_default()
}

/// Hash of the flow that the frame belongs to which starts with `head`.
pub(super) fn flow_hash(head: &[u8]) -> u32 {
    flow::hash(head)
}

/// Where the rest of a frame comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    /// Guest memory; the whole frame, its start included, lies at the offset.
    Guest(Segments<'a>, u32),
    /// Private memory that follows the start.
    Private(&'a [u8]),
}

/// A frame on its way out: a private start, then the rest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) validated: &'a Validated,
    pub(super) data_valid: bool,
    head: &'a [u8],
    body: Body<'a>,
    pub(super) len: u32,
}

impl<'a> Outgoing<'a> {
    /// A plain frame, all in private memory, in two pieces.
    pub(super) fn plain(head: &'a [u8], rest: &'a [u8]) -> Self {
        Self {
            validated: &Validated::PLAIN,
            data_valid: false,
            head,
            body: Body::Private(rest),
            len: u32::try_from(head.len() + rest.len()).unwrap_or(u32::MAX),
        }
    }

    /// The same frame with its first `taken` bytes replaced by `head`.
    pub(super) fn with_head(
        mut self,
        validated: &'a Validated,
        taken: usize,
        head: &'a [u8],
    ) -> Option<Self> {
        let behind = self.head.get(taken..)?;
        let change = i32::try_from(head.len()).ok()? - i32::try_from(taken).ok()?;
        self.body = match self.body {
            // It lies behind a virtio-net header, which is longer than a tag.
            Body::Guest(segments, start) if behind.is_empty() => {
                Body::Guest(segments, start.checked_add_signed(-change)?)
            }
            Body::Private(rest) if behind.is_empty() => Body::Private(rest),
            Body::Private([]) => Body::Private(behind),
            Body::Guest(..) | Body::Private(_) => return None,
        };
        self.validated = validated;
        self.head = head;
        self.len = self.len.checked_add_signed(change)?;
        Some(self)
    }

    /// The start of the frame.
    pub(super) fn head(&self) -> &'a [u8] {
        self.head
    }

    /// Whether the driver behind a port did not negotiate what the frame asks of it.
    #[inline]
    pub(super) fn is_beyond(&self, offloads: PortOffloads) -> bool {
        if !self.validated.needs_csum() {
            // Nothing can be asked for without a checksum (see `offload::validate`).
            return false;
        }
        let header = self.validated.header();
        let segmentation = match self.validated.segmentation() {
            None => true,
            Some(Segmentation::Tso4) => offloads.rx_tso4,
            Some(Segmentation::Tso6) => offloads.rx_tso6,
            Some(Segmentation::Ufo) => offloads.rx_ufo,
            Some(Segmentation::Uso4) => offloads.rx_uso4,
            Some(Segmentation::Uso6) => offloads.rx_uso6,
        };
        !segmentation
            || header.ecn && !offloads.rx_ecn
            || header.needs_csum && !offloads.rx_checksum
    }

    /// The header for a receiver that takes what the frame asks for.
    pub(super) fn header(&self) -> NetHeader {
        NetHeader {
            data_valid: self.data_valid,
            ..*self.validated.header()
        }
    }

    /// Its bytes, to be read one after the other.
    #[inline]
    pub(super) fn reader(&self) -> Reader<'a> {
        // The start lies in both.
        let start = u32::try_from(self.head.len()).unwrap_or(u32::MAX);
        Reader {
            head: self.head,
            rest: match self.body {
                Body::Guest(segments, at) => Rest::Guest(segments.cursor(at.saturating_add(start))),
                Body::Private(rest) => Rest::Private(rest),
            },
        }
    }

    /// Copies the whole frame into `to`; `None`: it does not fit.
    pub(super) fn linearize<'b>(&self, to: &'b mut [u8]) -> Option<&'b mut [u8]> {
        let len = usize::try_from(self.len).ok()?;
        let to = to.get_mut(..len)?;
        let (start, rest) = to.split_at_mut_checked(self.head.len())?;
        start.copy_from_slice(self.head);
        let offset = u32::try_from(self.head.len()).ok()?;
        match self.body {
            _ if rest.is_empty() => {}
            Body::Guest(segments, at) => {
                if segments.read_at(at + offset, rest) != rest.len() {
                    return None;
                }
            }
            Body::Private(bytes) => {
                rest.copy_from_slice(bytes.get(..rest.len())?);
            }
        }
        Some(to)
    }

    /// Appends the ranges of the frame for one `writev`; false: not all of it is there.
    pub(super) fn gather(&self, vecs: &mut IoVecs) -> bool {
        vecs.push(self.head);
        let Ok(offset) = u32::try_from(self.head.len()) else {
            return false;
        };
        let Some(left) = self.len.checked_sub(offset) else {
            return false;
        };
        match self.body {
            _ if left == 0 => true,
            Body::Guest(segments, at) => {
                segments.append_iovecs(at + offset, left, &mut vecs.0) == left
            }
            Body::Private(rest) => {
                vecs.push(rest);
                true
            }
        }
    }
}

/// What is still to be read of a frame on its way out.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    head: &'a [u8],
    rest: Rest<'a>,
}

#[derive(Debug)]
enum Rest<'a> {
    Guest(Cursor<'a>),
    Private(&'a [u8]),
}

impl Reader<'_> {
    /// Copies the next `len` bytes to `at` in a chain; false: there are fewer, or it has less room.
    #[inline]
    pub(super) fn copy_to(&mut self, len: u32, to: &Segments<'_>, at: u32) -> bool {
        // In all chains but the first.
        if self.head.is_empty() {
            return self.copy_rest(len, to, at);
        }
        match write_front(&mut self.head, len, to, at) {
            None => false,
            Some(0) => true,
            Some(left) => self.copy_rest(left, to, at + (len - left)),
        }
    }

    #[inline]
    fn copy_rest(&mut self, len: u32, to: &Segments<'_>, at: u32) -> bool {
        match &mut self.rest {
            Rest::Guest(cursor) => cursor.copy_to(to, at, len) == len,
            Rest::Private(rest) => write_front(rest, len, to, at) == Some(0),
        }
    }
}

/// Writes what `bytes` has of `len` to `at` in a chain and takes it off; how many of `len` are left. `None`: the chain has less room.
#[inline]
fn write_front(bytes: &mut &[u8], len: u32, to: &Segments<'_>, at: u32) -> Option<u32> {
    let count = bytes.len().min(usize::try_from(len).ok()?);
    let (front, behind) = bytes.split_at_checked(count)?;
    *bytes = behind;
    if to.write_at(at, front) != count {
        return None;
    }
    len.checked_sub(u32::try_from(count).ok()?)
}

fn range(bytes: &[u8], offset: u32, len: u32) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    bytes.get(start..end)
}

/// The frames of the burst at hand and where their bytes are.
#[derive(Debug)]
pub(super) struct Frames {
    /// The port that they came in by.
    pub(super) source: PortId,
    /// In the order they were sent.
    pub(super) list: Vec<Frame>,
    /// How each of them begins.
    pub(super) heads: Heads,
    /// Chains of the source ring; empty for a tap.
    pub(super) burst: Burst,
    /// Bytes of `struct virtio_net_hdr` before each frame in the burst.
    pub(super) header_len: u32,
    /// How many frames of the burst are not in the list because they cannot be carried.
    pub(super) malformed: usize,
    /// One packet each, read from a tap.
    pub(super) tap_buffers: TapBuffers,
    /// The way from a tap.
    pub(super) tap_io: TapIo,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            source: PortId(0),
            list: Vec::with_capacity(BURST),
            heads: Heads::new(),
            burst: Burst::new(),
            header_len: 0,
            malformed: 0,
            tap_buffers: TapBuffers::new(),
            tap_io: TapIo::default(),
        }
    }

    /// Bytes of frame `index` of the list.
    #[inline]
    pub(super) fn len_of(&self, index: u16) -> u32 {
        let frame = self.list.get(usize::from(index));
        frame.map_or(0, |frame| frame.len)
    }

    /// The private copy of a frame's start.
    #[inline]
    pub(super) fn head(&self, frame: &Frame) -> &[u8] {
        self.heads.start(frame.place, frame.head_len())
    }

    /// A frame of the list as it leaves to a receiver with the whole header, if that is all there is to it; `None`: not so simple.
    #[inline]
    pub(super) fn packet(&self, frame: &Frame) -> Option<Packet<'_>> {
        if !frame.plain {
            return None;
        }
        let start = self.heads.packet(frame.place, frame.head_len())?;
        Packet::new(start, frame.len, || {
            let chain = self.burst.chain(frame.place)?;
            Some((chain.readable(), self.header_len))
        })
    }

    /// A frame of the list as it leaves: unchanged.
    #[inline]
    pub(super) fn outgoing<'a>(&'a self, frame: &'a Frame) -> Outgoing<'a> {
        let (head, body) = if let Some(chain) = self.burst.chain(frame.place) {
            let body = Body::Guest(chain.readable(), self.header_len);
            (self.head(frame), body)
        } else {
            // Private already: all of it is the start.
            let whole = self.tap_buffers.frame(frame.place, frame.len);
            (whole.unwrap_or_default(), Body::Private(&[][..]))
        };
        Outgoing {
            validated: &frame.validated,
            data_valid: frame.data_valid,
            head,
            body,
            len: frame.len,
        }
    }

    /// Makes one plain frame of ours the whole burst; false: it is none.
    pub(super) fn set_only(&mut self, bytes: &[u8]) -> bool {
        self.clear();
        let Ok(len) = u32::try_from(bytes.len()) else {
            return false;
        };
        let start = self.heads.room(0, 0, len);
        let place = self.tap_buffers.buffer(0);
        let place = place.and_then(|b| {
            b.get_mut(virtqueue::NET_HEADER_LEN..)?
                .get_mut(..bytes.len())
        });
        let (Some(start), Some(place)) = (start, place) else {
            return false;
        };
        place.copy_from_slice(bytes);
        start.copy_from_slice(bytes.get(..start.len()).unwrap_or(bytes));
        let frame = Frame::new(&NetHeader::default(), start, len, 0);
        self.list.extend(frame);
        !self.list.is_empty()
    }

    /// Forgets the frames of the last burst.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.malformed = 0;
        self.burst.clear();
    }
}

/// Buffers for one burst from a tap.
#[derive(Debug)]
pub(super) struct TapBuffers {
    bytes: Box<[u8]>,
}

impl TapBuffers {
    /// Bytes of a buffer: header and the largest frame, in whole cache lines.
    const SIZE: usize = (virtqueue::NET_HEADER_LEN + MAX_FRAME as usize).next_multiple_of(64);

    fn new() -> Self {
        Self {
            // Zeroed memory costs nothing until a tap is read.
            bytes: vec![0; Self::SIZE * BURST].into_boxed_slice(),
        }
    }

    /// The buffers at these places, to read packets into.
    pub(super) fn buffers(
        &mut self,
        places: Range<usize>,
    ) -> impl ExactSizeIterator<Item = &mut [u8]> {
        let buffers = self.bytes.chunks_exact_mut(Self::SIZE);
        buffers.skip(places.start).take(places.len())
    }

    /// Buffer `index`.
    pub(super) fn buffer(&mut self, index: usize) -> Option<&mut [u8]> {
        self.bytes.chunks_exact_mut(Self::SIZE).nth(index)
    }

    fn frame(&self, index: usize, len: u32) -> Option<&[u8]> {
        let buffer = self.bytes.chunks_exact(Self::SIZE).nth(index)?;
        range(buffer, u32::try_from(virtqueue::NET_HEADER_LEN).ok()?, len)
    }
}
