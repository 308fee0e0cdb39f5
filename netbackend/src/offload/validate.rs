//! Checks what a sender's virtio-net header asks for against the frame that it came with.
use thiserror::Error;
use virtqueue::{GsoType, NET_HEADER_LEN, NetHeader};

use super::parse::{IPV6_LEN, IpVersion, Layout, ParseError, TCP, UDP, parse};

/// Bytes of a frame to look at (and to copy out of shared memory first): room for two VLAN tags,
/// the longest IPv4 and TCP headers, or IPv6 with 122 bytes of extension headers. Behind a virtio-net header they are four cache
/// lines.
pub const HEAD_LEN: usize = 256 - NET_HEADER_LEN;

/// Segments that one frame may ask for. 64 KiB in segments of 36 bytes, which is the least that
/// Linux sends (`TCP_MIN_SND_MSS` with timestamps), are fewer; a `gso_size` of 1 would be a way to
/// burn our processor.
pub const MAX_SEGMENTS: usize = 2048;

/// Offset of the checksum in a TCP header.
pub(super) const TCP_CHECKSUM: u16 = 16;
/// Offset of the checksum in a UDP header.
pub(super) const UDP_CHECKSUM: u16 = 6;
/// Bytes of a UDP header.
pub(super) const UDP_LEN: usize = 8;
/// IP fragments are whole multiples of this long, but for the last (RFC 791, 3.1; RFC 8200, 4.5).
pub(super) const FRAGMENT_UNIT: u16 = 8;
/// Longest IPv4 packet, and longest IPv6 payload without jumbograms.
const MAX_IP_LEN: usize = 65_535;

/// Why a header does not fit its frame. The frame is to be dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Reject {
    /// offloads are asked for, and the frame's headers make no sense
    #[error("offload of an unintelligible frame: {0}")]
    Headers(#[from] ParseError),
    /// offloads are asked for a fragment
    #[error("offload of an IP fragment")]
    Fragment,
    /// the checksum is outside of the frame
    #[error("checksum is outside of the frame")]
    ChecksumRange,
    /// the checksum is not where the frame's transport protocol has one
    #[error("checksum is not at the place of one")]
    ChecksumPlace,
    /// segmentation without VIRTIO_NET_HDR_F_NEEDS_CSUM (virtio 1.2, 5.1.6.2.1)
    #[error("segmentation without checksum")]
    GsoWithoutChecksum,
    /// the frame is not of the type's protocol
    #[error("segmentation type is not that of the frame")]
    GsoProtocol,
    /// `gso_size` is 0, or makes too many segments
    #[error("impossible segment size")]
    GsoSize,
    /// longer than an IP packet can be
    #[error("frame is too long to segment")]
    TooLong,
    /// [`Segments`](super::Segments) only: there is nothing to cut
    #[error("not a frame to segment")]
    NotGso,
    /// [`Segments`](super::Segments) only: checksums behind an IPv6 routing header are not known
    /// here
    #[error("segmentation behind an IPv6 routing header")]
    RoutingHeader,
    /// [`Segments`](super::Segments) only: a datagram to fragment has IPv6 extension headers, which
    /// no sender of such is known to write
    #[error("fragmentation of a datagram with IPv6 extension headers")]
    ExtensionHeaders,
}

/// How a GSO frame is to be cut (virtio 1.2, 5.1.6), each by the feature that lets a driver take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segmentation {
    /// TCP in IPv4
    Tso4,
    /// TCP in IPv6
    Tso6,
    /// one UDP datagram, to be sent in IP fragments
    Ufo,
    /// UDP datagrams of one size in IPv4
    Uso4,
    /// UDP datagrams of one size in IPv6
    Uso6,
}

/// A virtio-net header that fits its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validated {
    header: NetHeader,
    segmentation: Option<Segmentation>,
}

impl Validated {
    /// The header of a frame that asks for nothing.
    pub const PLAIN: Self = Self {
        header: NetHeader {
            needs_csum: false,
            data_valid: false,
            gso: GsoType::None,
            ecn: false,
            hdr_len: 0,
            gso_size: 0,
            csum_start: 0,
            csum_offset: 0,
            num_buffers: 1,
        },
        segmentation: None,
    };

