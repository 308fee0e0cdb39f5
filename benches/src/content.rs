//! What the frames contain: UDP or one large TCP segment over IPv4, a number, and a payload that follows from the number.

use std::{fmt, str::FromStr};

use anyhow::{bail, ensure};
use virtqueue::{GsoType, NET_HEADER_LEN, NetHeader};

use crate::stations::Parties;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const TCP: usize = 20;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
/// TCP payload of a full segment with timestamps on Ethernet.
const SEGMENT: u16 = 1448;
/// As many full segments as one IPv4 packet holds (RFC 791: 65535 bytes).
const SEGMENTS: u16 = 45;
/// Where TCP and UDP have their checksums (RFC 9293, 3.1; RFC 768).
const TCP_CHECKSUM: u16 = 16;
/// Where `struct virtio_net_hdr` has `num_buffers` (virtio 1.2, 5.1.6).
pub(crate) const NUM_BUFFERS: usize = 10;
/// Where frames have their addresses, the virtio-net header counted.
pub(crate) const ADDRESSES: usize = NET_HEADER_LEN;
/// Where UDP and TCP have their source port.
pub(crate) const SOURCE_PORT: usize = NET_HEADER_LEN + ETHERNET + IPV4;
/// First source port: the dynamic ones (RFC 6335, 6).
const FIRST_PORT: u16 = 0xC000;
/// Headers, number and one byte: less is no frame of ours.
const SMALLEST: u32 = 60;
/// Jumbo frames.
const LARGEST: u32 = 9018;
/// Payloads are windows of one table, at as many places. A prime: rings of any size see them all in every buffer.
const WINDOWS: u64 = 251;

/// Bytes of the number in each frame.
pub(crate) const NUMBER: usize = 8;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A UDP datagram in a frame of so many bytes, FCS not counted.
    Plain(u32),
    /// A TCP segment of nearly 64 KiB with VIRTIO_NET_HDR_GSO_TCPV4.
    Gso,
}

impl FromStr for FrameKind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "gso" {
            return Ok(Self::Gso);
        }
        match text.parse() {
            Ok(len @ SMALLEST..=LARGEST) => Ok(Self::Plain(len)),
            _ => bail!("frames have {SMALLEST} to {LARGEST} bytes; or say gso"),
        }
    }
}

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(len) => len.fmt(f),
            Self::Gso => f.pad("gso"),
        }
    }
}

/// The bytes of all frames of one kind.
#[derive(Debug)]
pub struct Content {
    /// virtio-net header and protocol headers, the same for each frame.
    start: Vec<u8>,
    /// Bytes of a frame, virtio-net header not counted.
    frame: usize,
    /// All payloads are windows of it.
    table: Vec<u8>,
    parties: Parties,
}

impl Content {
    /// Frames of `kind` from one station to another.
    pub fn new(kind: FrameKind) -> anyhow::Result<Self> {
        Self::between(kind, Parties::default())
    }

    /// Frames of `kind` from the stations of one side to those of the other.
    pub(crate) fn between(kind: FrameKind, parties: Parties) -> anyhow::Result<Self> {
        let (header, protocol, frame) = match kind {
            FrameKind::Plain(len) => (NetHeader::default(), PROTOCOL_UDP, usize::try_from(len)?),
            FrameKind::Gso => (
                gso_header()?,
                PROTOCOL_TCP,
                ETHERNET + IPV4 + TCP + usize::from(SEGMENT) * usize::from(SEGMENTS),
            ),
        };
        let mut start = header.encode().to_vec();
        start.extend(parties.target.address(0));
        start.extend(parties.source.address(0));
        start.extend([0x08, 0x00]);
        start.extend(ipv4(protocol, frame - ETHERNET)?);
        match kind {
            FrameKind::Plain(_) => start.extend(udp(frame - ETHERNET - IPV4)?),
            FrameKind::Gso => start.extend(tcp()),
        }
        let room = frame + NET_HEADER_LEN;
        ensure!(room > start.len() + NUMBER, "frames hold no payload");
        let table = noise(room - start.len() - NUMBER + usize::try_from(WINDOWS)?);
        Ok(Self {
            start,
            frame,
            table,
            parties,
        })
    }

