//! What a virtio-net header may claim (virtio 1.2, 5.1.6.2).
use super::{
    super::guest::{ALL, CSUM, Connected, GUEST_CSUM, GUEST_TSO4, GuestSpec, HOST_TSO4, wait_for},
    SCRATCH, Stage, expect_drops, goes_on, introduce, mac, transmit_raw,
};
use crate::offload::{self, HEAD_LEN};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use virtqueue::{GsoType, NET_HEADER_LEN, NetHeader};

const HOST_TSO6: u64 = 1 << 12;
const MALFORMED: &str = "malformed";
const SEQUENCE: u32 = 77;
const MSS: u16 = 1000;

fn stage(to: u64) -> (Stage, Connected, Connected) {
    let a = GuestSpec {
        features: ALL | HOST_TSO6,
        ..GuestSpec::default()
    };
    let b = GuestSpec {
        features: to,
        ..GuestSpec::default()
    };
    Stage::new(a, b)
}

fn payload(len: usize) -> Vec<u8> {
    (0..251u8).cycle().take(len).collect()
}

/// A TCP frame from `a` to `b`.
fn tcp(len: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(mac(0), mac(1))
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1, 2, SEQUENCE, 4096);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &payload(len)).unwrap();
    bytes
}

/// The true header of `tcp`.
fn honest() -> NetHeader {
    NetHeader {
        needs_csum: true,
        gso: GsoType::TcpV4,
        gso_size: MSS,
        hdr_len: 54,
        csum_start: 34,
        csum_offset: 16,
        ..NetHeader::default()
    }
}

/// Each of these headers is refused and counted, and none of the frames arrives.
#[track_caller]
fn refused(to: u64, lies: &[([u8; NET_HEADER_LEN], &[u8])]) {
    let (mut stage, mut a, mut b) = stage(to);
    stage.during(|net, _| {
        for (count, (header, frame)) in (1..).zip(lies) {
            transmit_raw(&mut a.guest, *header, frame);
            expect_drops(net, "a", 1, MALFORMED, count);
        }
        assert_eq!(b.guest.poll(0), None);
        goes_on(&mut a, &mut b, 1);
    });
}

#[test]
fn segmentation_lies() {
    let frame = tcp(5000);
    let lie = |change: fn(&mut NetHeader)| {
        let mut header = honest();
        change(&mut header);
        header.encode()
    };
    let mut unknown = honest().encode();
    unknown[1] = 2;
    let mut ecn_alone = honest().encode();
    ecn_alone[1] = 0x7f;
    let lies = [
        unknown,
        ecn_alone,
        lie(|h| h.gso_size = 0),
        // 5000 segments.
        lie(|h| h.gso_size = 1),
        lie(|h| h.gso = GsoType::TcpV6),
        lie(|h| h.needs_csum = false),
    ];
    let lies: Vec<_> = lies.iter().map(|header| (*header, &frame[..])).collect();
    for to in [ALL, ALL & !(GUEST_TSO4 | GUEST_CSUM)] {
        refused(to, &lies);
    }
    // No lies but useless: more in a segment than there is, a hint of headers beyond the frame.
    let (mut stage, mut a, mut b) = stage(ALL);
    stage.during(|net, _| {
        transmit_raw(&mut a.guest, lie(|h| h.gso_size = u16::MAX), &frame);
        let whole = b.guest.receive();
        assert_eq!(whole.frame, frame);
        assert_eq!(whole.header.gso, GsoType::None, "it is one segment");
        transmit_raw(&mut a.guest, lie(|h| h.hdr_len = u16::MAX), &frame);
        let received = b.guest.receive();
        assert_eq!(received.header.hdr_len, 54, "the true one");
        assert_eq!(net.status("a").counters.tx_dropped, 0);
    });
}

#[test]
fn checksum_lies() {
    let frame = tcp(100);
    let mut udp = Vec::new();
    PacketBuilder::ethernet2(mac(0), mac(1))
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1, 2)
        .write(&mut udp, &[7; 100])
        .unwrap();
    let mut icmp = Vec::new();
    PacketBuilder::ethernet2(mac(0), mac(1))
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .icmpv4_echo_request(1, 2)
        .write(&mut icmp, &[7; 100])
        .unwrap();
    let arp = super::frame(mac(1), mac(0), 60, 1);
    let at = |csum_start, csum_offset| {
        NetHeader {
            needs_csum: true,
            csum_start,
            csum_offset,
            ..NetHeader::default()
        }
        .encode()
    };
    refused(
        ALL & !(GUEST_TSO4 | GUEST_CSUM),
        &[
            // Beyond the frame, by its start, its offset, both, and their sum.
            (at(u16::MAX, 16), &frame),
            (at(34, u16::MAX), &frame),
            (at(u16::MAX, u16::MAX), &frame),
            (at(34, 120), &frame),
            // In the Ethernet, the IP, the TCP header.
            (at(0, 0), &frame),
            (at(0, 6), &frame),
            (at(14, 10), &frame),
            (at(26, 0), &frame),
            (at(34, 0), &frame),
            (at(54, 0), &frame),
            (at(34, 16), &udp),
            // IP, but before what is neither TCP nor UDP; not IP at all.
            (at(20, 14), &icmp),
            (at(34, 16), &arp),
        ],
    );
}

