//! Every kind of segmentation that virtio-net knows, through the rings (virtio 1.2, 5.1.6.2).
use super::{
    Net,
    guest::{
        ALL, CSUM, Connected, GUEST_CSUM, GUEST_TSO4, GUEST_UFO, GUEST_USO4, GuestSpec, HOST_TSO4,
        HOST_UFO, HOST_USO,
    },
    introduce, mac,
};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use virtqueue::{GsoType, NetHeader};

const GUEST_TSO6: u64 = 1 << 8;
const GUEST_ECN: u64 = 1 << 9;
const HOST_TSO6: u64 = 1 << 12;
const HOST_ECN: u64 = 1 << 13;
const GUEST_USO6: u64 = 1 << 55;
const EVERYTHING: u64 = ALL | GUEST_TSO6 | GUEST_ECN | HOST_TSO6 | HOST_ECN | GUEST_USO6;

const SIZE: u16 = 1200;
const PAYLOAD: usize = 15_000;
const ETHERNET: usize = 14;

#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    gso: GsoType,
    ipv6: bool,
    ecn: bool,
    /// What the sender must have negotiated, and the receiver.
    host: u64,
    guest: u64,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "TSO4",
        gso: GsoType::TcpV4,
        ipv6: false,
        ecn: false,
        host: HOST_TSO4,
        guest: GUEST_TSO4,
    },
    Kind {
        name: "TSO6",
        gso: GsoType::TcpV6,
        ipv6: true,
        ecn: false,
        host: HOST_TSO6,
        guest: GUEST_TSO6,
    },
    Kind {
        name: "TSO4 with ECN",
        gso: GsoType::TcpV4,
        ipv6: false,
        ecn: true,
        host: HOST_ECN,
        guest: GUEST_ECN,
    },
    Kind {
        name: "USO4",
        gso: GsoType::UdpL4,
        ipv6: false,
        ecn: false,
        host: HOST_USO,
        guest: GUEST_USO4,
    },
    Kind {
        name: "USO6",
        gso: GsoType::UdpL4,
        ipv6: true,
        ecn: false,
        host: HOST_USO,
        guest: GUEST_USO6,
    },
    Kind {
        name: "UFO",
        gso: GsoType::Udp,
        ipv6: false,
        ecn: false,
        host: HOST_UFO,
        guest: GUEST_UFO,
    },
];

impl Kind {
    fn is_tcp(self) -> bool {
        matches!(self.gso, GsoType::TcpV4 | GsoType::TcpV6)
    }

    /// Offset of the transport header.
    fn transport(self) -> usize {
        ETHERNET + if self.ipv6 { 40 } else { 20 }
    }

    fn headers(self) -> usize {
        self.transport() + if self.is_tcp() { 20 } else { 8 }
    }

    /// A frame from guest 0 to guest 1 as its driver leaves it to the device.
    fn frame(self) -> (NetHeader, Vec<u8>) {
        let builder = PacketBuilder::ethernet2(mac(0), mac(1));
        let builder = if self.ipv6 {
            builder.ipv6([0xfd; 16], [0xfe; 16], 64)
        } else {
            builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        };
        let mut bytes = Vec::new();
        if self.is_tcp() {
            let mut tcp = builder.tcp(1, 2, 77, 4096).ack(1);
            if self.ecn {
                tcp = tcp.cwr();
            }
            tcp.write(&mut bytes, &payload()).unwrap();
        } else {
            builder.udp(1, 2).write(&mut bytes, &payload()).unwrap();
        }
        let field = if self.is_tcp() { 16 } else { 6 };
        let at = self.transport() + usize::from(field);
        let sum = self.pseudo_header_sum(&bytes);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        let header = NetHeader {
            needs_csum: true,
            csum_start: u16::try_from(self.transport()).unwrap(),
            csum_offset: field,
            gso: self.gso,
            gso_size: SIZE,
            hdr_len: u16::try_from(self.headers()).unwrap(),
            ecn: self.ecn,
            ..NetHeader::default()
        };
        (header, bytes)
    }

    /// RFC 9293, 3.1, and RFC 8200, 8.1: addresses, length, protocol.
    fn pseudo_header_sum(self, frame: &[u8]) -> u16 {
        let addresses = if self.ipv6 { 22..54 } else { 26..34 };
        let words = frame[addresses]
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let length = u32::try_from(frame.len() - self.transport()).unwrap();
        let mut sum = words.sum::<u32>() + length + if self.is_tcp() { 6 } else { 17 };
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }
}

fn payload() -> Vec<u8> {
    (0..251u8).cycle().take(PAYLOAD).collect()
}

