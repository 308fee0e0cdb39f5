//! UDP datagrams of a USO frame, IP fragments of a UFO frame: read by `etherparse`, put together again.
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use virtqueue::{GsoType, NetHeader};

use super::super::fixture::{DESTINATION, SOURCE, version};
use super::*;

const PORTS: (u16, u16) = (1000, 2000);

fn pattern(len: usize) -> Vec<u8> {
    (0..251_u8).cycle().take(len).collect()
}

/// A datagram in one frame, with a full checksum, by `etherparse`.
fn datagram(version: IpVersion, payload: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match version {
        IpVersion::V4 => ethernet.ipv4(v4(&SOURCE), v4(&DESTINATION), 64),
        IpVersion::V6 => ethernet.ipv6(SOURCE, DESTINATION, 64),
    };
    let udp = ip.udp(PORTS.0, PORTS.1);
    let mut frame = Vec::new();
    udp.write(&mut frame, payload).unwrap();
    frame
}

fn v4(address: &[u8; 16]) -> [u8; 4] {
    *address.last_chunk().unwrap()
}

fn l4(version: IpVersion) -> usize {
    match version {
        IpVersion::V4 => 34,
        IpVersion::V6 => 54,
    }
}

fn header(version: IpVersion, gso: GsoType, gso_size: u16) -> NetHeader {
    NetHeader {
        needs_csum: true,
        gso,
        gso_size,
        csum_start: u16::try_from(l4(version)).unwrap(),
        csum_offset: 6,
        ..NetHeader::default()
    }
}

fn check(header: &NetHeader, frame: &[u8]) -> Result<Validated, Reject> {
    validate(header, &frame[..frame.len().min(HEAD_LEN)], frame.len())
}

fn cut(header: &NetHeader, frame: &[u8]) -> Vec<Vec<u8>> {
    let validated = check(header, frame).unwrap();
    let mut segments = Segments::new(&validated, frame).unwrap();
    let (count, longest) = (segments.remaining(), segments.max_segment_len());
    let mut out = vec![0; longest];
    let mut all = Vec::new();
    while let Some(len) = segments.next_into(&mut out) {
        all.push(out[..len].to_vec());
        assert_eq!(segments.remaining(), count - all.len());
    }
    assert_eq!(all.len(), count);
    assert_eq!(all.iter().map(Vec::len).max(), Some(longest));
    all
}

/// The payload of a plain datagram whose lengths and checksums are right.
fn open_datagram(frame: &[u8]) -> Vec<u8> {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Udp(udp)) = packet.transport else {
        panic!("not UDP")
    };
    assert_eq!((udp.source_port(), udp.destination_port()), PORTS);
    assert_eq!(usize::from(udp.length()), udp.slice().len());
    let checksum = match packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let udp_header = udp.to_header();
            udp_header.calc_checksum_ipv4(&header, udp.payload())
        }
        Some(NetSlice::Ipv6(ip)) => {
            let udp_header = udp.to_header();
            udp_header.calc_checksum_ipv6(&ip.header().to_header(), udp.payload())
        }
        other => panic!("not IP: {other:?}"),
    };
    assert_eq!(checksum, Ok(udp.checksum()));
    udp.payload().to_vec()
}

/// What a receiver makes of fragments: the frame as if it had never been cut.
fn reassemble(version: IpVersion, fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut identifications = Vec::new();
    for (index, frame) in fragments.iter().enumerate() {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let last = index + 1 == fragments.len();
        let part = match packet.net {
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                assert_eq!(usize::from(header.total_len), frame.len() - 14);
                assert_eq!(
                    header.fragment_offset.byte_offset(),
                    u16::try_from(whole.len()).unwrap()
                );
                assert_eq!(
                    (header.more_fragments, header.dont_fragment),
                    (!last, false)
                );
                identifications.push(u32::from(header.identification));
                frame[34..].to_vec()
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header().to_header();
                assert_eq!(usize::from(header.payload_length), frame.len() - 54);
                assert_eq!(header.next_header.0, 44);
                let [17, 0, high, low, id @ ..] = *frame[54..].first_chunk::<8>().unwrap() else {
                    panic!("not the fragment of a UDP datagram")
                };
                let field = u16::from_be_bytes([high, low]);
                assert_eq!(usize::from(field & !7), whole.len());
                assert_eq!(field & 7, u16::from(!last));
                identifications.push(u32::from_be_bytes(id));
                frame[62..].to_vec()
            }
            other => panic!("not IP: {other:?}"),
        };
        assert!(last || part.len() % 8 == 0);
        whole.extend(part);
    }
    identifications.dedup();
    assert_eq!(identifications.len(), 1, "fragments of one datagram");
    let payload = whole.split_off(8);
    let frame = datagram(version, &payload);
    assert_eq!(
        frame[l4(version)..][..8],
        whole,
        "the UDP header of the datagram"
    );
    payload
}

