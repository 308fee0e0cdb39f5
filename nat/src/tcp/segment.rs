//! TCP segments: what is in one, and writing one.
use super::seq::Seq;
use crate::bytes::Writer;
use crate::counters::DropReason;
use crate::frame::{ETHERNET_LEN, IpHeader, Link, Pseudo, ip_packet, protocol};
use crate::meta::{Checksum, FrameMeta, Gso, GsoKind, Output};
use smoltcp::wire::{TcpOption, TcpPacket};
use std::net::IpAddr;

/// Bytes of a header without options.
const HEADER_LEN: usize = 20;
/// Blocks that fit an option space of 40 bytes (RFC 2018, 3).
pub(crate) const MAX_SACKS: usize = 4;
/// RFC 7323, 2.3: larger shifts mean this one.
const MAX_SHIFT: u8 = 14;

/// What a segment says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) seq: Seq,
    pub(crate) ack: Option<Seq>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) window: u16,
    pub(crate) options: Options,
    pub(crate) payload: &'a [u8],
}

/// Options that we know.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) mss: Option<u16>,
    pub(crate) shift: Option<u8>,
    pub(crate) sack_permitted: bool,
    pub(crate) sacks: [Option<(Seq, Seq)>; 3],
}

impl<'a> Segment<'a> {
    /// Reads a segment. The urgent pointer is not looked at: urgent data are in line for whom they go to (RFC 6093).
    pub(crate) fn parse(
        bytes: &'a [u8],
        source: IpAddr,
        destination: IpAddr,
        verify: bool,
    ) -> Result<Self, DropReason> {
        let packet = TcpPacket::new_checked(bytes).map_err(|_| DropReason::Malformed)?;
        if verify {
            let pseudo = Pseudo::new(source, destination).ok_or(DropReason::Malformed)?;
            let sum = pseudo.sum(protocol::TCP, bytes.len()).bytes(bytes);
            if sum.folded() != [0xff; 2] {
                return Err(DropReason::BadChecksum);
            }
        }
        if packet.src_port() == 0 || packet.dst_port() == 0 || (packet.syn() && packet.fin()) {
            return Err(DropReason::Malformed);
        }
        let seq = |number: smoltcp::wire::TcpSeqNumber| Seq(number.0.cast_unsigned());
        Ok(Self {
            source_port: packet.src_port(),
            destination_port: packet.dst_port(),
            seq: seq(packet.seq_number()),
            ack: packet.ack().then(|| seq(packet.ack_number())),
            syn: packet.syn(),
            fin: packet.fin(),
            rst: packet.rst(),
            window: packet.window_len(),
            options: Options::parse(packet.options()),
            payload: bytes.get(packet.header_len().into()..).unwrap_or_default(),
        })
    }

    /// Sequence numbers that the segment takes.
    pub(crate) fn len(&self) -> usize {
        self.payload.len() + usize::from(self.syn) + usize::from(self.fin)
    }
}

impl Options {
    /// Reads options up to the first that is malformed: the rest cannot be found then.
    fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        while let Ok((rest, option)) = TcpOption::parse(bytes) {
            bytes = rest;
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(mss) => options.mss = Some(mss),
                TcpOption::WindowScale(shift) => options.shift = Some(shift.min(MAX_SHIFT)),
                TcpOption::SackPermitted => options.sack_permitted = true,
                TcpOption::SackRange(ranges) => {
                    options.sacks = ranges.map(|range| range.map(|(a, b)| (Seq(a), Seq(b))));
                }
                _ => {}
            }
        }
        options
    }
}

/// Addresses of a segment that we send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) link: Link,
    pub(crate) pseudo: Pseudo,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
}

/// A segment that we send.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Header {
    pub(crate) seq: Seq,
    pub(crate) ack: Option<Seq>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) psh: bool,
    pub(crate) window: u16,
    /// with SYN
    pub(crate) mss: Option<u16>,
    /// with SYN
    pub(crate) shift: Option<u8>,
    /// with SYN
    pub(crate) sack_permitted: bool,
    /// without SYN
    pub(crate) sacks: [Option<(Seq, Seq)>; MAX_SACKS],
}

/// Options in the making; they end on a multiple of four bytes, with room for the longest that we send.
struct OptionBytes {
    bytes: [u8; 40],
    len: usize,
}

