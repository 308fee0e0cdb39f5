//! Offloads between guests that negotiated different ones.
use super::{
    Net,
    guest::{
        ALL, CSUM, Connected, GUEST_CSUM, GUEST_TSO4, GuestSpec, HOST_TSO4, MRG_RXBUF, wait_for,
    },
    introduce, mac,
};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use virtqueue::{GsoType, NetHeader};

const MSS: u16 = 1448;
const TCP_HEADERS: u16 = 14 + 20 + 20;

/// Bytes that differ from segment to segment.
fn pattern(len: usize) -> Vec<u8> {
    (0..251u8).cycle().take(len).collect()
}

/// A TCP frame of guest 0 for guest 1 with `payload` bytes and a right checksum.
pub(super) fn tcp(payload: usize) -> Vec<u8> {
    let payload = pattern(payload);
    let builder = PacketBuilder::ethernet2(mac(0), mac(1))
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1000, 2000, 77, 4096)
        .ack(1)
        .psh();
    let mut bytes = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut bytes, &payload).unwrap();
    bytes
}

/// The same frame as a guest sends it with CSUM: the checksum field holds that of the pseudo header.
pub(super) fn partial(mut frame: Vec<u8>) -> (NetHeader, Vec<u8>) {
    let length = u32::try_from(frame.len() - 34).unwrap();
    let mut sum: u32 = [0x0a00, 0x0001, 0x0a00, 0x0002, 6, length].iter().sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[50..52].copy_from_slice(&u16::try_from(sum).unwrap().to_be_bytes());
    let header = NetHeader {
        needs_csum: true,
        csum_start: 34,
        csum_offset: 16,
        ..NetHeader::default()
    };
    (header, frame)
}

pub(super) fn gso(payload: usize) -> (NetHeader, Vec<u8>) {
    let (header, frame) = partial(tcp(payload));
    let header = NetHeader {
        gso: GsoType::TcpV4,
        gso_size: MSS,
        hdr_len: TCP_HEADERS,
        ..header
    };
    (header, frame)
}

#[track_caller]
fn pair(net: &Net, to: u64) -> (Connected, Connected) {
    let mut a = net.guest("a", GuestSpec::default());
    let spec = GuestSpec {
        features: to,
        ..GuestSpec::default()
    };
    let mut b = net.guest("b", spec);
    introduce(&mut [&mut a.guest, &mut b.guest]);
    (a, b)
}

#[test]
fn partial_checksum_and_gso_pass_through_untouched() {
    let net = Net::new();
    let (mut a, mut b) = pair(&net, ALL);
    for payload in [10, 3000, 20_000, 65_000] {
        let (header, frame) = if payload == 10 {
            partial(tcp(payload))
        } else {
            gso(payload)
        };
        a.guest.send_with(header, &frame);
        let received = b.guest.receive();
        assert!(received.frame == frame, "{payload} bytes");
        assert!(received.header.needs_csum);
        assert_eq!(received.header.gso, header.gso);
        assert_eq!(received.header.gso_size, header.gso_size);
        assert_eq!(received.header.csum_start, 34);
        assert_eq!(received.header.csum_offset, 16);
        let buffers = (frame.len() + 12).div_ceil(2048);
        assert_eq!(usize::from(received.header.num_buffers), buffers);
    }
    assert_eq!(net.status("b").counters.software_offloads, 0);
}

#[test]
fn checksum_is_completed_for_a_guest_without_guest_csum() {
    let net = Net::new();
    let (mut a, mut b) = pair(&net, ALL & !(GUEST_CSUM | GUEST_TSO4));
    let (header, frame) = partial(tcp(100));
    a.guest.send_with(header, &frame);
    let received = b.guest.receive();
    assert_eq!(received.frame, tcp(100));
    assert!(!received.header.needs_csum);
    assert_eq!(net.status("b").counters.software_offloads, 1);
}

#[test]
fn gso_is_segmented_for_a_guest_without_guest_tso4() {
    for to in [
        ALL & !GUEST_TSO4,
        ALL & !(GUEST_TSO4 | GUEST_CSUM),
        ALL & !(GUEST_TSO4 | GUEST_CSUM | MRG_RXBUF),
    ] {
        let net = Net::new();
        let (mut a, mut b) = pair(&net, to);
        let payload = 20_001;
        let (header, frame) = gso(payload);
        a.guest.send_with(header, &frame);
        let mut stream = Vec::new();
        let mut sequence = 77;
        while stream.len() < payload {
            let received = b.guest.receive();
            assert_eq!(received.header.gso, GsoType::None);
            let sliced = SlicedPacket::from_ethernet(&received.frame).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
                panic!("no TCP");
            };
            assert_eq!(tcp.sequence_number(), sequence);
            assert!(tcp.payload().len() <= usize::from(MSS));
            if received.header.needs_csum {
                assert_ne!(to & GUEST_CSUM, 0);
            } else {
                let right = tcp
                    .calc_checksum_ipv4([10, 0, 0, 1], [10, 0, 0, 2])
                    .unwrap();
                assert_eq!(tcp.checksum(), right);
            }
            stream.extend_from_slice(tcp.payload());
            assert_eq!(tcp.psh(), stream.len() == payload, "PSH on the last only");
            sequence += u32::try_from(tcp.payload().len()).unwrap();
        }
        assert!(stream == pattern(payload));
        assert_eq!(net.status("b").counters.software_offloads, 1);
    }
}

#[test]
fn offloads_that_the_sender_did_not_negotiate_are_dropped() {
    let net = Net::new();
    let spec = GuestSpec {
        features: ALL & !(CSUM | HOST_TSO4),
        ..GuestSpec::default()
    };
    let mut a = net.guest("a", spec);
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let (header, frame) = partial(tcp(100));
    a.guest.send_with(header, &frame);
    let (header, frame) = gso(5000);
    a.guest.send_with(header, &frame);
    a.guest.send(&tcp(100));
    assert_eq!(b.guest.receive().frame, tcp(100));
    assert_eq!(net.status("a").counters.tx_dropped, 2);
}

#[test]
fn hostile_headers_are_dropped_and_counted() {
    let net = Net::new();
    let (mut a, mut b) = pair(&net, ALL & !(GUEST_TSO4 | GUEST_CSUM));
    let (good, frame) = gso(5000);
    let hostile = [
        NetHeader {
            gso_size: 0,
            ..good
        },
        NetHeader {
            csum_start: 60_000,
            ..good
        },
        NetHeader {
            csum_offset: 60_000,
            ..good
        },
        NetHeader {
            gso: GsoType::TcpV6,
            ..good
        },
        NetHeader {
            needs_csum: false,
            ..good
        },
    ];
    for header in hostile {
        a.guest.send_with(header, &frame);
    }
    net.wait_for_status("a", "drops", |a| a.counters.tx_dropped == 5);
    assert_eq!(b.guest.poll(0), None);
    let plain = tcp(100);
    a.guest.send(&plain);
    wait_for("the good frame", || {
        b.guest.poll(0).is_some_and(|got| got.frame == plain)
    });
}
