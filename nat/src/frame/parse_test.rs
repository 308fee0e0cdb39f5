use super::*;

const LINK: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&LINK, &ethertype.to_be_bytes()[..], payload].concat()
}

/// An IPv4 packet with options of `options` bytes, its checksum right.
fn v4(options: usize, total: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 20 + options];
    header[0] = 0x45 + u8::try_from(options / 4).unwrap();
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[6..8].copy_from_slice(&flags.to_be_bytes());
    header[8..10].copy_from_slice(&[64, protocol::UDP]);
    header[12..20].copy_from_slice(&[10, 0, 2, 15, 1, 1, 1, 1]);
    let sum = Sum::default().bytes(&header).checksum();
    header[10..12].copy_from_slice(&sum);
    frame(ETHERTYPE_IPV4, &[&header, payload].concat())
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    let len = u16::try_from(payload.len()).unwrap();
    header[4..6].copy_from_slice(&len.to_be_bytes());
    header.extend([0xfd; 16]);
    header.extend([0x20; 16]);
    frame(ETHERTYPE_IPV6, &[&header, payload].concat())
}

fn packet(frame: &[u8]) -> Result<Packet<'_>, DropReason> {
    match parse(frame)? {
        Content::Ip(packet) => Ok(packet),
        Content::Arp(_) => panic!("ARP"),
    }
}

#[test]
fn padding_of_a_short_frame_is_no_payload() {
    let bytes = v4(0, 24, 0, &[1, 2, 3, 4, 0, 0, 0, 0, 0]);
    assert_eq!(packet(&bytes).unwrap().payload, [1, 2, 3, 4]);
    let mut bytes = v6(protocol::UDP, &[1, 2]);
    bytes.extend([0; 30]);
    assert_eq!(packet(&bytes).unwrap().payload, [1, 2]);
}

#[test]
fn options_of_ipv4_are_stepped_over() {
    let bytes = v4(40, 62, 0, &[1, 2]);
    assert_eq!(packet(&bytes).unwrap().payload, [1, 2]);
}

#[test]
fn impossible_ipv4_lengths_are_malformed() {
    for total in [0, 19, 27, u16::MAX] {
        let bytes = v4(0, total, 0, &[0; 6]);
        assert_eq!(
            packet(&bytes).unwrap_err(),
            DropReason::Malformed,
            "{total}"
        );
    }
    for ihl in 0..5 {
        let mut bytes = v4(0, 20, 0, &[]);
        bytes[14] = 0x40 | ihl;
        assert_eq!(packet(&bytes).unwrap_err(), DropReason::Malformed, "{ihl}");
    }
    // The header is longer than the packet.
    let bytes = v4(4, 22, 0, &[0; 20]);
    assert_eq!(packet(&bytes).unwrap_err(), DropReason::Malformed);
}

#[test]
fn a_wrong_header_checksum_is_counted_as_such() {
    let mut bytes = v4(0, 20, 0, &[]);
    bytes[14 + 8] ^= 1;
    assert_eq!(packet(&bytes).unwrap_err(), DropReason::BadChecksum);
}

#[test]
fn every_cut_of_a_frame_is_refused() {
    for bytes in [
        v4(4, 32, 0, &[7; 8]),
        v6(protocol::DESTINATION_OPTIONS, &[17, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        assert!(packet(&bytes).is_ok());
        for len in 0..bytes.len() {
            assert!(packet(&bytes[..len]).is_err(), "{len}");
        }
    }
}

#[test]
fn fragments_tell_their_place() {
    let bytes = v4(0, 28, 0x2005, &[0; 8]);
    let fragment = Fragment {
        id: 0,
        offset: 40,
        more: true,
    };
    assert_eq!(packet(&bytes).unwrap().fragment, Some(fragment));
    let bytes = v6(protocol::FRAGMENT, &[17, 0, 0, 0x29, 0, 0, 1, 0, 9, 9]);
    let packet = packet(&bytes).unwrap();
    assert_eq!(
        packet.fragment,
        Some(Fragment {
            id: 256,
            offset: 40,
            more: true
        })
    );
    assert_eq!((packet.protocol, packet.payload), (17, &[9, 9][..]));
}

#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let bytes = v6(protocol::FRAGMENT, &[17, 0, 0, 0, 0, 0, 1, 0, 9]);
    let packet = packet(&bytes).unwrap();
    assert_eq!((packet.fragment, packet.payload), (None, &[9][..]));
}

#[test]
fn extension_headers_end() {
    let hop = |next| [next, 0, 0, 0, 0, 0, 0, 0];
    let chain = |n: usize| {
        let mut payload: Vec<u8> = (1..n)
            .flat_map(|_| hop(protocol::DESTINATION_OPTIONS))
            .collect();
        payload.extend(hop(protocol::UDP));
        v6(protocol::DESTINATION_OPTIONS, &payload)
    };
    assert_eq!(
        packet(&chain(MAX_EXTENSIONS)).unwrap().protocol,
        protocol::UDP
    );
    assert_eq!(
        packet(&chain(MAX_EXTENSIONS + 1)).unwrap_err(),
        DropReason::Malformed
    );
    // One that is longer than the packet.
    let bytes = v6(protocol::HOP_BY_HOP, &[17, 9, 0, 0, 0, 0, 0, 0]);
    assert_eq!(packet(&bytes).unwrap_err(), DropReason::Malformed);
}

#[test]
fn a_routing_header_that_is_not_used_up_is_refused() {
    assert!(packet(&v6(protocol::ROUTING, &[17, 0, 0, 0, 0, 0, 0, 0])).is_ok());
    let bytes = v6(protocol::ROUTING, &[17, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(packet(&bytes).unwrap_err(), DropReason::Malformed);
}

#[test]
fn a_jumbogram_is_refused() {
    let mut bytes = v6(protocol::HOP_BY_HOP, &[17, 0, 0xc2, 4, 0, 1, 0, 0, 1, 2]);
    bytes[18..20].fill(0);
    assert_eq!(packet(&bytes).unwrap_err(), DropReason::Malformed);
}

#[test]
fn arp_must_name_the_frames_sender() {
    let mut payload = vec![0, 1, 8, 0, 6, 4, 0, 1];
    payload.extend([2, 0, 0, 0, 0, 1, 10, 0, 2, 15]);
    payload.extend([0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
    let bytes = frame(ETHERTYPE_ARP, &payload);
    let Ok(Content::Arp(arp)) = parse(&bytes) else {
        panic!()
    };
    assert_eq!(arp.operation, ArpOperation::Request);
    assert_eq!(
        (arp.sender.octets(), arp.target.octets()),
        ([10, 0, 2, 15], [10, 0, 2, 2])
    );
    payload[8] = 6;
    let bytes = frame(ETHERTYPE_ARP, &payload);
    assert_eq!(parse(&bytes).unwrap_err(), DropReason::BadSource);
}

#[test]
fn a_multicast_or_missing_source_is_no_station() {
    for first in [[1, 0, 0, 0, 0, 1], [0; 6], [0xff; 6]] {
        let mut bytes = v4(0, 20, 0, &[]);
        bytes[6..12].copy_from_slice(&first);
        assert_eq!(parse(&bytes).unwrap_err(), DropReason::BadSource);
    }
}

#[test]
fn a_vlan_tag_is_not_for_a_gateway() {
    let bytes = frame(0x8100, &[0, 1, 8, 0]);
    assert_eq!(parse(&bytes).unwrap_err(), DropReason::NotIp);
}