impl OptionBytes {
    fn of(header: &Header) -> Self {
        let mut options = Self {
            bytes: [1; 40],
            len: 0,
        };
        if let Some(mss) = header.mss {
            let [high, low] = mss.to_be_bytes();
            options.put(&[2, 4, high, low]);
        }
        if header.sack_permitted {
            options.put(&[1, 1, 4, 2]);
        }
        if let Some(shift) = header.shift {
            options.put(&[1, 3, 3, shift]);
        }
        let count = header.sacks.iter().flatten().count();
        if let Ok(count @ 1..) = u8::try_from(count) {
            options.put(&[1, 1, 5, 2 + 8 * count]);
            for (start, end) in header.sacks.iter().flatten() {
                options.put(&start.0.to_be_bytes());
                options.put(&end.0.to_be_bytes());
            }
        }
        options
    }

    fn put(&mut self, bytes: &[u8]) {
        crate::bytes::set(&mut self.bytes, self.len, bytes);
        self.len += bytes.len();
    }
}

impl Header {
    fn flags(&self) -> u8 {
        u8::from(self.fin)
            | u8::from(self.syn) << 1
            | u8::from(self.rst) << 2
            | u8::from(self.psh) << 3
            | u8::from(self.ack.is_some()) << 4
    }

    fn write(&self, writer: &mut Writer<'_>, route: &Route, sum: [u8; 2]) {
        let options = OptionBytes::of(self);
        let words = u8::try_from((HEADER_LEN + options.len) / 4).unwrap_or(0);
        writer.put(&route.source_port.to_be_bytes());
        writer.put(&route.destination_port.to_be_bytes());
        writer.put(&self.seq.0.to_be_bytes());
        writer.put(&self.ack.unwrap_or_default().0.to_be_bytes());
        writer.put(&[words << 4, self.flags()]);
        writer.put(&self.window.to_be_bytes());
        writer.put(&sum);
        writer.put(&[0, 0]);
        writer.put(options.bytes.get(..options.len).unwrap_or_default());
    }

    /// Sends a segment with a partial checksum; one whose payload is longer than `mss` stands for several. False: there was no room.
    pub(crate) fn emit(
        &self,
        out: &mut dyn Output,
        route: &Route,
        payload: (&[u8], &[u8]),
        mss: u16,
    ) -> bool {
        let tcp_len = HEADER_LEN + OptionBytes::of(self).len;
        let payload_len = payload.0.len() + payload.1.len();
        let len = tcp_len + payload_len;
        let start = ETHERNET_LEN + route.pseudo.ip_len();
        let short = |n: usize| u16::try_from(n).unwrap_or(0);
        let (kind, [source, destination]): (_, [IpAddr; 2]) = match route.pseudo {
            Pseudo::V4(a, b) => (GsoKind::Tcp4, [a.into(), b.into()]),
            Pseudo::V6(a, b) => (GsoKind::Tcp6, [a.into(), b.into()]),
        };
        let meta = FrameMeta {
            checksum: Checksum::Partial {
                start: short(start),
                offset: 16,
            },
            gso: (payload_len > usize::from(mss)).then(|| Gso {
                kind,
                size: mss,
                header_len: short(start + tcp_len),
            }),
        };
        let ip = IpHeader {
            source,
            destination,
            protocol: protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
        };
        let sum = route.pseudo.sum(protocol::TCP, len).folded();
        out.emit(start + len, meta, &mut |frame| {
            let mut writer = Writer::new(ip_packet(frame, route.link, &ip, route.pseudo, len));
            self.write(&mut writer, route, sum);
            writer.put(payload.0);
            writer.put(payload.1);
        })
    }

    /// What a segment of no connection is answered with (RFC 9293, 3.10.7.1); nothing if it is a reset itself.
    pub(crate) fn reset_for(segment: &Segment<'_>) -> Option<Self> {
        if segment.rst {
            return None;
        }
        Some(match segment.ack {
            Some(ack) => Self {
                seq: ack,
                rst: true,
                ..Self::default()
            },
            None => Self {
                ack: Some(segment.seq + segment.len()),
                rst: true,
                ..Self::default()
            },
        })
    }
}

#[cfg(test)]
#[path = "segment_test.rs"]
mod tests;
