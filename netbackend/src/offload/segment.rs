//! Segmentation in software: one GSO frame in, plain frames with full checksums out.
use super::bytes;
use super::checksum::Checksum;
use super::fragment;
use super::parse::{IPV6_LEN, IpVersion, Layout, TCP, UDP, parse};
use super::validate::{
    FRAGMENT_UNIT, HEAD_LEN, Reject, Segmentation, TCP_CHECKSUM, UDP_CHECKSUM, UDP_LEN, Validated,
    validate,
};

const TCP_SEQUENCE: usize = 4;
const TCP_FLAGS: usize = 13;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

const UDP_LENGTH: usize = 4;

const IPV4_TOTAL_LENGTH: usize = 2;
const IPV4_IDENTIFICATION: usize = 4;
const IPV4_CHECKSUM: usize = 10;
const IPV4_ADDRESSES: usize = 12;
const IPV6_PAYLOAD_LENGTH: usize = 4;
const IPV6_ADDRESSES: usize = 8;

/// What a GSO frame is cut into.
#[derive(Debug, Clone, Copy)]
enum Pieces {
    /// TCP segments
    Tcp { sequence: u32, flags: u8 },
    /// UDP datagrams
    Udp,
    /// IP fragments of one UDP datagram; the headers without UDP's have this length
    Fragments { headers_len: usize },
}

/// The segments of a GSO frame, one after the other.
///
/// Every segment has the headers of the frame with: IPv4 total length, identification (counting up)
/// and header checksum, or IPv6 payload length; and
///
/// - TCP: sequence number; FIN and PSH on the last only, CWR on the first only (RFC 3168, 6.1.2: one
///   reduction is one mark); the full checksum.
/// - UDP (USO): length and full checksum.
/// - IP fragments (UFO): offset and "more fragments", all with one identification; don't-fragment is
///   cleared, as Linux does. The datagram's full checksum is in the first one.
#[derive(Debug)]
pub struct Segments<'a> {
    headers: [u8; HEAD_LEN],
    /// Of all segments but later fragments, which have no UDP header.
    headers_len: usize,
    layout: Layout,
    pieces: Pieces,
    payload: &'a [u8],
    mss: usize,
    /// payload bytes in segments so far
    done: usize,
    /// of the next segment; IPv4 only
    identification: u16,
}

/// One plain frame, in two pieces.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Ethernet and IP headers, and those of TCP or UDP
    pub headers: &'a [u8],
    /// its part of the payload
    pub payload: &'a [u8],
}

impl<'a> Segments<'a> {
    /// Starts on a frame. It is checked again, since it may have been copied again.
    pub fn new(validated: &Validated, frame: &'a [u8]) -> Result<Self, Reject> {
        let head = frame.get(..HEAD_LEN).unwrap_or(frame);
        let validated = validate(validated.header(), head, frame.len())?;
        let segmentation = validated.segmentation().ok_or(Reject::NotGso)?;
        let layout = parse(head)?;
        if layout.has_routing_header {
            return Err(Reject::RoutingHeader);
        }
        let headers_len = usize::from(validated.header().hdr_len);
        let (from, payload) = frame.split_at_checked(headers_len).ok_or(Reject::NotGso)?;
        let mut headers = [0; HEAD_LEN];
        headers
            .get_mut(..headers_len)
            .ok_or(Reject::NotGso)?
            .copy_from_slice(from);
        let field = |at| bytes::get_u16(from, at).ok_or(Reject::NotGso);
        let mut segments = Self {
            headers,
            headers_len,
            layout,
            pieces: Pieces::Udp,
            payload,
            mss: validated.header().gso_size.into(),
            done: 0,
            identification: field(layout.l3 + IPV4_IDENTIFICATION)?,
        };
        match segmentation {
            Segmentation::Tso4 | Segmentation::Tso6 => {
                segments.pieces = Pieces::Tcp {
                    sequence: bytes::get_u32(from, layout.l4 + TCP_SEQUENCE)
                        .ok_or(Reject::NotGso)?,
                    flags: bytes::get_u8(from, layout.l4 + TCP_FLAGS).ok_or(Reject::NotGso)?,
                };
            }
            Segmentation::Uso4 | Segmentation::Uso6 => {}
            Segmentation::Ufo => segments.start_fragments()?,
        }
        Ok(segments)
    }

