//! One packet on its way out: its buffers in guest memory, and a private copy of what the NIC changes in front of them.
use super::offload::Cut;
use crate::net::wire::{MAX_BUFFERS, Outgoing, Sum};
use virtqueue::{DriverBuffer, GsoType, MemoryMap, NetHeader};

/// The longest packet before segmentation: what IP can name, an Ethernet header and a tag.
const MAX_PACKET: usize = 65535 + 18;
/// Bytes of a VLAN tag.
const TAG_LEN: u16 = 4;
/// Bytes that are copied at most to change them, beside an inserted tag: more than all headers that anybody uses.
pub(super) const MAX_COPIED: usize = 240;
/// Both addresses: a tag goes after them.
pub(super) const ADDRESSES_LEN: usize = 12;

/// A packet being put together.
#[derive(Debug, Default)]
pub struct Packet {
    /// What is in guest memory, without the copied head.
    pub(super) buffers: Vec<DriverBuffer>,
    /// Header for the back-end.
    pub(super) header: NetHeader,
    /// Bytes that were pushed.
    pub(super) len: usize,
    pub(super) head: Vec<u8>,
    pub(super) cut: Option<Cut>,
    /// It cannot be sent.
    bad: bool,
}

impl Packet {
    /// Starts over.
    pub fn clear(&mut self) {
        self.buffers.clear();
        self.head.clear();
        self.header = NetHeader::default();
        self.len = 0;
        self.bad = false;
        self.cut = None;
    }

    /// Adds a buffer. One outside of `memory`, or too much, spoils the packet.
    pub fn push(&mut self, addr: u64, len: u32, memory: &MemoryMap) {
        if len == 0 || self.bad {
            return;
        }
        self.len += usize::try_from(len).unwrap_or(MAX_PACKET);
        if self.len > MAX_PACKET
            || self.buffers.len() == MAX_BUFFERS
            || !memory.contains(addr, len.into())
        {
            self.bad = true;
            return;
        }
        self.buffers.push(DriverBuffer {
            addr,
            len,
            writable: false,
        });
    }

    /// It is not to be sent.
    pub fn spoil(&mut self) {
        self.bad = true;
    }

    /// It may be sent: both addresses and a type are there.
    pub fn is_good(&self) -> bool {
        !self.bad && self.len >= ADDRESSES_LEN + 2
    }

    /// Bytes of the packet as it leaves.
    pub fn len(&self) -> usize {
        let body = self.buffers.iter().map(|buffer| u64::from(buffer.len));
        let body = usize::try_from(body.sum::<u64>()).unwrap_or(usize::MAX);
        body.saturating_add(self.head.len())
    }

    /// There is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The back-end segments it.
    pub fn is_segmented(&self) -> bool {
        self.header.gso != GsoType::None
    }

