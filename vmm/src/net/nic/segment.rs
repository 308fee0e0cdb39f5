//! Segmentation for a back-end that has none: one packet as many frames.
//!
//! Our own daemon takes segmentation off our hands; other switches may not.
use super::{
    Flights,
    offload::Cut,
    packet::{Packet, append, sum_buffers},
};
use crate::net::wire::{Outgoing, Sum, Wire};
use virtqueue::{DriverBuffer, GsoType, MemoryMap, NetHeader};

/// TCP flags that only the last segment has: FIN, PSH.
const LAST_ONLY: u8 = 0x01 | 0x08;
/// TCP flag that only the first segment has.
pub(super) const CWR: u8 = 0x80;

/// Which part of the payload a segment has.
#[derive(Debug, Clone, Copy)]
struct Span {
    offset: usize,
    len: usize,
    /// There is no other after it.
    last: bool,
}

/// Gives packets to the wire, in segments if it has to; remembers how far it got.
#[derive(Debug, Default)]
pub struct Sender {
    /// Segments that have left.
    count: u16,
    head: Vec<u8>,
    body: Vec<DriverBuffer>,
}

impl Sender {
    /// Starts with another packet.
    pub fn restart(&mut self) {
        self.count = 0;
    }

    /// Goes on with a packet of which this many segments have left.
    pub fn resume(&mut self, count: u16) {
        self.count = count;
    }

    /// Gives `packet` to the wire, whole or in segments; false: the wire is full, go on later.
    pub fn send<T>(
        &mut self,
        packet: &Packet,
        flights: &mut Flights<T>,
        wire: &mut dyn Wire,
        memory: &MemoryMap,
    ) -> bool {
        let token = flights.token();
        let Some(cut) = packet.cut() else {
            let sent = wire.send(&packet.outgoing(token));
            if sent {
                flights.launched();
            }
            return sent;
        };
        while let Some(last) = self.step(packet, &cut, token, wire, memory) {
            flights.launched();
            if last {
                return true;
            }
        }
        false
    }

    /// Sends the next segment of `packet`. `None`: the wire is full; true: that was the last one.
    fn step(
        &mut self,
        packet: &Packet,
        cut: &Cut,
        token: u64,
        wire: &mut dyn Wire,
        memory: &MemoryMap,
    ) -> Option<bool> {
        let span = self.next_span(packet, cut);
        let header = self.make_head(packet, cut, span, wire.offloads().checksum, memory);
        let outgoing = Outgoing {
            header: &header,
            head: &self.head,
            body: &self.body,
            token,
        };
        if !wire.send(&outgoing) {
            return None;
        }
        self.count = self.count.saturating_add(1);
        Some(span.last)
    }

    /// Finds the payload of the next segment.
    fn next_span(&mut self, packet: &Packet, cut: &Cut) -> Span {
        let total = packet.len() - packet.head().len();
        let offset = (usize::from(self.count) * usize::from(cut.mss)).min(total);
        let len = usize::from(cut.mss).min(total - offset);
        self.take_body(&packet.buffers, offset, len);
        Span {
            offset,
            len,
            last: offset + len >= total,
        }
    }

    /// Copies the next frame of `packet` to `frame`, as it would be on a cable. `None`: its memory is gone; true: that was the last one.
    pub fn gather(
        &mut self,
        packet: &Packet,
        memory: &MemoryMap,
        frame: &mut Vec<u8>,
    ) -> Option<bool> {
        let Some(cut) = packet.cut() else {
            return packet.gather(memory, frame).then_some(true);
        };
        let span = self.next_span(packet, &cut);
        self.make_head(packet, &cut, span, false, memory);
        frame.clear();
        frame.extend_from_slice(&self.head);
        self.count = self.count.saturating_add(1);
        append(&self.body, memory, frame).then_some(span.last)
    }

    /// The buffers of the next `len` bytes.
    fn take_body(&mut self, buffers: &[DriverBuffer], offset: usize, len: usize) {
        self.body.clear();
        let (mut skip, mut left) = (offset, len);
        for buffer in buffers {
            let here = usize::try_from(buffer.len).unwrap_or(0);
            let start = skip.min(here);
            skip -= start;
            let taken = (here - start).min(left);
            left -= taken;
            if taken > 0 {
                self.body.push(DriverBuffer {
                    addr: buffer.addr + start as u64,
                    len: u32::try_from(taken).unwrap_or(0),
                    writable: false,
                });
            }
            if left == 0 {
                break;
            }
        }
    }

    fn u16_at(&self, at: usize) -> u16 {
        let field = self.head.get(at..at + 2);
        field
            .and_then(|field| field.try_into().ok())
            .map_or(0, u16::from_be_bytes)
    }

    fn put(&mut self, at: usize, value: u16) {
        if let Some(field) = self.head.get_mut(at..at + 2) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// Headers of this segment, and what is left for the back-end.
    fn make_head(
        &mut self,
        packet: &Packet,
        cut: &Cut,
        span: Span,
        offload: bool,
        memory: &MemoryMap,
    ) -> NetHeader {
        let Span { offset, len, last } = span;
        self.head.clear();
        self.head.extend_from_slice(packet.head());
        let tcp = usize::from(packet.header.csum_start);
        let field = tcp + usize::from(packet.header.csum_offset);
        let length = |from: usize| u16::try_from(packet.head().len() + len - from).unwrap_or(0);
        if cut.ipv4 {
            self.put(cut.ip + 2, length(cut.ip));
            let id = self.u16_at(cut.ip + 4).wrapping_add(self.count);
            self.put(cut.ip + 4, id);
            self.put(cut.ip + 10, 0);
            let mut sum = Sum::default();
            sum.add(self.head.get(cut.ip..tcp).unwrap_or(&[]));
            self.put(cut.ip + 10, sum.complement());
        } else {
            self.put(cut.ip + 4, length(cut.ip + 40));
        }
        if let Some(sequence) = self.head.get_mut(tcp + 4..tcp + 8)
            && let Ok(bytes) = <[u8; 4]>::try_from(&*sequence)
        {
            let offset = u32::try_from(offset).unwrap_or(0);
            let next = u32::from_be_bytes(bytes).wrapping_add(offset);
            sequence.copy_from_slice(&next.to_be_bytes());
        }
        if let Some(flags) = self.head.get_mut(tcp + 13) {
            if !last {
                *flags &= !LAST_ONLY;
            }
            if offset > 0 {
                *flags &= !CWR;
            }
        }
        // Ones' complement: take the big packet's length out of the pseudo-header, put ours in.
        let whole = u16::try_from(packet.len() - tcp).unwrap_or(0);
        let mut sum = Sum::default();
        for word in [self.u16_at(field), !whole, length(tcp)] {
            sum.add(&word.to_be_bytes());
        }
        self.put(field, sum.fold());
        if offload {
            return NetHeader {
                gso: GsoType::None,
                ecn: false,
                gso_size: 0,
                hdr_len: 0,
                ..packet.header
            };
        }
        let mut sum = Sum::default();
        sum.add(self.head.get(tcp..).unwrap_or(&[]));
        sum_buffers(&mut sum, &self.body, len, memory);
        self.put(field, sum.complement());
        NetHeader::default()
    }
}