    /// Completes the datagram's checksum, and makes room for the header of IPv6 fragments.
    fn start_fragments(&mut self) -> Result<(), Reject> {
        self.mss = self.mss / usize::from(FRAGMENT_UNIT) * usize::from(FRAGMENT_UNIT);
        self.patch_checksum(self.payload).ok_or(Reject::NotGso)?;
        let Layout { l3, l4, ip, .. } = self.layout;
        let mut headers_len = l4;
        if ip == IpVersion::V6 {
            if l4 != l3 + IPV6_LEN {
                return Err(Reject::ExtensionHeaders);
            }
            fragment::insert_ipv6(&mut self.headers, l3).ok_or(Reject::NotGso)?;
            headers_len += fragment::IPV6_FRAGMENT_LEN;
        }
        self.headers_len = headers_len + UDP_LEN;
        self.pieces = Pieces::Fragments { headers_len };
        Ok(())
    }

    /// Length of the longest segment: all but the last have it.
    pub fn max_segment_len(&self) -> usize {
        match self.pieces {
            Pieces::Fragments { headers_len } => headers_len + self.mss,
            Pieces::Tcp { .. } | Pieces::Udp => self.headers_len + self.mss,
        }
    }

    /// Segments still to come.
    pub fn remaining(&self) -> usize {
        let mut left = self.payload.len().saturating_sub(self.done);
        if self.done == 0 && matches!(self.pieces, Pieces::Fragments { .. }) {
            left += UDP_LEN;
        }
        left.div_ceil(self.mss)
    }

