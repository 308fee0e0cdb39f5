//! Frames for the tests, put together by `etherparse` from a description.
use etherparse::{IpNumber, Ipv4Header, Ipv6Header, TcpHeader};
use proptest::prelude::*;
use virtqueue::{GsoType, NetHeader};

use super::IpVersion;

pub(super) const SOURCE: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
pub(super) const DESTINATION: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];

/// A TCP frame in words.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) vlan_tags: usize,
    pub(super) version: IpVersion,
    /// 32-bit words of IPv4 options, or IPv6 destination options headers
    pub(super) ip_extras: usize,
    pub(super) tcp: TcpHeader,
    pub(super) identification: u16,
    pub(super) payload: Vec<u8>,
}

impl Shape {
    pub(super) fn new(version: IpVersion, payload_len: usize) -> Self {
        let payload = (0..payload_len)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        let tcp = TcpHeader {
            ack: true,
            ..TcpHeader::new(1000, 2000, 0xffff_fff0, 512)
        };
        Self {
            vlan_tags: 0,
            version,
            ip_extras: 0,
            tcp,
            identification: 0xfffe,
            payload,
        }
    }

    pub(super) fn l3(&self) -> usize {
        14 + 4 * self.vlan_tags
    }

    pub(super) fn l4(&self) -> usize {
        self.l3()
            + match self.version {
                IpVersion::V4 => 20 + 4 * self.ip_extras,
                IpVersion::V6 => 40 + 16 * self.ip_extras,
            }
    }

    pub(super) fn headers_len(&self) -> usize {
        self.l4() + self.tcp.header_len()
    }

    /// The frame as a guest leaves it to the device: the TCP checksum is the sum of the
    /// pseudo-header.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for tag in 0..self.vlan_tags {
            let tpid: u16 = if tag + 1 < self.vlan_tags {
                0x88a8
            } else {
                0x8100
            };
            frame.extend(tpid.to_be_bytes());
            frame.extend([0, 5]);
        }
        let transport_len = self.tcp.header_len() + self.payload.len();
        match self.version {
            IpVersion::V4 => self.push_ipv4(&mut frame, transport_len),
            IpVersion::V6 => self.push_ipv6(&mut frame, transport_len),
        }
        let partial = self.pseudo_header_sum(transport_len);
        frame.extend(
            TcpHeader {
                checksum: partial,
                ..self.tcp.clone()
            }
            .to_bytes(),
        );
        frame.extend(&self.payload);
        frame
    }

    fn push_ipv4(&self, frame: &mut Vec<u8>, transport_len: usize) {
        let (source, destination) = (
            SOURCE[12..].try_into().unwrap(),
            DESTINATION[12..].try_into().unwrap(),
        );
        let mut ip = Ipv4Header::new(0, 64, IpNumber::TCP, source, destination).unwrap();
        ip.identification = self.identification;
        ip.dont_fragment = true;
        ip.options = vec![1; 4 * self.ip_extras].as_slice().try_into().unwrap();
        // A GSO frame may be longer than its length field can say; nobody looks at it.
        ip.total_len = u16::try_from(ip.header_len() + transport_len).unwrap_or(0);
        ip.header_checksum = ip.calc_header_checksum();
        frame.extend(0x0800_u16.to_be_bytes());
        frame.extend(ip.to_bytes());
    }

    fn push_ipv6(&self, frame: &mut Vec<u8>, transport_len: usize) {
        let has_extras = self.ip_extras > 0;
        let ip = Ipv6Header {
            payload_length: u16::try_from(16 * self.ip_extras + transport_len).unwrap_or(0),
            next_header: if has_extras {
                IpNumber::IPV6_DESTINATION_OPTIONS
            } else {
                IpNumber::TCP
            },
            hop_limit: 64,
            source: SOURCE,
            destination: DESTINATION,
            ..Ipv6Header::default()
        };
        frame.extend(0x86dd_u16.to_be_bytes());
        frame.extend(ip.to_bytes());
        for extra in 0..self.ip_extras {
            let next = if extra + 1 < self.ip_extras { 60 } else { 6 };
            // 16 bytes: a PadN option of 12 zeros (RFC 8200, 4.2).
            frame.extend([next, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
    }

    fn pseudo_header_sum(&self, transport_len: usize) -> u16 {
        let start = if self.version == IpVersion::V4 { 12 } else { 0 };
        let words = SOURCE[start..]
            .chunks(2)
            .chain(DESTINATION[start..].chunks(2));
        let sum = words
            .map(|word| u32::from(u16::from_be_bytes(word.try_into().unwrap())))
            .sum::<u32>()
            + 6
            + u32::try_from(transport_len).unwrap();
        let sum = (sum >> 16) + (sum & 0xffff);
        u16::try_from((sum >> 16) + (sum & 0xffff)).unwrap()
    }

    /// What a guest's driver says of the frame.
    pub(super) fn header(&self, gso_size: u16) -> NetHeader {
        let gso = match self.version {
            _ if gso_size == 0 => GsoType::None,
            IpVersion::V4 => GsoType::TcpV4,
            IpVersion::V6 => GsoType::TcpV6,
        };
        NetHeader {
            needs_csum: true,
            gso,
            gso_size,
            hdr_len: u16::try_from(self.headers_len()).unwrap(),
            csum_start: u16::try_from(self.l4()).unwrap(),
            csum_offset: 16,
            ..NetHeader::default()
        }
    }
}

pub(super) fn version() -> impl Strategy<Value = IpVersion> {
    prop::sample::select(vec![IpVersion::V4, IpVersion::V6])
}

/// TCP frames of all shapes that may be segmented.
pub(super) fn shape(max_payload: usize) -> impl Strategy<Value = Shape> {
    let tcp = (
        any::<u32>(),
        any::<[bool; 5]>(),
        prop::collection::vec(Just(1_u8), 0..=10),
    )
        .prop_map(|(sequence, [fin, psh, cwr, ece, urg], options)| {
            let mut tcp = TcpHeader::new(1000, 2000, sequence, 512);
            (tcp.ack, tcp.fin, tcp.psh, tcp.cwr, tcp.ece, tcp.urg) =
                (true, fin, psh, cwr, ece, urg);
            tcp.set_options_raw(&options.repeat(4)).unwrap();
            tcp
        });
    let payload = prop::collection::vec(any::<u8>(), 1..=max_payload);
    (
        0_usize..=2,
        version(),
        0_usize..=5,
        tcp,
        any::<u16>(),
        payload,
    )
        .prop_map(
            |(vlan_tags, version, ip_extras, tcp, identification, payload)| Shape {
                vlan_tags,
                version,
                ip_extras,
                tcp,
                identification,
                payload,
            },
        )
}
