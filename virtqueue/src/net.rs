//! `struct virtio_net_hdr_v1` (virtio 1.2, 5.1.6).

/// Bytes of the header on the wire (always with `num_buffers`, VERSION_1 or MRG_RXBUF).
pub const NET_HEADER_LEN: usize = 12;

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
    /// Decodes; `None`: unknown gso_type.
    pub fn decode(_bytes: &[u8; NET_HEADER_LEN]) -> Option<Self> {
        todo!()
    }
    /// Encodes.
    pub fn encode(&self) -> [u8; NET_HEADER_LEN] {
        todo!()
    }
}
