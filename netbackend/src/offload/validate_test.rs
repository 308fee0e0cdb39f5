//! What a sender may ask for, and what not.
use proptest::prelude::*;
use virtqueue::GsoType::{TcpV4, TcpV6, Udp, UdpL4};

use super::super::fixture::{Shape, shape};
use super::*;

fn check(header: &NetHeader, frame: &[u8]) -> Result<Validated, Reject> {
    validate(header, &frame[..frame.len().min(HEAD_LEN)], frame.len())
}

/// A GSO frame of ten segments.
fn gso(version: IpVersion) -> (Shape, NetHeader, Vec<u8>) {
    let shape = Shape::new(version, 10_000);
    let (header, frame) = (shape.header(1000), shape.frame());
    (shape, header, frame)
}

#[test]
fn a_header_that_asks_for_nothing_is_plain() {
    let noise = NetHeader {
        data_valid: true,
        ecn: true,
        hdr_len: 9999,
        gso_size: 1,
        ..NetHeader::default()
    };
    for header in [NetHeader::default(), noise] {
        assert_eq!(validate(&header, &[], 0), Ok(Validated::PLAIN));
    }
    assert!(!Validated::PLAIN.is_gso() && !Validated::PLAIN.needs_csum());
}

#[test]
fn a_fitting_header_passes_with_its_length_put_right() {
    for version in [IpVersion::V4, IpVersion::V6] {
        let (shape, header, frame) = gso(version);
        for hdr_len in [0, 1, 54, u16::MAX] {
            let said = NetHeader {
                hdr_len,
                data_valid: true,
                num_buffers: 7,
                ecn: true,
                ..header
            };
            let validated = check(&said, &frame).unwrap();
            let hdr_len = u16::try_from(shape.headers_len()).unwrap();
            assert_eq!(
                *validated.header(),
                NetHeader {
                    hdr_len,
                    num_buffers: 1,
                    ecn: true,
                    ..header
                }
            );
        }
    }
}

#[test]
fn a_single_segment_is_not_gso() {
    for (payload, gso_size) in [(1000, 1000), (1000, u16::MAX), (0, 1), (1, 1)] {
        let shape = Shape::new(IpVersion::V4, payload);
        let validated = check(&shape.header(gso_size), &shape.frame()).unwrap();
        assert!(!validated.is_gso() && validated.needs_csum());
        assert_eq!(
            (validated.header().gso_size, validated.header().hdr_len),
            (0, 0)
        );
    }
}

#[test]
fn segment_sizes_that_are_absurd() {
    let (_, header, frame) = gso(IpVersion::V4);
    for (gso_size, verdict) in [
        (0, Err(Reject::GsoSize)),
        (1, Err(Reject::GsoSize)),
        (4, Err(Reject::GsoSize)),
        (5, Ok(true)),
    ] {
        let got =
            check(&NetHeader { gso_size, ..header }, &frame).map(|validated| validated.is_gso());
        assert_eq!(got, verdict, "{gso_size}");
    }
    let shape = Shape::new(IpVersion::V6, 65_535 - 20);
    assert!(
        check(&shape.header(36), &shape.frame()).is_ok(),
        "Linux may send such"
    );
}

#[test]
fn gso_wants_a_checksum() {
    let (_, header, frame) = gso(IpVersion::V4);
    let header = NetHeader {
        needs_csum: false,
        ..header
    };
    assert_eq!(check(&header, &frame), Err(Reject::GsoWithoutChecksum));
}

#[test]
fn udp_types_want_udp() {
    for version in [IpVersion::V4, IpVersion::V6] {
        let (_, header, frame) = gso(version);
        for gso in [Udp, UdpL4] {
            assert_eq!(
                check(&NetHeader { gso, ..header }, &frame),
                Err(Reject::GsoProtocol)
            );
        }
    }
}

#[test]
fn a_type_of_another_protocol() {
    let (_, header, frame) = gso(IpVersion::V4);
    assert_eq!(
        check(
            &NetHeader {
                gso: TcpV6,
                ..header
            },
            &frame
        ),
        Err(Reject::GsoProtocol)
    );
    let (_, header, frame) = gso(IpVersion::V6);
    assert_eq!(
        check(
            &NetHeader {
                gso: TcpV4,
                ..header
            },
            &frame
        ),
        Err(Reject::GsoProtocol)
    );
    let (_, header, mut frame) = gso(IpVersion::V4);
    frame[23] = UDP;
    let header = NetHeader {
        csum_offset: 6,
        ..header
    };
    assert_eq!(check(&header, &frame), Err(Reject::GsoProtocol));
}

#[test]
fn frames_longer_than_ip() {
    for (version, longest) in [(IpVersion::V4, 65_535 - 40), (IpVersion::V6, 65_535 - 20)] {
        let shape = Shape::new(version, longest);
        assert!(check(&shape.header(1400), &shape.frame()).is_ok());
        let shape = Shape::new(version, longest + 1);
        assert_eq!(
            check(&shape.header(1400), &shape.frame()),
            Err(Reject::TooLong)
        );
    }
}

#[test]
fn headers_beyond_the_frame() {
    let (shape, header, frame) = gso(IpVersion::V4);
    for len in 0..shape.l4() {
        let verdict = check(&header, &frame[..len]);
        assert_eq!(
            verdict,
            Err(Reject::Headers(ParseError::Truncated)),
            "{len}"
        );
    }
    for len in shape.l4()..shape.headers_len() {
        assert!(check(&header, &frame[..len]).is_err(), "{len}");
    }
    // A head with more bytes than the frame is said to have.
    assert!(validate(&header, &frame, shape.headers_len() - 1).is_err());
}