#[test]
fn offloads_that_were_not_negotiated() {
    let frame = tcp(5000);
    let with = |change: fn(&mut NetHeader)| {
        let mut header = honest();
        change(&mut header);
        header
    };
    let plain_checksum = with(|h| {
        h.gso = GsoType::None;
        h.gso_size = 0;
    });
    for (features, header) in [
        (ALL & !HOST_TSO4, honest()),
        (ALL & !(HOST_TSO4 | CSUM), honest()),
        (ALL & !(HOST_TSO4 | CSUM), plain_checksum),
        (ALL, with(|h| h.ecn = true)),
        (ALL, with(|h| h.gso = GsoType::Udp)),
        (ALL, with(|h| h.gso = GsoType::UdpL4)),
    ] {
        let spec = GuestSpec {
            features,
            ..GuestSpec::default()
        };
        let (mut stage, mut a, mut b) = Stage::new(spec, GuestSpec::default());
        stage.during(|net, _| {
            transmit_raw(&mut a.guest, header.encode(), &frame);
            expect_drops(net, "a", 1, MALFORMED, 1);
            assert_eq!(b.guest.poll(0), None);
            goes_on(&mut a, &mut b, 1);
        });
    }
}

/// Takes the segments of a stream of `len` bytes, each a sound frame with the same headers, and puts it together again.
#[track_caller]
fn reassemble(b: &mut Connected, len: usize, headers: &[u8], checksum: impl Fn(&TcpOf<'_>) -> u16) {
    let mut stream = Vec::new();
    while stream.len() < len {
        let received = b.guest.receive();
        assert_eq!(received.header.gso, GsoType::None);
        assert!(received.frame.starts_with(headers));
        let sliced = SlicedPacket::from_ethernet(&received.frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
            panic!("no TCP: {sliced:?}");
        };
        assert_eq!(
            tcp.sequence_number(),
            SEQUENCE + u32::try_from(stream.len()).unwrap()
        );
        assert!(tcp.payload().len() <= usize::from(MSS));
        assert_eq!(tcp.checksum(), checksum(tcp));
        stream.extend_from_slice(tcp.payload());
    }
    assert!(stream == payload(len));
}

type TcpOf<'a> = etherparse::TcpSlice<'a>;

#[test]
fn vlan_tagged_gso() {
    const TAG: [u8; 4] = [0x81, 0x00, 0x00, 0x05];
    let (mut stage, mut a, mut b) = stage(ALL & !(GUEST_TSO4 | GUEST_CSUM));
    stage.during(|net, _| {
        for tags in 1..=2u16 {
            let mut frame = tcp(5000);
            for _ in 0..tags {
                frame.splice(12..12, TAG);
            }
            let header = NetHeader {
                csum_start: 34 + 4 * tags,
                ..honest()
            };
            transmit_raw(&mut a.guest, header.encode(), &frame);
            let start = 14 + 4 * usize::from(tags);
            reassemble(&mut b, 5000, &frame[..start], |tcp| {
                tcp.calc_checksum_ipv4([10, 0, 0, 1], [10, 0, 0, 2])
                    .unwrap()
            });
            let in_software = net.status("b").counters.software_offloads;
            assert_eq!(in_software, u64::from(tags));
        }
        // One tag more than IEEE 802.1Q has, and a checksum that is off by a tag.
        let mut frame = tcp(5000);
        for _ in 0..3 {
            frame.splice(12..12, TAG);
        }
        let header = |csum_start| NetHeader {
            csum_start,
            ..honest()
        };
        transmit_raw(&mut a.guest, header(46).encode(), &frame);
        frame.drain(12..20);
        transmit_raw(&mut a.guest, header(34).encode(), &frame);
        expect_drops(net, "a", 1, MALFORMED, 2);
        goes_on(&mut a, &mut b, 1);
    });
}

/// An IPv6 TCP frame with extension headers, and the header for it. Destination options are 60, a routing header is 43.
fn tcp6(extensions: &[u8], len: usize) -> (NetHeader, Vec<u8>) {
    const TCP: u8 = 6;
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(mac(0), mac(1))
        .ipv6([0xfd; 16], [0xfe; 16], 64)
        .tcp(1, 2, SEQUENCE, 4096)
        .write(&mut bytes, &payload(len))
        .unwrap();
    let mut next = TCP;
    for extension in extensions.iter().rev() {
        // Of 8 bytes, PadN; a routing header of an unknown type with no segments left.
        bytes.splice(54..54, [next, 0, 1, 4, 0, 0, 0, 0]);
        next = *extension;
    }
    bytes[20] = next;
    let header = NetHeader {
        gso: GsoType::TcpV6,
        csum_start: 54 + 8 * u16::try_from(extensions.len()).unwrap(),
        ..honest()
    };
    (header, bytes)
}

#[test]
fn tso6_with_extension_headers() {
    const DESTINATION: u8 = 60;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    let (mut stage, mut a, mut b) = stage(ALL & !(GUEST_TSO4 | GUEST_CSUM));
    stage.during(|net, _| {
        for extensions in [&[][..], &[DESTINATION], &[0, DESTINATION]] {
            let (header, frame) = tcp6(extensions, 5000);
            transmit_raw(&mut a.guest, header.encode(), &frame);
            reassemble(&mut b, 5000, &frame[..18], |tcp| {
                tcp.calc_checksum_ipv6([0xfd; 16], [0xfe; 16]).unwrap()
            });
        }
        // The pseudo-header may have another destination: it cannot be done in software.
        let (header, frame) = tcp6(&[ROUTING], 5000);
        transmit_raw(&mut a.guest, header.encode(), &frame);
        expect_drops(net, "b", 0, "offload_failed", 1);
        // More than RFC 8200 has; a chain that leads out of the frame's start.
        let (header, frame) = tcp6(&[DESTINATION; 7], 5000);
        transmit_raw(&mut a.guest, header.encode(), &frame);
        let (header, mut frame) = tcp6(&[DESTINATION], 5000);
        frame[55] = 255;
        transmit_raw(&mut a.guest, header.encode(), &frame);
        // A fragment has no transport header to cut at.
        let (header, mut frame) = tcp6(&[FRAGMENT], 5000);
        frame[57] = 1;
        transmit_raw(&mut a.guest, header.encode(), &frame);
        expect_drops(net, "a", 1, MALFORMED, 3);
        assert_eq!(b.guest.poll(0), None);
        goes_on(&mut a, &mut b, 1);
    });
}

/// A thread rewrites header and frame all the time while the device works on them. Whatever arrives is a header that fits its
/// frame, and arrives where the frame itself says: nothing is judged by one reading and delivered by another.
#[test]
fn rewritten_between_reads() {
    for to in [ALL, ALL & !(GUEST_TSO4 | GUEST_CSUM)] {
        let (mut stage, mut a, mut b) = stage(to);
        let spec = GuestSpec {
            features: to,
            ..GuestSpec::default()
        };
        let mut other = stage.net.guest("other", spec);
        introduce(&mut [&mut a.guest, &mut b.guest, &mut other.guest]);
        while !a.guest.reap().is_empty() {}
        stage.during(|net, _| {
            let done = AtomicBool::new(false);
            let map = std::sync::Arc::clone(&a.guest.memory.map);
            std::thread::scope(|scope| {
                scope.spawn(|| rewrite(&map, &done));
                let mut received = 0;
                wait_for("300 frames", || {
                    let chain = [
                        super::readable(SCRATCH, 12),
                        super::readable(SCRATCH + 12, 5054),
                    ];
                    super::transmit(&mut a.guest, &[&chain[..]; 8]);
                    while let Some(got) = b.guest.poll(0) {
                        received += 1;
                        check_consistent(mac(1), &got.header, &got.frame);
                    }
                    while let Some(got) = other.guest.poll(0) {
                        check_consistent(mac(2), &got.header, &got.frame);
                    }
                    received > 300
                });
                done.store(true, Ordering::Release);
            });
            assert_eq!(net.status("a").counters.faults, 0);
            while b.guest.poll(0).is_some() {}
            goes_on(&mut a, &mut b, 1);
        });
    }
}

fn check_consistent(to: [u8; 6], header: &NetHeader, frame: &[u8]) {
    assert_eq!(frame[..6], to, "somebody else's");
    let head = &frame[..frame.len().min(HEAD_LEN)];
    let again = offload::validate(header, head, frame.len());
    assert!(again.is_ok(), "{again:?}: {header:?}");
}

/// Headers that are right and wrong, and two destinations. Not a witness: one that is flooded by unicast frames may miss some.
fn rewrite(map: &virtqueue::MemoryMap, done: &AtomicBool) {
    let good = tcp(5000);
    assert!(map.write(SCRATCH + 12, &good));
    let beyond = NetHeader {
        csum_start: u16::MAX,
        gso_size: 0,
        ..honest()
    };
    let mut turn = 0usize;
    while !done.load(Ordering::Acquire) {
        let header = [honest(), NetHeader::default(), beyond][turn % 3];
        let to = [mac(1), mac(1), mac(2)][turn / 3 % 3];
        // IP version and header length, protocol, TCP data offset: what the layout is read from.
        let fields = [
            (26, [0x45, 0x4f, 0x46][turn / 2 % 3]),
            (35, [6, 17, 1][turn / 5 % 3]),
            (58, [0x50, 0xf0, 0x10][turn / 7 % 3]),
        ];
        assert!(map.write(SCRATCH, &header.encode()));
        assert!(map.write(SCRATCH + 12, &to));
        for (at, value) in fields {
            assert!(map.write(SCRATCH + at, &[value]));
        }
        turn += 1;
    }
}