    /// The header to hand to a receiver that negotiated what it asks for; `num_buffers` is 1.
    #[inline]
    pub fn header(&self) -> &NetHeader {
        &self.header
    }

    /// Whether the checksum is partial.
    #[inline]
    pub fn needs_csum(&self) -> bool {
        self.header.needs_csum
    }

    /// Whether the frame is to be segmented.
    #[inline]
    pub fn is_gso(&self) -> bool {
        self.segmentation.is_some()
    }

    /// The same for the frame with a VLAN tag more, or with one less, before its headers.
    #[must_use]
    pub fn moved(mut self, by: i16) -> Self {
        if self.header.needs_csum {
            self.header.csum_start = self.header.csum_start.saturating_add_signed(by);
        }
        if self.is_gso() {
            self.header.hdr_len = self.header.hdr_len.saturating_add_signed(by);
        }
        self
    }

    /// How the frame is to be segmented, if it is.
    #[inline]
    pub fn segmentation(&self) -> Option<Segmentation> {
        self.segmentation
    }
}

/// Checks a sender's header against its frame.
///
/// `head` is the first [`HEAD_LEN`] bytes of the frame, or all of a shorter one, in memory that the
/// sender cannot change any more; `frame_len` is the length of the whole frame without the
/// virtio-net header.
///
/// The result holds only what was checked: DATA_VALID is cleared, which a driver must not set
/// (virtio 1.2, 5.1.6.2.1); `hdr_len` is the true length of the headers of a GSO frame; a GSO frame
/// that fits one segment is not GSO any more; fields that nothing asks for are zero.
///
/// A partial checksum may be TCP's or UDP's own, or lie in the payload of UDP or of another IP
/// protocol: Linux guests leave the inner checksums of tunnels to the device. It never lies in an
/// IP header or before, where completing it would change the addresses that the frame was judged
/// by.
#[inline]
pub fn validate(header: &NetHeader, head: &[u8], frame_len: usize) -> Result<Validated, Reject> {
    if !header.needs_csum && header.gso == GsoType::None {
        return Ok(Validated::PLAIN);
    }
    validate_offloads(header, head, frame_len)
}

fn validate_offloads(
    header: &NetHeader,
    head: &[u8],
    frame_len: usize,
) -> Result<Validated, Reject> {
    if !header.needs_csum {
        return Err(Reject::GsoWithoutChecksum);
    }
    let head = head.get(..frame_len).unwrap_or(head);
    let layout = parse(head)?;
    check_checksum(header, &layout, frame_len)?;
    let mut validated = Validated::PLAIN;
    validated.header.needs_csum = true;
    validated.header.csum_start = header.csum_start;
    validated.header.csum_offset = header.csum_offset;
    match header.gso {
        GsoType::None => {}
        GsoType::TcpV4 => {
            validated.add_tcp(header, Segmentation::Tso4, &layout, head, frame_len)?;
        }
        GsoType::TcpV6 => {
            validated.add_tcp(header, Segmentation::Tso6, &layout, head, frame_len)?;
        }
        GsoType::UdpL4 => validated.add_udp(header, &layout, frame_len)?,
        GsoType::Udp => validated.add_fragmentation(header, &layout, frame_len)?,
    }
    Ok(validated)
}

fn check_checksum(header: &NetHeader, layout: &Layout, frame_len: usize) -> Result<(), Reject> {
    if layout.is_fragment {
        return Err(Reject::Fragment);
    }
    let (start, offset) = (usize::from(header.csum_start), header.csum_offset);
    if start + usize::from(offset) + 2 > frame_len {
        return Err(Reject::ChecksumRange);
    }
    let fits = match layout.protocol {
        TCP => start == layout.l4 && offset == TCP_CHECKSUM,
        UDP => start == layout.l4 && offset == UDP_CHECKSUM || start >= layout.l4 + UDP_LEN,
        _ => start >= layout.l4,
    };
    if fits {
        Ok(())
    } else {
        Err(Reject::ChecksumPlace)
    }
}