    /// How to segment it here.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// The bytes that were copied out of the buffers.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// What leaves if it is not segmented here.
    pub fn outgoing(&self, token: u64) -> Outgoing<'_> {
        Outgoing {
            header: &self.header,
            head: &self.head,
            body: &self.buffers,
            token,
        }
    }

    /// Copies all of it to `frame`; false: its memory is gone.
    pub fn gather(&self, memory: &MemoryMap, frame: &mut Vec<u8>) -> bool {
        frame.clear();
        frame.extend_from_slice(&self.head);
        append(&self.buffers, memory, frame)
    }

    /// Where it goes; read again, so that the guest may have changed it: good for statistics only.
    pub fn destination(&self, memory: &MemoryMap) -> Option<[u8; 6]> {
        if let Some(destination) = self.head.first_chunk() {
            return Some(*destination);
        }
        // Nobody has a piece of an address in front of other buffers.
        let first = self.buffers.first().filter(|_| self.head.is_empty())?;
        let mut destination = [0; 6];
        (first.len >= 6 && memory.read(first.addr, &mut destination)).then_some(destination)
    }

    /// What it is on a cable, whoever segments it.
    pub fn frames(&self) -> Frames {
        let len = self.len();
        let mss = usize::from(self.header.gso_size);
        let header = usize::from(self.header.hdr_len);
        if !self.is_segmented() || mss == 0 {
            return Frames {
                full: 0,
                full_len: 0,
                last_len: len,
            };
        }
        let payload = len.saturating_sub(header);
        let full = payload.saturating_sub(1) / mss;
        Frames {
            full: u32::try_from(full).unwrap_or(u32::MAX),
            full_len: header + mss,
            last_len: len - full * mss,
        }
    }

    /// Copies the first `len` bytes out of the buffers; false: there are not so many, or it is more than anybody needs.
    pub fn copy_head(&mut self, len: usize, memory: &MemoryMap) -> bool {
        let Some(mut missing) = len.checked_sub(self.head.len()) else {
            return true;
        };
        if len > MAX_COPIED || len > self.len {
            return false;
        }
        let mut emptied = 0;
        for buffer in &mut self.buffers {
            let here = usize::try_from(buffer.len)
                .unwrap_or(usize::MAX)
                .min(missing);
            let start = self.head.len();
            self.head.resize(start + here, 0);
            let copied = self
                .head
                .get_mut(start..)
                .is_some_and(|to| memory.read(buffer.addr, to));
            if !copied {
                return false;
            }
            let taken = u32::try_from(here).unwrap_or(buffer.len);
            buffer.addr += u64::from(taken);
            buffer.len -= taken;
            missing -= here;
            if buffer.len == 0 {
                emptied += 1;
            }
            if missing == 0 {
                break;
            }
        }
        self.buffers.drain(..emptied);
        missing == 0
    }

    /// Stores a big-endian word in the copied head.
    pub fn put(&mut self, at: usize, value: u16) {
        if let Some(field) = self.head.get_mut(at..at + 2) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// Inserts a VLAN tag.
    pub(super) fn tag(&mut self, tag: u16, ethertype: u16, memory: &MemoryMap) -> bool {
        if !self.copy_head(ADDRESSES_LEN, memory) {
            return false;
        }
        let [e0, e1] = ethertype.to_be_bytes();
        let [t0, t1] = tag.to_be_bytes();
        self.head
            .splice(ADDRESSES_LEN..ADDRESSES_LEN, [e0, e1, t0, t1]);
        if let Some(cut) = &mut self.cut {
            cut.ip += usize::from(TAG_LEN);
        }
        if self.header.needs_csum {
            self.header.csum_start += TAG_LEN;
        }
        if self.header.hdr_len > 0 {
            self.header.hdr_len += TAG_LEN;
        }
        true
    }
}

/// The frames of a packet; lengths without FCS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frames {
    /// How many are before the last one, all of one length.
    pub full: u32,
    /// Bytes of each of them.
    pub full_len: usize,
    /// Bytes of the last one.
    pub last_len: usize,
}

/// Copies `buffers` behind `frame`; false: some of them are not there.
pub(super) fn append(buffers: &[DriverBuffer], memory: &MemoryMap, frame: &mut Vec<u8>) -> bool {
    buffers.iter().all(|buffer| {
        let start = frame.len();
        let len = usize::try_from(buffer.len).unwrap_or(0);
        frame.resize(start + len, 0);
        frame
            .get_mut(start..)
            .is_some_and(|to| memory.read(buffer.addr, to))
    })
}

/// Adds the first `left` bytes of `buffers`; false: some of them are not there.
pub(super) fn sum_buffers(
    sum: &mut Sum,
    buffers: &[DriverBuffer],
    mut left: usize,
    memory: &MemoryMap,
) -> bool {
    let mut chunk = [0; 1024];
    for buffer in buffers {
        let mut addr = buffer.addr;
        let mut rest = usize::try_from(buffer.len).unwrap_or(0).min(left);
        left -= rest;
        while rest > 0 {
            let now = rest.min(chunk.len());
            let Some(bytes) = chunk.get_mut(..now) else {
                return false;
            };
            if !memory.read(addr, bytes) {
                return false;
            }
            sum.add(bytes);
            addr += now as u64;
            rest -= now;
        }
    }
    true
}
