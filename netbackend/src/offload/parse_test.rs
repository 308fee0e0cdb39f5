//! Layouts against `etherparse`, and what is refused.
use proptest::prelude::*;

use super::super::fixture::{Shape, shape};
use super::*;

const IPV6_HEADER: [u8; IPV6_LEN] = {
    let mut header = [0; IPV6_LEN];
    header[0] = 0x60;
    header
};

/// An IPv6 frame with these extension headers, each given as next header and bytes from the second
/// on.
fn ipv6(first: u8, extensions: &[(u8, &[u8])]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend(ETHERTYPE_IPV6.to_be_bytes());
    let mut header = IPV6_HEADER;
    header[6] = first;
    frame.extend(header);
    for (next, rest) in extensions {
        frame.push(*next);
        frame.extend(*rest);
    }
    frame.extend([0x50; 20]);
    frame
}

#[test]
fn offsets_of_all_header_mixes() {
    for version in [IpVersion::V4, IpVersion::V6] {
        for vlan_tags in 0..=2 {
            for ip_extras in 0..=5 {
                let shape = Shape {
                    vlan_tags,
                    ip_extras,
                    ..Shape::new(version, 10)
                };
                let frame = shape.frame();
                let layout = parse(&frame).unwrap();
                let expected = Layout {
                    l3: shape.l3(),
                    ip: version,
                    l4: shape.l4(),
                    protocol: TCP,
                    is_fragment: false,
                    has_routing_header: false,
                };
                assert_eq!(layout, expected);
                assert_eq!(layout.tcp_payload(&frame), Ok(shape.headers_len()));
            }
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    for version in [IpVersion::V4, IpVersion::V6] {
        let shape = Shape {
            vlan_tags: 2,
            ip_extras: 2,
            ..Shape::new(version, 0)
        };
        let frame = shape.frame();
        for len in 0..shape.l4() {
            assert_eq!(parse(&frame[..len]), Err(ParseError::Truncated), "{len}");
        }
        let layout = parse(&frame).unwrap();
        for len in shape.l4()..frame.len() {
            assert_eq!(
                layout.tcp_payload(&frame[..len]),
                Err(ParseError::Truncated),
                "{len}"
            );
        }
    }
}

#[test]
fn other_protocols_and_three_tags_are_not_ip() {
    let frame = Shape {
        vlan_tags: 3,
        ..Shape::new(IpVersion::V4, 0)
    }
    .frame();
    assert_eq!(parse(&frame), Err(ParseError::NotIp));
    let mut arp = [0; 60];
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(parse(&arp), Err(ParseError::NotIp));
}

#[test]
fn impossible_versions_and_lengths() {
    let frame = Shape::new(IpVersion::V4, 0).frame();
    for version_ihl in [0x40, 0x44, 0x55, 0x65, 0x05] {
        let mut frame = frame.clone();
        frame[14] = version_ihl;
        assert_eq!(
            parse(&frame),
            Err(ParseError::Malformed),
            "{version_ihl:#x}"
        );
    }
    let mut frame = Shape::new(IpVersion::V6, 0).frame();
    frame[14] = 0x40;
    assert_eq!(parse(&frame), Err(ParseError::Malformed));

    let mut frame = Shape::new(IpVersion::V4, 0).frame();
    let layout = parse(&frame).unwrap();
    for data_offset in [0x00, 0x40] {
        frame[layout.l4 + 12] = data_offset;
        assert_eq!(layout.tcp_payload(&frame), Err(ParseError::Malformed));
    }
}

#[test]
fn fragments() {
    for (field, is_fragment) in [
        (0x4000, false),
        (0x2000, true),
        (0x0001, true),
        (0x1fff, true),
    ] {
        let mut frame = Shape::new(IpVersion::V4, 0).frame();
        frame[20..22].copy_from_slice(&u16::to_be_bytes(field));
        assert_eq!(
            parse(&frame).unwrap().is_fragment,
            is_fragment,
            "{field:#x}"
        );
    }
    let fragment = |high, low| ipv6(FRAGMENT, &[(TCP, &[0, high, low, 0, 0, 0, 0])]);
    let atomic = parse(&fragment(0, 0)).unwrap();
    assert!(!atomic.is_fragment);
    assert_eq!((atomic.protocol, atomic.l4), (TCP, 14 + IPV6_LEN + 8));
    assert!(
        parse(&fragment(0, 1)).unwrap().is_fragment,
        "more fragments"
    );
    assert!(parse(&fragment(0, 8)).unwrap().is_fragment, "offset");
    assert!(parse(&fragment(0xff, 0xf8)).unwrap().is_fragment, "offset");
}

#[test]
fn extension_headers_are_bounded() {
    let options: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
    let chain = |n: usize| {
        let mut extensions = vec![(DESTINATION_OPTIONS, options); n];
        extensions[n - 1].0 = TCP;
        ipv6(DESTINATION_OPTIONS, &extensions)
    };
    assert_eq!(parse(&chain(MAX_EXTENSIONS)).unwrap().protocol, TCP);
    assert_eq!(
        parse(&chain(MAX_EXTENSIONS + 1)),
        Err(ParseError::TooManyExtensions)
    );
}

#[test]
fn a_routing_header_is_noticed() {
    let layout = parse(&ipv6(ROUTING, &[(TCP, &[0, 2, 1, 0, 0, 0, 0])])).unwrap();
    assert!(layout.has_routing_header);
    assert_eq!(layout.protocol, TCP);
    assert!(
        !parse(&ipv6(HOP_BY_HOP, &[(TCP, &[0, 1, 4, 0, 0, 0, 0])]))
            .unwrap()
            .has_routing_header
    );
}

proptest! {
    #[test]
    fn agrees_with_etherparse(shape in shape(64)) {
        let frame = shape.frame();
        let layout = parse(&frame).unwrap();
        let sliced = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else {
            panic!("not TCP: {sliced:?}");
        };
        prop_assert_eq!(layout.l4, frame.len() - tcp.slice().len());
        prop_assert_eq!(layout.tcp_payload(&frame), Ok(frame.len() - tcp.payload().len()));
    }

    #[test]
    fn any_bytes_have_a_layout_within_them_or_none(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        ethertype in prop::sample::select(vec![ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN]),
        version in prop::sample::select(vec![0x45, 0x4f, 0x60]),
    ) {
        if bytes.len() > 14 {
            bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
            bytes[14] = version;
        }
        if let Ok(layout) = parse(&bytes) {
            prop_assert!(layout.l3 < layout.l4 && layout.l4 <= bytes.len());
            if let Ok(payload) = layout.tcp_payload(&bytes) {
                prop_assert!(payload >= layout.l4 + TCP_MIN_LEN && payload <= bytes.len());
            }
        }
    }
}
