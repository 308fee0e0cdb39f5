//! Sums against a plain reading of RFC 1071 and against `smoltcp`.
use etherparse::{IpNumber, Ipv4Header, UdpHeader};
use proptest::prelude::*;
use smoltcp::wire::{IpAddress, Ipv4Address, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket};

use super::super::IpVersion;
use super::super::fixture::{Shape, shape};
use super::*;

/// RFC 1071, section 4.1, word by word.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum: u64 = 0;
    for word in bytes.chunks(2) {
        sum += u64::from(word[0]) << 8 | word.get(1).copied().map_or(0, u64::from);
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap()
}

fn fast(bytes: &[u8]) -> u16 {
    let mut checksum = Checksum::default();
    checksum.add(bytes);
    checksum.finish()
}

#[test]
fn extremes() {
    for len in (0..200).chain([65_535, 65_536, 1 << 20]) {
        for byte in [0x00, 0x01, 0xff] {
            let bytes = vec![byte; len];
            assert_eq!(fast(&bytes), naive(&bytes), "{len} times {byte:#x}");
        }
    }
}

#[test]
fn zero_is_not_a_udp_checksum() {
    let mut checksum = Checksum::default();
    checksum.add(&[0xff, 0xff]);
    assert_eq!((checksum.finish(), checksum.finish_nonzero()), (0, 0xffff));
    assert_eq!(Checksum::default().finish_nonzero(), 0xffff);
}

#[test]
fn a_field_out_of_range_changes_nothing() {
    let original: Vec<u8> = (0..60).collect();
    for (csum_start, csum_offset) in [
        (58, 1),
        (60, 0),
        (59, 0),
        (0, 59),
        (13, 1),
        (0, 6),
        (u16::MAX, u16::MAX),
        (14, u16::MAX),
        (14, 45),
    ] {
        let mut frame = original.clone();
        let header = NetHeader {
            needs_csum: true,
            csum_start,
            csum_offset,
            ..NetHeader::default()
        };
        assert_eq!(
            complete_checksum(&mut frame, &header),
            Err(Reject::ChecksumRange)
        );
        assert_eq!(frame, original);
    }
    let header = NetHeader {
        needs_csum: true,
        csum_start: 58,
        ..NetHeader::default()
    };
    assert_eq!(complete_checksum(&mut original.clone(), &header), Ok(()));
    assert_eq!(
        complete_checksum(&mut [], &header),
        Err(Reject::ChecksumRange)
    );
}

#[test]
fn udp_checksum_of_zero_becomes_ones() {
    let ip = Ipv4Header::new(12, 64, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
    let udp = UdpHeader::without_ipv4_checksum(1, 2, 4).unwrap();
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00]);
    frame.extend(ip.to_bytes());
    frame.extend(udp.to_bytes());
    frame.extend([0; 4]);
    let partial = !Checksum::pseudo_header(&frame[26..34], 17, 12).finish();
    frame[40..42].copy_from_slice(&partial.to_be_bytes());
    // A payload that makes the sum come out as ones.
    let value = fast(&frame[34..]);
    frame[42..44].copy_from_slice(&value.to_be_bytes());
    let header = NetHeader {
        needs_csum: true,
        csum_start: 34,
        csum_offset: 6,
        ..NetHeader::default()
    };
    complete_checksum(&mut frame, &header).unwrap();
    assert_eq!(frame[40..42], [0xff, 0xff]);
    let packet = UdpPacket::new_checked(&frame[34..]).unwrap();
    assert!(packet.verify_checksum(&v4(1), &v4(2)));
}

fn v4(host: u8) -> IpAddress {
    IpAddress::Ipv4(Ipv4Address::new(10, 0, 0, host))
}

fn verify(shape: &Shape, frame: &[u8]) -> bool {
    let (source, destination): (IpAddress, IpAddress) = match shape.version {
        IpVersion::V4 => {
            let ip = Ipv4Packet::new_checked(&frame[shape.l3()..]).unwrap();
            (ip.src_addr().into(), ip.dst_addr().into())
        }
        IpVersion::V6 => {
            let ip = Ipv6Packet::new_checked(&frame[shape.l3()..]).unwrap();
            (ip.src_addr().into(), ip.dst_addr().into())
        }
    };
    TcpPacket::new_checked(&frame[shape.l4()..])
        .unwrap()
        .verify_checksum(&source, &destination)
}

proptest! {
    #[test]
    fn equals_the_plain_sum(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert_eq!(fast(&bytes), naive(&bytes));
    }

    #[test]
    fn pieces_count_as_one_string(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20),
    ) {
        let mut checksum = Checksum::default();
        for piece in &pieces {
            checksum.add(piece);
        }
        prop_assert_eq!(checksum.finish(), naive(&pieces.concat()));
    }

    #[test]
    fn completed_checksums_verify(shape in shape(3000)) {
        let partial = shape.frame();
        let mut frame = partial.clone();
        complete_checksum(&mut frame, &shape.header(0)).unwrap();
        prop_assert!(verify(&shape, &frame));
        // Only the field changed, and a bit flipped anywhere behind it would be noticed.
        let field = shape.l4() + 16;
        frame[field..field + 2].copy_from_slice(&partial[field..field + 2]);
        prop_assert_eq!(frame, partial);
    }
}
