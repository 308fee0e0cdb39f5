//! Segments against `etherparse` and `smoltcp`, and frames that try to break the cutter.
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use smoltcp::wire::{IpAddress, Ipv4Packet, TcpPacket};
use virtqueue::NetHeader;

use super::super::MAX_SEGMENTS;
use super::super::fixture::{Shape, shape};
use super::*;

fn segments(shape: &Shape, mss: u16) -> Vec<Vec<u8>> {
    let frame = shape.frame();
    let validated = validate(
        &shape.header(mss),
        &frame[..frame.len().min(HEAD_LEN)],
        frame.len(),
    )
    .unwrap();
    let mut segments = Segments::new(&validated, &frame).unwrap();
    let mut out = vec![0xaa; segments.max_segment_len()];
    let mut all = Vec::new();
    while let Some(len) = segments.next_into(&mut out) {
        all.push(out[..len].to_vec());
    }
    assert_eq!(segments.remaining(), 0);
    all
}

fn ip_addr(octets: impl Into<std::net::IpAddr>) -> IpAddress {
    octets.into().into()
}

/// Checks one segment on its own against both oracles, and the fields that depend on its place.
fn check_segment(shape: &Shape, segment: &[u8], index: usize, offset: usize) -> Vec<u8> {
    let packet = SlicedPacket::from_ethernet(segment).expect("etherparse reads the segment");
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
        panic!("not TCP")
    };
    let (source, destination): (IpAddress, IpAddress) = match packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(usize::from(header.total_len), segment.len() - shape.l3());
            let identification = shape
                .identification
                .wrapping_add(u16::try_from(index).unwrap());
            assert_eq!(header.identification, identification);
            assert!(
                Ipv4Packet::new_checked(&segment[shape.l3()..])
                    .unwrap()
                    .verify_checksum()
            );
            assert_eq!(
                tcp.calc_checksum_ipv4(header.source, header.destination),
                Ok(tcp.checksum())
            );
            (ip_addr(header.source), ip_addr(header.destination))
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(
                usize::from(header.payload_length),
                segment.len() - shape.l3() - IPV6_LEN
            );
            let checksum = tcp.calc_checksum_ipv6(header.source, header.destination);
            assert_eq!(checksum, Ok(tcp.checksum()));
            (ip_addr(header.source), ip_addr(header.destination))
        }
        other => panic!("not IP: {other:?}"),
    };
    assert!(
        TcpPacket::new_checked(tcp.slice())
            .unwrap()
            .verify_checksum(&source, &destination)
    );

    let last = offset + tcp.payload().len() == shape.payload.len();
    let expected = etherparse::TcpHeader {
        sequence_number: shape
            .tcp
            .sequence_number
            .wrapping_add(u32::try_from(offset).unwrap()),
        fin: shape.tcp.fin && last,
        psh: shape.tcp.psh && last,
        cwr: shape.tcp.cwr && index == 0,
        checksum: tcp.checksum(),
        ..shape.tcp.clone()
    };
    assert_eq!(tcp.to_header(), expected);
    // Ethernet, tags, IP options and extension headers are those of the frame.
    let frame = shape.frame();
    assert_eq!(segment[..shape.l3()], frame[..shape.l3()]);
    let fixed_ip = match shape.version {
        IpVersion::V4 => 20,
        IpVersion::V6 => IPV6_LEN,
    };
    assert_eq!(
        segment[shape.l3() + fixed_ip..shape.l4()],
        frame[shape.l3() + fixed_ip..shape.l4()]
    );
    tcp.payload().to_vec()
}

fn check_all(shape: &Shape, mss: u16) {
    let mut reassembled = Vec::new();
    let segments = segments(shape, mss);
    assert_eq!(segments.len(), shape.payload.len().div_ceil(mss.into()));
    for (index, segment) in segments.iter().enumerate() {
        let payload = check_segment(shape, segment, index, reassembled.len());
        assert!(payload.len() == usize::from(mss) || index + 1 == segments.len());
        reassembled.extend(payload);
    }
    assert_eq!(reassembled, shape.payload);
}