fn pair(net: &Net, from: u64, to: u64) -> (Connected, Connected) {
    let guest = |name, features| {
        let spec = GuestSpec {
            features,
            ..GuestSpec::default()
        };
        net.guest(name, spec)
    };
    let (mut a, mut b) = (guest("a", from), guest("b", to));
    introduce(&mut [&mut a.guest, &mut b.guest]);
    (a, b)
}

#[test]
fn passes_through_between_guests_that_have_it() {
    for kind in KINDS {
        let net = Net::new();
        let (mut a, mut b) = pair(&net, EVERYTHING, EVERYTHING);
        let (header, frame) = kind.frame();
        a.guest.send_with(header, &frame);
        let got = b.guest.receive();
        assert!(got.frame == frame, "{}", kind.name);
        assert_eq!(
            (got.header.gso, got.header.gso_size, got.header.ecn),
            (kind.gso, SIZE, kind.ecn),
            "{}",
            kind.name
        );
        assert!(got.header.needs_csum);
        assert_eq!(
            net.status("b").counters.software_offloads,
            0,
            "{}",
            kind.name
        );
    }
}

#[test]
fn is_refused_from_a_guest_that_did_not_negotiate_it() {
    for kind in KINDS {
        let net = Net::new();
        let (mut a, mut b) = pair(&net, EVERYTHING & !kind.host, EVERYTHING);
        let (header, frame) = kind.frame();
        a.guest.send_with(header, &frame);
        net.wait_for_status("a", kind.name, |a| a.counters.tx_dropped == 1);
        assert!(b.guest.poll(0).is_none(), "{}", kind.name);
    }
}

/// Neither segments nor checksums are left to a guest that takes neither.
#[test]
fn is_done_for_a_guest_that_does_not_have_it() {
    for kind in KINDS {
        for without in [kind.guest, kind.guest | GUEST_CSUM] {
            let lacks = if without & GUEST_CSUM == 0 {
                without
            } else {
                // What builds on the checksum goes with it (virtio 1.2, 5.1.3.1).
                without | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN | GUEST_UFO | GUEST_USO4 | GUEST_USO6
            };
            let net = Net::new();
            let (mut a, mut b) = pair(&net, EVERYTHING, EVERYTHING & !lacks);
            let (header, frame) = kind.frame();
            a.guest.send_with(header, &frame);
            let data = collect(kind, &mut b, without);
            assert!(data == payload(), "{}", kind.name);
            assert_eq!(
                net.status("b").counters.software_offloads,
                1,
                "{}",
                kind.name
            );
        }
    }
}

/// The payload of all segments, each of them checked.
fn collect(kind: Kind, b: &mut Connected, without: u64) -> Vec<u8> {
    let mut data = Vec::new();
    let udp_header = if kind.gso == GsoType::Udp { 8 } else { 0 };
    while data.len() < PAYLOAD + udp_header {
        let got = b.guest.receive();
        assert_eq!(got.header.gso, GsoType::None, "{}", kind.name);
        assert!(
            without & GUEST_CSUM == 0 || !got.header.needs_csum,
            "{}",
            kind.name
        );
        let sliced = SlicedPacket::from_ethernet(&got.frame).unwrap();
        match sliced.transport {
            // A fragment has no transport header that could be told: its bytes follow IP's.
            None => data.extend(&got.frame[ETHERNET + 20..]),
            Some(TransportSlice::Tcp(tcp)) => {
                assert_eq!(
                    tcp.sequence_number(),
                    77 + u32::try_from(data.len()).unwrap()
                );
                assert_eq!(
                    tcp.cwr(),
                    kind.ecn && data.is_empty(),
                    "CWR on the first only"
                );
                if !got.header.needs_csum {
                    let right = if kind.ipv6 {
                        tcp.calc_checksum_ipv6([0xfd; 16], [0xfe; 16]).unwrap()
                    } else {
                        tcp.calc_checksum_ipv4([10, 0, 0, 1], [10, 0, 0, 2])
                            .unwrap()
                    };
                    assert_eq!(tcp.checksum(), right, "{}", kind.name);
                }
                data.extend(tcp.payload());
            }
            Some(TransportSlice::Udp(udp)) => data.extend(udp.payload()),
            other => panic!("{other:?}"),
        }
    }
    data.split_off(udp_header)
}

/// The features are worth nothing without CSUM.
#[test]
fn needs_the_checksum_offload() {
    let net = Net::new();
    let (mut a, _b) = pair(&net, EVERYTHING & !CSUM, EVERYTHING);
    for (count, kind) in (1..).zip(KINDS) {
        let (header, frame) = kind.frame();
        a.guest.send_with(header, &frame);
        net.wait_for_status("a", kind.name, |a| a.counters.tx_dropped == count);
    }
}
