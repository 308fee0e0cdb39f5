//! `struct virtio_net_hdr_v1` (virtio 1.2, 5.1.6).

/// Bytes of the header on the wire (always with `num_buffers`: VERSION_1 or MRG_RXBUF).
pub const NET_HEADER_LEN: usize = 12;

const F_NEEDS_CSUM: u8 = 1;
const F_DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_UDP: u8 = 3;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Segmentation asked for by a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GsoType {
    /// One plain frame.
    #[default]
    None,
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP fragmentation offload (old).
    Udp,
    /// UDP segmentation offload.
    UdpL4,
}

/// A virtio-net header in private memory, fields in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetHeader {
    /// VIRTIO_NET_HDR_F_NEEDS_CSUM: checksum from `csum_start` is partial
    pub needs_csum: bool,
    /// VIRTIO_NET_HDR_F_DATA_VALID: checksum was verified
    pub data_valid: bool,
    /// Segmentation type
    pub gso: GsoType,
    /// VIRTIO_NET_HDR_GSO_ECN
    pub ecn: bool,
    /// Bytes of all headers (hint, not trusted)
    pub hdr_len: u16,
    /// Payload bytes per segment
    pub gso_size: u16,
    /// Offset of the first checksummed byte
    pub csum_start: u16,
    /// Offset of the checksum from `csum_start`
    pub csum_offset: u16,
    /// RX chains of this frame (mergeable buffers)
    pub num_buffers: u16,
}

impl NetHeader {
    /// Whether an encoded header asks for nothing: neither a checksum nor segmentation.
    #[inline]
    pub fn is_plain(bytes: &[u8; NET_HEADER_LEN]) -> bool {
        const { assert!(GSO_NONE == 0, "both are looked at as one number") };
        let [flags, gso_type, ..] = *bytes;
        u16::from_le_bytes([flags, gso_type]) & u16::from_le_bytes([F_NEEDS_CSUM, !GSO_ECN]) == 0
    }

    /// Decodes; `None`: unknown gso_type. Unknown flags are dropped.
    pub fn decode(bytes: &[u8; NET_HEADER_LEN]) -> Option<Self> {
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1, n0, n1] = *bytes;
        let gso = match gso_type & !GSO_ECN {
            GSO_NONE => GsoType::None,
            GSO_TCPV4 => GsoType::TcpV4,
            GSO_TCPV6 => GsoType::TcpV6,
            GSO_UDP => GsoType::Udp,
            GSO_UDP_L4 => GsoType::UdpL4,
            _ => return None,
        };
        Some(Self {
            needs_csum: flags & F_NEEDS_CSUM != 0,
            data_valid: flags & F_DATA_VALID != 0,
            gso,
            ecn: gso_type & GSO_ECN != 0,
            hdr_len: u16::from_le_bytes([h0, h1]),
            gso_size: u16::from_le_bytes([g0, g1]),
            csum_start: u16::from_le_bytes([s0, s1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
            num_buffers: u16::from_le_bytes([n0, n1]),
        })
    }

    /// Encodes.
    pub fn encode(&self) -> [u8; NET_HEADER_LEN] {
        let flags = if self.needs_csum { F_NEEDS_CSUM } else { 0 }
            | if self.data_valid { F_DATA_VALID } else { 0 };
        let gso = match self.gso {
            GsoType::None => GSO_NONE,
            GsoType::TcpV4 => GSO_TCPV4,
            GsoType::TcpV6 => GSO_TCPV6,
            GsoType::Udp => GSO_UDP,
            GsoType::UdpL4 => GSO_UDP_L4,
        } | if self.ecn { GSO_ECN } else { 0 };
        // Two words, not twelve bytes: whoever copies them on would wait for each store.
        let low = u64::from(flags)
            | u64::from(gso) << 8
            | u64::from(self.hdr_len) << 16
            | u64::from(self.gso_size) << 32
            | u64::from(self.csum_start) << 48;
        let high = u32::from(self.csum_offset) | u32::from(self.num_buffers) << 16;
        let mut bytes = [0; NET_HEADER_LEN];
        bytes[..8].copy_from_slice(&low.to_le_bytes());
        bytes[8..].copy_from_slice(&high.to_le_bytes());
        bytes
    }
}
