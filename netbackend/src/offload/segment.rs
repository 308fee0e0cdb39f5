//! TCP segmentation in software: one GSO frame in, plain frames with full checksums out.
use super::bytes;
use super::checksum::Checksum;
use super::parse::{IPV6_LEN, IpVersion, Layout, TCP, parse};
use super::validate::{HEAD_LEN, Reject, TCP_CHECKSUM, Validated, validate};

const TCP_SEQUENCE: usize = 4;
const TCP_FLAGS: usize = 13;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

const IPV4_TOTAL_LENGTH: usize = 2;
const IPV4_IDENTIFICATION: usize = 4;
const IPV4_CHECKSUM: usize = 10;
const IPV4_ADDRESSES: usize = 12;
const IPV6_PAYLOAD_LENGTH: usize = 4;
const IPV6_ADDRESSES: usize = 8;

/// The segments of a TCP GSO frame, one after the other.
///
/// Every segment has the headers of the frame with: IPv4 total length, identification (counting up)
/// and header checksum, or IPv6 payload length; TCP sequence number; FIN and PSH on the last only,
/// CWR on the first only (RFC 3168, 6.1.2: one reduction is one mark); the full TCP checksum.
#[derive(Debug)]
pub struct Segments<'a> {
    headers: [u8; HEAD_LEN],
    headers_len: usize,
    layout: Layout,
    payload: &'a [u8],
    mss: usize,
    /// payload bytes in segments so far
    done: usize,
    sequence: u32,
    flags: u8,
    /// of the next segment; IPv4 only
    identification: u16,
}

/// One plain frame, in two pieces.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Ethernet, IP and TCP headers
    pub headers: &'a [u8],
    /// its part of the payload
    pub payload: &'a [u8],
}

impl<'a> Segments<'a> {
    /// Starts on a frame. It is checked again, since it may have been copied again.
    pub fn new(validated: &Validated, frame: &'a [u8]) -> Result<Self, Reject> {
        let head = frame.get(..HEAD_LEN).unwrap_or(frame);
        let validated = validate(validated.header(), head, frame.len())?;
        if !validated.is_gso() {
            return Err(Reject::NotGso);
        }
        let layout = parse(head)?;
        if layout.has_routing_header {
            return Err(Reject::RoutingHeader);
        }
        let headers_len = layout.tcp_payload(head)?;
        let (from, payload) = frame.split_at_checked(headers_len).ok_or(Reject::NotGso)?;
        let mut headers = [0; HEAD_LEN];
        headers
            .get_mut(..headers_len)
            .ok_or(Reject::NotGso)?
            .copy_from_slice(from);
        let field = |at| bytes::get_u16(from, at).ok_or(Reject::NotGso);
        Ok(Self {
            headers,
            headers_len,
            layout,
            payload,
            mss: validated.header().gso_size.into(),
            done: 0,
            sequence: bytes::get_u32(from, layout.l4 + TCP_SEQUENCE).ok_or(Reject::NotGso)?,
            flags: bytes::get_u8(from, layout.l4 + TCP_FLAGS).ok_or(Reject::NotGso)?,
            identification: field(layout.l3 + IPV4_IDENTIFICATION)?,
        })
    }

    /// Length of all segments but the last, which may be shorter.
    pub fn max_segment_len(&self) -> usize {
        self.headers_len + self.mss
    }

    /// Segments still to come.
    pub fn remaining(&self) -> usize {
        self.payload
            .len()
            .saturating_sub(self.done)
            .div_ceil(self.mss)
    }

    /// The next segment in two pieces, for those who copy into several buffers anyway.
    pub fn next_segment(&mut self) -> Option<Segment<'_>> {
        let rest = self
            .payload
            .get(self.done..)
            .filter(|rest| !rest.is_empty())?;
        let (payload, is_last) = match rest.split_at_checked(self.mss) {
            Some((payload, rest)) => (payload, rest.is_empty()),
            None => (rest, true),
        };
        self.patch_tcp(is_last)?;
        match self.layout.ip {
            IpVersion::V4 => self.patch_ipv4(payload)?,
            IpVersion::V6 => self.patch_ipv6(payload)?,
        }
        self.patch_checksum(payload)?;
        self.done += payload.len();
        self.identification = self.identification.wrapping_add(1);
        Some(Segment {
            headers: self.headers.get(..self.headers_len)?,
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

    fn patch_tcp(&mut self, is_last: bool) -> Option<()> {
        let Layout { l4, .. } = self.layout;
        let offset = u32::try_from(self.done).ok()?;
        let mut flags = self.flags;
        if !is_last {
            flags &= !(FIN | PSH);
        }
        if self.done > 0 {
            flags &= !CWR;
        }
        bytes::put(&mut self.headers, l4 + TCP_FLAGS, [flags])?;
        let sequence = self.sequence.wrapping_add(offset);
        bytes::put(&mut self.headers, l4 + TCP_SEQUENCE, sequence.to_be_bytes())
    }

    fn patch_ipv4(&mut self, payload: &[u8]) -> Option<()> {
        let Layout { l3, l4, .. } = self.layout;
        let total_length = u16::try_from(self.headers_len - l3 + payload.len()).ok()?;
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

    fn patch_ipv6(&mut self, payload: &[u8]) -> Option<()> {
        let Layout { l3, .. } = self.layout;
        let length = u16::try_from(self.headers_len - l3 - IPV6_LEN + payload.len()).ok()?;
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
        let field = l4 + usize::from(TCP_CHECKSUM);
        bytes::put(&mut self.headers, field, [0, 0])?;
        let tcp_len = u32::try_from(self.headers_len - l4 + payload.len()).ok()?;
        let mut checksum = Checksum::pseudo_header(self.headers.get(addresses)?, TCP, tcp_len);
        checksum.add(self.headers.get(l4..self.headers_len)?);
        checksum.add(payload);
        bytes::put(&mut self.headers, field, checksum.finish().to_be_bytes())
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