fn check_uso(version: IpVersion, payload: &[u8], size: u16) {
    let datagrams = cut(
        &header(version, GsoType::UdpL4, size),
        &datagram(version, payload),
    );
    let mut all = Vec::new();
    for (index, frame) in datagrams.iter().enumerate() {
        let part = open_datagram(frame);
        assert!(part.len() == usize::from(size) || index + 1 == datagrams.len());
        all.extend(part);
    }
    assert_eq!(all, payload);
}

fn check_ufo(version: IpVersion, payload: &[u8], size: u16) {
    let fragments = cut(
        &header(version, GsoType::Udp, size),
        &datagram(version, payload),
    );
    assert_eq!(reassemble(version, &fragments), payload);
}

#[test]
fn longest_frames() {
    for version in [IpVersion::V4, IpVersion::V6] {
        // A length field of UDP or IPv4 does not say more.
        let payload = pattern(65_535 - 28);
        check_uso(version, &payload, 1472);
        check_ufo(version, &payload, 1480);
        check_ufo(version, &payload, 1487);
    }
}

#[test]
fn sizes_around_a_multiple() {
    for version in [IpVersion::V4, IpVersion::V6] {
        for len in [1001, 1999, 2000, 2001] {
            check_uso(version, &pattern(len), 1000);
            check_ufo(version, &pattern(len), 1000);
        }
    }
}

#[test]
fn one_piece_is_not_gso() {
    for (gso, size, len) in [(GsoType::UdpL4, 1000, 1000), (GsoType::Udp, 1008, 1000)] {
        let frame = datagram(IpVersion::V4, &pattern(len));
        let validated = check(&header(IpVersion::V4, gso, size), &frame).unwrap();
        assert!(!validated.is_gso() && validated.needs_csum());
    }
}

#[test]
fn absurd_sizes() {
    let frame = datagram(IpVersion::V4, &pattern(5000));
    for (gso, size) in [
        (GsoType::UdpL4, 0),
        (GsoType::UdpL4, 2),
        (GsoType::Udp, 0),
        (GsoType::Udp, 15),
    ] {
        let header = header(IpVersion::V4, gso, size);
        assert_eq!(
            check(&header, &frame),
            Err(Reject::GsoSize),
            "{gso:?} {size}"
        );
    }
}

#[test]
fn checksum_of_a_tunnels_inner_packet_is_not_cut() {
    let frame = datagram(IpVersion::V4, &pattern(5000));
    for gso in [GsoType::UdpL4, GsoType::Udp] {
        let header = NetHeader {
            csum_start: 34 + 8 + 8 + 14 + 20,
            csum_offset: 16,
            ..header(IpVersion::V4, gso, 1000)
        };
        assert_eq!(check(&header, &frame), Err(Reject::ChecksumPlace));
    }
}

#[test]
fn extension_headers_pass_but_are_not_fragmented() {
    let mut frame = datagram(IpVersion::V6, &pattern(5000));
    // Destination options with PadN between IPv6 and UDP.
    frame[20] = 60;
    frame.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
    for (gso, verdict) in [
        (GsoType::Udp, Some(Reject::ExtensionHeaders)),
        (GsoType::UdpL4, None),
    ] {
        let header = NetHeader {
            csum_start: 62,
            ..header(IpVersion::V6, gso, 1000)
        };
        let validated = check(&header, &frame).unwrap();
        assert!(validated.is_gso());
        assert_eq!(Segments::new(&validated, &frame).err(), verdict);
    }
}

proptest! {
    #[test]
    fn datagrams_make_up_the_payload(version in version(), len in 1_usize..6000, size in 36_u16..1500) {
        prop_assume!(len > usize::from(size));
        check_uso(version, &pattern(len), size);
    }

    #[test]
    fn fragments_make_up_the_datagram(version in version(), len in 1_usize..6000, size in 36_u16..1500) {
        prop_assume!(len + 8 > usize::from(size));
        check_ufo(version, &pattern(len), size);
    }

    #[test]
    fn whatever_the_bytes(
        version in version(),
        gso in prop::sample::select(vec![GsoType::Udp, GsoType::UdpL4]),
        size in 0_u16..600,
        flips in prop::collection::vec((0_usize..70, any::<u8>()), 0..6),
        truncate in 0_usize..4000,
    ) {
        let mut frame = datagram(version, &pattern(3500));
        let header = header(version, gso, size);
        let validated = check(&header, &frame);
        for (at, byte) in flips {
            frame[at] = byte;
        }
        frame.truncate(truncate);
        for validated in [validated, check(&header, &frame)].into_iter().flatten() {
            let Ok(mut segments) = Segments::new(&validated, &frame) else { continue };
            let (expected, mut count) = (segments.remaining(), 0);
            let mut out = vec![0; segments.max_segment_len()];
            while segments.next_into(&mut out).is_some() {
                count += 1;
            }
            prop_assert_eq!(count, expected);
        }
    }
}