#[test]
fn the_longest_frames() {
    check_all(&Shape::new(IpVersion::V4, 65_535 - 40), 1448);
    check_all(&Shape::new(IpVersion::V6, 65_535 - 20), 8948);
    check_all(&Shape::new(IpVersion::V6, 65_535 - 20), 36);
    check_all(&Shape::new(IpVersion::V4, MAX_SEGMENTS), 1);
}

#[test]
fn exact_multiples_and_remainders() {
    for payload in [1449, 2895, 2896, 2897] {
        check_all(&Shape::new(IpVersion::V4, payload), 1448);
    }
}

#[test]
fn a_short_buffer_loses_nothing() {
    let shape = Shape::new(IpVersion::V4, 3000);
    let frame = shape.frame();
    let validated = validate(&shape.header(1000), &frame[..HEAD_LEN], frame.len()).unwrap();
    let mut segments = Segments::new(&validated, &frame).unwrap();
    assert_eq!(segments.max_segment_len(), 1054);
    assert_eq!(segments.next_into(&mut [0; 1053]), None);
    assert_eq!(segments.next_into(&mut []), None);
    assert_eq!(segments.remaining(), 3);
    assert_eq!(segments.next_into(&mut [0; 1054]), Some(1054));
    let segment = segments.next_segment().unwrap();
    assert_eq!(segment.copy_to(&mut [0; 1053]), None);
    assert_eq!(segment.payload, &frame[1054..2054]);
    assert_eq!(segments.remaining(), 1);
}

#[test]
fn frames_that_are_not_to_be_cut() {
    let shape = Shape::new(IpVersion::V4, 1000);
    let frame = shape.frame();
    for validated in [
        Validated::PLAIN,
        validate(&shape.header(1000), &frame[..HEAD_LEN], frame.len()).unwrap(),
    ] {
        assert_eq!(
            Segments::new(&validated, &frame).err(),
            Some(Reject::NotGso)
        );
    }
}

#[test]
fn a_routing_header_is_refused() {
    let shape = Shape {
        ip_extras: 1,
        ..Shape::new(IpVersion::V6, 3000)
    };
    let mut frame = shape.frame();
    frame[20] = 43;
    let validated = validate(&shape.header(1000), &frame[..HEAD_LEN], frame.len()).unwrap();
    assert_eq!(
        Segments::new(&validated, &frame).err(),
        Some(Reject::RoutingHeader)
    );
}

proptest! {
    #[test]
    fn segments_are_frames_and_make_up_the_payload(shape in shape(6000), mss in 36_u16..1500) {
        prop_assume!(shape.payload.len() > usize::from(mss));
        check_all(&shape, mss);
    }

    /// The frame that is cut need not be the one that was validated: a guest may have changed it
    /// meanwhile.
    #[test]
    fn a_changed_frame_is_cut_or_refused(
        shape in shape(3000),
        mss in 2_u16..1500,
        flips in prop::collection::vec((0_usize..128, any::<u8>()), 0..6),
        cut in 0_usize..4000,
    ) {
        let mut frame = shape.frame();
        let header: NetHeader = shape.header(mss);
        let head = &frame[..frame.len().min(HEAD_LEN)];
        let Ok(validated) = validate(&header, head, frame.len()) else { return Ok(()) };
        for (at, byte) in flips {
            let at = at % frame.len();
            frame[at] = byte;
        }
        frame.truncate(cut);
        let Ok(mut segments) = Segments::new(&validated, &frame) else { return Ok(()) };
        let mut out = vec![0; segments.max_segment_len()];
        let (expected, mut count, mut bytes) = (segments.remaining(), 0, 0);
        prop_assert!(expected <= MAX_SEGMENTS);
        while let Some(len) = segments.next_into(&mut out) {
            count += 1;
            bytes += len - segments.headers_len;
        }
        prop_assert_eq!((count, bytes), (expected, segments.payload.len()));
    }
}