    /// Who sends to whom.
    pub(crate) fn parties(&self) -> &Parties {
        &self.parties
    }

    /// Destination and source address of frame `number`, at [`ADDRESSES`].
    pub(crate) fn addresses(&self, number: u64) -> [u8; 12] {
        let mut both = [0; 12];
        let (target, source) = both.split_at_mut(6);
        target.copy_from_slice(&self.parties.target.address(number));
        source.copy_from_slice(&self.parties.source.address(number));
        both
    }

    /// Source port of frame `number`, at [`SOURCE_PORT`].
    pub(crate) fn source_port(&self, number: u64) -> [u8; 2] {
        // Less than `flows`, which has 16 bits.
        let flow = u16::try_from(number % u64::from(self.parties.flows.max(1))).unwrap_or(0);
        FIRST_PORT.wrapping_add(flow).to_be_bytes()
    }

    /// Bytes of a frame, FCS and virtio-net header not counted.
    pub fn frame_len(&self) -> usize {
        self.frame
    }

    /// virtio-net header and headers of the frame.
    pub(crate) fn start(&self) -> &[u8] {
        &self.start
    }

    /// Frame `number` as it is on a wire, without virtio-net header.
    pub(crate) fn frame(&self, number: u64) -> Vec<u8> {
        let headers = self.start.get(NET_HEADER_LEN..).unwrap_or_default();
        [headers, &number.to_le_bytes(), self.payload(number)].concat()
    }

    /// The number of a frame as it is on a wire; `None`: it is none of ours.
    pub(crate) fn number_of(&self, frame: &[u8]) -> Option<u64> {
        let headers = self.start.get(NET_HEADER_LEN..)?;
        let number = frame.strip_prefix(headers)?.first_chunk()?;
        Some(u64::from_le_bytes(*number))
    }

    /// The payload behind the number of frame `number`.
    pub(crate) fn payload(&self, number: u64) -> &[u8] {
        let len = self.frame + NET_HEADER_LEN - self.start.len() - NUMBER;
        let from = usize::try_from(number % WINDOWS).unwrap_or(0);
        self.table.get(from..from + len).unwrap_or_default()
    }
}

fn gso_header() -> anyhow::Result<NetHeader> {
    Ok(NetHeader {
        needs_csum: true,
        gso: GsoType::TcpV4,
        hdr_len: u16::try_from(ETHERNET + IPV4 + TCP)?,
        gso_size: SEGMENT,
        csum_start: u16::try_from(ETHERNET + IPV4)?,
        csum_offset: TCP_CHECKSUM,
        ..NetHeader::default()
    })
}

/// From 10.0.0.10 to 10.0.0.11 (RFC 791, 3.1).
fn ipv4(protocol: u8, len: usize) -> anyhow::Result<[u8; IPV4]> {
    let [len_high, len_low] = u16::try_from(len)?.to_be_bytes();
    let mut bytes = [
        0x45, 0, len_high, len_low, 0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 10, 10, 0, 0, 11,
    ];
    let mut sum: u32 = bytes
        .chunks_exact(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [high, low] = (!u16::try_from(sum)?).to_be_bytes();
    (bytes[10], bytes[11]) = (high, low);
    Ok(bytes)
}

/// Port 9, discard; no checksum (RFC 768).
fn udp(len: usize) -> anyhow::Result<[u8; UDP]> {
    let [high, low] = u16::try_from(len)?.to_be_bytes();
    Ok([0xC0, 0, 0, 9, high, low, 0, 0])
}

/// A segment in the middle of a stream; its checksum is the receiver's or the back-end's to complete.
fn tcp() -> [u8; TCP] {
    let (ack, data_offset) = (0x10, 5 << 4);
    [
        0xC0,
        0,
        0,
        9,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        data_offset,
        ack,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
    ]
}

/// Bytes without a pattern (xorshift64, Marsaglia 2003): a shifted or repeated piece is noticed.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(len)
    .collect()
}

#[cfg(test)]
#[path = "content_test.rs"]
mod tests;