#[test]
fn checksums_beyond_the_frame() {
    let shape = Shape::new(IpVersion::V4, 4);
    let frame = shape.frame();
    let last = u16::try_from(frame.len()).unwrap() - 2;
    for (csum_start, csum_offset) in [
        (last + 1, 0),
        (last, 1),
        (34, last - 33),
        (u16::MAX, u16::MAX),
        (34, u16::MAX),
        (u16::MAX, 0),
    ] {
        let header = NetHeader {
            csum_start,
            csum_offset,
            ..shape.header(0)
        };
        assert_eq!(
            check(&header, &frame),
            Err(Reject::ChecksumRange),
            "{csum_start} {csum_offset}"
        );
    }
}

#[test]
fn checksums_at_other_places() {
    let shape = Shape::new(IpVersion::V4, 100);
    let place = |frame: &[u8], csum_start, csum_offset| {
        check(
            &NetHeader {
                csum_start,
                csum_offset,
                ..shape.header(0)
            },
            frame,
        )
    };
    let tcp = shape.frame();
    assert!(place(&tcp, 34, 16).is_ok());
    for (start, offset) in [
        (0, 6),
        (6, 0),
        (14, 10),
        (14, 12),
        (34, 6),
        (34, 0),
        (33, 17),
        (54, 16),
    ] {
        assert_eq!(
            place(&tcp, start, offset),
            Err(Reject::ChecksumPlace),
            "{start} {offset}"
        );
    }
    let mut udp = shape.frame();
    udp[23] = UDP;
    assert!(place(&udp, 34, 6).is_ok());
    assert!(
        place(&udp, 42 + 8 + 14 + 20, 16).is_ok(),
        "TCP within VXLAN"
    );
    for (start, offset) in [(14, 10), (34, 4), (34, 16), (36, 4), (41, 0)] {
        assert_eq!(
            place(&udp, start, offset),
            Err(Reject::ChecksumPlace),
            "{start} {offset}"
        );
    }
    let mut gre = shape.frame();
    gre[23] = 47;
    assert!(place(&gre, 34 + 4 + 20, 16).is_ok(), "TCP within GRE");
    assert_eq!(place(&gre, 33, 1), Err(Reject::ChecksumPlace));
}

#[test]
fn offloads_of_what_is_not_ip() {
    let shape = Shape::new(IpVersion::V4, 100);
    let mut frame = shape.frame();
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(
        check(&shape.header(0), &frame),
        Err(Reject::Headers(ParseError::NotIp))
    );
}

#[test]
fn offloads_of_fragments() {
    let (_, header, mut frame) = gso(IpVersion::V4);
    frame[20] |= 0x20;
    assert_eq!(check(&header, &frame), Err(Reject::Fragment));
    let plain = NetHeader {
        gso: GsoType::None,
        ..header
    };
    assert_eq!(check(&plain, &frame), Err(Reject::Fragment));
}

pub(super) fn any_header() -> impl Strategy<Value = NetHeader> {
    let gso = prop::sample::select(vec![GsoType::None, TcpV4, TcpV6, Udp, UdpL4]);
    (
        any::<[bool; 3]>(),
        gso,
        any::<u16>(),
        0_u16..3000,
        0_u16..300,
        0_u16..40,
    )
        .prop_map(
            |([needs_csum, data_valid, ecn], gso, hdr_len, gso_size, csum_start, csum_offset)| {
                NetHeader {
                    needs_csum,
                    data_valid,
                    gso,
                    ecn,
                    hdr_len,
                    gso_size,
                    csum_start,
                    csum_offset,
                    num_buffers: hdr_len,
                }
            },
        )
}

proptest! {
    #[test]
    fn honest_headers_pass(shape in shape(5000), gso_size in 36_u16..1500) {
        let validated = check(&shape.header(gso_size), &shape.frame()).unwrap();
        prop_assert_eq!(validated.is_gso(), shape.payload.len() > usize::from(gso_size));
        prop_assert!(validated.needs_csum());
    }

    #[test]
    fn what_passes_is_safe_to_hand_on(
        shape in shape(3000),
        header in any_header(),
        flips in prop::collection::vec((0_usize..128, any::<u8>()), 0..4),
        // Half of the time nearly honest, so that the later checks are reached.
        honest in any::<bool>(),
        cut in 0_usize..4000,
    ) {
        let mut frame = shape.frame();
        for (at, byte) in flips {
            let at = at % frame.len();
            frame[at] = byte;
        }
        frame.truncate(cut);
        let header = if honest { shape.header(header.gso_size) } else { header };
        let Ok(validated) = check(&header, &frame) else { return Ok(()) };
        let passed = validated.header();
        prop_assert!(passed.needs_csum == header.needs_csum && !passed.data_valid);
        if passed.needs_csum {
            let field = usize::from(passed.csum_start) + usize::from(passed.csum_offset);
            prop_assert!(field + 2 <= frame.len());
            prop_assert!(usize::from(passed.csum_start) >= 34, "behind the IP header");
        }
        if validated.is_gso() {
            let payload = frame.len() - usize::from(passed.hdr_len);
            let segments = payload.div_ceil(passed.gso_size.into());
            prop_assert!((2..=MAX_SEGMENTS).contains(&segments));
            prop_assert!(passed.needs_csum);
        } else {
            prop_assert!(passed.gso_size == 0 && passed.hdr_len == 0 && !passed.ecn);
        }
        prop_assert_eq!(check(passed, &frame), Ok(validated), "a second check changes nothing");
    }
}