    /// The next segment in two pieces, for those who copy into several buffers anyway.
    pub fn next_segment(&mut self) -> Option<Segment<'_>> {
        let rest = self
            .payload
            .get(self.done..)
            .filter(|rest| !rest.is_empty())?;
        let room = match self.pieces {
            // The UDP header is in the first fragment.
            Pieces::Fragments { .. } if self.done == 0 => self.mss.saturating_sub(UDP_LEN),
            _ => self.mss,
        };
        let (payload, is_last) = match rest.split_at_checked(room) {
            Some((payload, rest)) => (payload, rest.is_empty()),
            None => (rest, true),
        };
        let headers_len = self.patch_piece(payload, is_last)?;
        self.patch_ip(headers_len, payload)?;
        match self.pieces {
            Pieces::Fragments { .. } => {}
            Pieces::Tcp { .. } | Pieces::Udp => {
                self.patch_checksum(payload)?;
                self.identification = self.identification.wrapping_add(1);
            }
        }
        self.done += payload.len();
        Some(Segment {
            headers: self.headers.get(..headers_len)?,
            payload,
        })
    }

    /// Writes the next segment to the start of `out`, and returns its length.
    ///
    /// `None` after the last one; also if `out` is shorter than
    /// [`max_segment_len`](Self::max_segment_len): then nothing is lost, and the segment is still
    /// to come.
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<usize> {
        if out.len() < self.max_segment_len() {
            return None;
        }
        self.next_segment()?.copy_to(out)
    }

    /// What depends on the kind of segment; returns how long its headers are.
    fn patch_piece(&mut self, payload: &[u8], is_last: bool) -> Option<usize> {
        let Layout { l3, l4, ip, .. } = self.layout;
        match self.pieces {
            Pieces::Tcp { sequence, flags } => self.patch_tcp(sequence, flags, is_last)?,
            Pieces::Udp => {
                let length = u16::try_from(UDP_LEN + payload.len()).ok()?;
                bytes::put(&mut self.headers, l4 + UDP_LENGTH, length.to_be_bytes())?;
            }
            Pieces::Fragments { headers_len } => {
                let offset = match self.done {
                    0 => 0,
                    done => u16::try_from(done + UDP_LEN).ok()?,
                };
                fragment::patch(&mut self.headers, (ip, l3), offset, !is_last)?;
                return Some(match offset {
                    0 => self.headers_len,
                    _ => headers_len,
                });
            }
        }
        Some(self.headers_len)
    }

    fn patch_tcp(&mut self, sequence: u32, mut flags: u8, is_last: bool) -> Option<()> {
        let Layout { l4, .. } = self.layout;
        let offset = u32::try_from(self.done).ok()?;
        if !is_last {
            flags &= !(FIN | PSH);
        }
        if self.done > 0 {
            flags &= !CWR;
        }
        bytes::put(&mut self.headers, l4 + TCP_FLAGS, [flags])?;
        let sequence = sequence.wrapping_add(offset);
        bytes::put(&mut self.headers, l4 + TCP_SEQUENCE, sequence.to_be_bytes())
    }

    fn patch_ip(&mut self, headers_len: usize, payload: &[u8]) -> Option<()> {
        match self.layout.ip {
            IpVersion::V4 => self.patch_ipv4(headers_len, payload),
            IpVersion::V6 => self.patch_ipv6(headers_len, payload),
        }
    }

    fn patch_ipv4(&mut self, headers_len: usize, payload: &[u8]) -> Option<()> {
        let Layout { l3, l4, .. } = self.layout;
        let total_length = u16::try_from(headers_len - l3 + payload.len()).ok()?;
        bytes::put(
            &mut self.headers,
            l3 + IPV4_TOTAL_LENGTH,
            total_length.to_be_bytes(),
        )?;
        let identification = self.identification.to_be_bytes();
        bytes::put(&mut self.headers, l3 + IPV4_IDENTIFICATION, identification)?;
        bytes::put(&mut self.headers, l3 + IPV4_CHECKSUM, [0, 0])?;
        let mut checksum = Checksum::default();
        checksum.add(self.headers.get(l3..l4)?);
        bytes::put(
            &mut self.headers,
            l3 + IPV4_CHECKSUM,
            checksum.finish().to_be_bytes(),
        )
    }

    fn patch_ipv6(&mut self, headers_len: usize, payload: &[u8]) -> Option<()> {
        let Layout { l3, .. } = self.layout;
        let length = u16::try_from(headers_len - l3 - IPV6_LEN + payload.len()).ok()?;
        bytes::put(
            &mut self.headers,
            l3 + IPV6_PAYLOAD_LENGTH,
            length.to_be_bytes(),
        )
    }

    fn patch_checksum(&mut self, payload: &[u8]) -> Option<()> {
        let Layout { l3, l4, ip, .. } = self.layout;
        let addresses = match ip {
            IpVersion::V4 => l3 + IPV4_ADDRESSES..l3 + IPV4_ADDRESSES + 8,
            IpVersion::V6 => l3 + IPV6_ADDRESSES..l3 + IPV6_ADDRESSES + 32,
        };
        let (protocol, offset) = match self.layout.protocol {
            TCP => (TCP, TCP_CHECKSUM),
            _ => (UDP, UDP_CHECKSUM),
        };
        let field = l4 + usize::from(offset);
        bytes::put(&mut self.headers, field, [0, 0])?;
        let l4_len = u32::try_from(self.headers_len - l4 + payload.len()).ok()?;
        let mut checksum = Checksum::pseudo_header(self.headers.get(addresses)?, protocol, l4_len);
        checksum.add(self.headers.get(l4..self.headers_len)?);
        checksum.add(payload);
        let checksum = match protocol {
            TCP => checksum.finish(),
            // Zero means "none" (RFC 768).
            _ => checksum.finish_nonzero(),
        };
        bytes::put(&mut self.headers, field, checksum.to_be_bytes())
    }
}

impl Segment<'_> {
    /// Writes the frame to the start of `out`, and returns its length; `None`: it does not fit.
    pub fn copy_to(&self, out: &mut [u8]) -> Option<usize> {
        let (headers, rest) = out.split_at_mut_checked(self.headers.len())?;
        let payload = rest.get_mut(..self.payload.len())?;
        headers.copy_from_slice(self.headers);
        payload.copy_from_slice(self.payload);
        Some(self.headers.len() + self.payload.len())
    }
}

#[cfg(test)]
#[path = "segment_test.rs"]
mod tests;

#[cfg(test)]
#[path = "segment_udp_test.rs"]
mod udp_tests;