impl Validated {
    fn add_tcp(
        &mut self,
        header: &NetHeader,
        segmentation: Segmentation,
        layout: &Layout,
        head: &[u8],
        frame_len: usize,
    ) -> Result<(), Reject> {
        let version = match segmentation {
            Segmentation::Tso4 => IpVersion::V4,
            _ => IpVersion::V6,
        };
        if layout.protocol != TCP || layout.ip != version {
            return Err(Reject::GsoProtocol);
        }
        check_length(layout, frame_len)?;
        let headers_len = layout.tcp_payload(head)?;
        let payload = frame_len.saturating_sub(headers_len);
        if cut(payload, header.gso_size)? {
            self.header.ecn = header.ecn;
            self.set(header, segmentation, headers_len)?;
        }
        Ok(())
    }

    fn add_udp(
        &mut self,
        header: &NetHeader,
        layout: &Layout,
        frame_len: usize,
    ) -> Result<(), Reject> {
        let headers_len = check_udp(header, layout, frame_len)?;
        let segmentation = match layout.ip {
            IpVersion::V4 => Segmentation::Uso4,
            IpVersion::V6 => Segmentation::Uso6,
        };
        if cut(frame_len.saturating_sub(headers_len), header.gso_size)? {
            self.set(header, segmentation, headers_len)?;
        }
        Ok(())
    }

    /// The UDP header travels in the first fragment, and counts.
    fn add_fragmentation(
        &mut self,
        header: &NetHeader,
        layout: &Layout,
        frame_len: usize,
    ) -> Result<(), Reject> {
        let headers_len = check_udp(header, layout, frame_len)?;
        // The header and some of the data fit the first fragment, whatever sizes senders choose.
        if header.gso_size < 2 * FRAGMENT_UNIT {
            return Err(Reject::GsoSize);
        }
        let unit = header.gso_size / FRAGMENT_UNIT * FRAGMENT_UNIT;
        if cut(frame_len.saturating_sub(layout.l4), unit)? {
            self.set(header, Segmentation::Ufo, headers_len)?;
        }
        Ok(())
    }

    fn set(
        &mut self,
        header: &NetHeader,
        segmentation: Segmentation,
        headers_len: usize,
    ) -> Result<(), Reject> {
        self.header.hdr_len = u16::try_from(headers_len).map_err(|_| Reject::TooLong)?;
        self.header.gso = header.gso;
        self.header.gso_size = header.gso_size;
        self.segmentation = Some(segmentation);
        Ok(())
    }
}

/// Whether `bytes` in pieces of `size` are several.
fn cut(bytes: usize, size: u16) -> Result<bool, Reject> {
    if size == 0 {
        return Err(Reject::GsoSize);
    }
    let pieces = bytes.div_ceil(size.into());
    if pieces > MAX_SEGMENTS {
        return Err(Reject::GsoSize);
    }
    Ok(pieces > 1)
}

fn check_length(layout: &Layout, frame_len: usize) -> Result<(), Reject> {
    let max_ip_len = match layout.ip {
        IpVersion::V4 => MAX_IP_LEN,
        IpVersion::V6 => MAX_IP_LEN + IPV6_LEN,
    };
    if frame_len > layout.l3 + max_ip_len {
        return Err(Reject::TooLong);
    }
    Ok(())
}

/// A UDP datagram whose own checksum is to be completed; returns the length of all its headers.
fn check_udp(header: &NetHeader, layout: &Layout, frame_len: usize) -> Result<usize, Reject> {
    if layout.protocol != UDP {
        return Err(Reject::GsoProtocol);
    }
    if usize::from(header.csum_start) != layout.l4 {
        // The checksum of a tunnel's inner packet: that one is not what would be cut.
        return Err(Reject::ChecksumPlace);
    }
    check_length(layout, frame_len)?;
    let headers_len = layout.l4 + UDP_LEN;
    if headers_len > HEAD_LEN {
        // Like a TCP header that does not end within what is looked at.
        return Err(Reject::Headers(ParseError::Truncated));
    }
    Ok(headers_len)
}

#[cfg(test)]
#[path = "validate_test.rs"]
mod tests;
