//! UDP segmentation and fragmentation between guests that negotiated different ones.
use super::{
    Net,
    guest::{
        self, ALL, Connected, EVENT_IDX, GUEST_CSUM, GUEST_UFO, GUEST_USO4, GuestSpec, HOST_UFO,
        HOST_USO, IN_ORDER, MRG_RXBUF, VERSION_1,
    },
    introduce, mac, port_spec,
};
use crate::network::PortTransport;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use nix::sys::socket::{setsockopt, sockopt};
use std::{
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
};
use virtqueue::{GsoType, NetHeader};

const ADDRESSES: ([u8; 4], [u8; 4]) = ([10, 0, 0, 1], [10, 0, 0, 2]);
const HEADERS: usize = 14 + 20 + 8;

fn pattern(len: usize) -> Vec<u8> {
    (0..251u8).cycle().take(len).collect()
}

/// A datagram of guest 0 for guest 1 with a right checksum.
fn udp(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(mac(0), mac(1))
        .ipv4(ADDRESSES.0, ADDRESSES.1, 64)
        .udp(1000, 2000);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// A datagram as a guest leaves it to the device.
fn gso(gso: GsoType, gso_size: u16, payload: usize) -> (NetHeader, Vec<u8>) {
    let mut frame = udp(&pattern(payload));
    let length = u32::try_from(frame.len() - 34).unwrap();
    let sum: u32 = [0x0a00, 0x0001, 0x0a00, 0x0002, 17, length].iter().sum();
    let sum = u16::try_from((sum >> 16) + (sum & 0xffff)).unwrap();
    frame[40..42].copy_from_slice(&sum.to_be_bytes());
    let header = NetHeader {
        needs_csum: true,
        gso,
        gso_size,
        hdr_len: u16::try_from(HEADERS).unwrap(),
        csum_start: 34,
        csum_offset: 6,
        ..NetHeader::default()
    };
    (header, frame)
}

#[track_caller]
fn pair(net: &Net, from: u64, to: u64) -> (Connected, Connected) {
    let spec = |features| GuestSpec {
        features,
        ..GuestSpec::default()
    };
    let mut a = net.guest("a", spec(from));
    let mut b = net.guest("b", spec(to));
    introduce(&mut [&mut a.guest, &mut b.guest]);
    (a, b)
}

/// What receivers may be like that want datagrams cut.
fn receivers(without: u64) -> [u64; 4] {
    [
        ALL & !without,
        ALL & !(without | GUEST_CSUM),
        ALL & !(without | MRG_RXBUF),
        // A legacy driver: header of 10 bytes.
        ALL & !(without | MRG_RXBUF | VERSION_1 | IN_ORDER | EVENT_IDX),
    ]
}

#[test]
fn pass_through_untouched() {
    let net = Net::new();
    let (mut a, mut b) = pair(&net, ALL, ALL);
    for kind in [GsoType::UdpL4, GsoType::Udp] {
        for payload in [3000, 20_000, 65_000] {
            let (header, frame) = gso(kind, 1480, payload);
            a.guest.send_with(header, &frame);
            let received = b.guest.receive();
            assert!(received.frame == frame, "{payload} bytes");
            assert_eq!(
                received.header,
                NetHeader {
                    num_buffers: received.header.num_buffers,
                    ..header
                }
            );
        }
    }
    assert_eq!(net.status("b").counters.software_offloads, 0);
}

#[test]
fn uso_is_cut_into_datagrams_for_a_guest_without_it() {
    for to in receivers(GUEST_USO4) {
        let net = Net::new();
        let (mut a, mut b) = pair(&net, ALL, to);
        let (header, frame) = gso(GsoType::UdpL4, 1300, 20_001);
        a.guest.send_with(header, &frame);
        let mut all = Vec::new();
        while all.len() < 20_001 {
            let received = b.guest.receive();
            assert_eq!(received.header.gso, GsoType::None);
            assert!(!received.header.needs_csum);
            let sliced = SlicedPacket::from_ethernet(&received.frame).unwrap();
            let Some(TransportSlice::Udp(datagram)) = sliced.transport else {
                panic!("no UDP");
            };
            let (from, to) = ADDRESSES;
            let right = datagram
                .to_header()
                .calc_checksum_ipv4_raw(from, to, datagram.payload());
            assert_eq!(Ok(datagram.checksum()), right);
            all.extend_from_slice(datagram.payload());
            assert!(datagram.payload().len() == 1300 || all.len() == 20_001);
        }
        assert!(all == pattern(20_001));
        assert_eq!(net.status("b").counters.software_offloads, 1);
    }
}

#[test]
fn ufo_is_cut_into_fragments_for_a_guest_without_it() {
    for to in receivers(GUEST_UFO) {
        let net = Net::new();
        let (mut a, mut b) = pair(&net, ALL, to);
        let (header, frame) = gso(GsoType::Udp, 1480, 20_001);
        a.guest.send_with(header, &frame);
        let mut whole = Vec::new();
        let mut more = true;
        while more {
            let received = b.guest.receive();
            assert_eq!(received.header.gso, GsoType::None);
            assert!(!received.header.needs_csum);
            let sliced = SlicedPacket::from_ethernet(&received.frame).unwrap();
            let Some(NetSlice::Ipv4(ip)) = sliced.net else {
                panic!("no IPv4");
            };
            let header = ip.header().to_header();
            assert_eq!(
                usize::from(header.fragment_offset.byte_offset()),
                whole.len()
            );
            more = header.more_fragments;
            whole.extend_from_slice(&received.frame[34..]);
        }
        assert!(
            whole == udp(&pattern(20_001))[34..],
            "as it was sent, with its checksum"
        );
        assert_eq!(net.status("b").counters.software_offloads, 1);
    }
}

#[test]
fn what_the_sender_did_not_negotiate_is_dropped() {
    let net = Net::new();
    let (mut a, mut b) = pair(&net, ALL & !(HOST_UFO | HOST_USO), ALL);
    for kind in [GsoType::UdpL4, GsoType::Udp] {
        let (header, frame) = gso(kind, 1480, 5000);
        a.guest.send_with(header, &frame);
    }
    let plain = udp(&pattern(100));
    a.guest.send(&plain);
    assert_eq!(b.guest.receive().frame, plain);
    assert_eq!(net.status("a").counters.tx_dropped, 2);
}

#[test]
fn a_tap_that_refuses_a_frame_gets_its_segments() {
    // No tap, but as picky as one: its datagrams are short.
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    setsockopt(&ours, sockopt::SndBuf, &16_384).unwrap();
    let net = Net::new();
    let files = vec![File::from(OwnedFd::from(ours))];
    net.network
        .add_port(port_spec("tap", 1), PortTransport::Tap(files))
        .unwrap();
    let mut a = net.guest("a", GuestSpec::default());
    let (header, frame) = gso(GsoType::UdpL4, 1000, 60_000);
    a.guest.send_with(header, &frame);
    theirs.set_read_timeout(Some(guest::DEADLINE)).unwrap();
    let mut buffer = [0; 2048];
    // As many as a full socket takes: a tap would drop the rest as well.
    let len = theirs.recv(&mut buffer).unwrap();
    assert_eq!(len, 12 + HEADERS + 1000);
    assert_eq!(buffer[..10], [0; 10], "nothing is left to be done");
    let first = udp(&pattern(1000));
    assert_eq!(buffer[12 + 34..len], first[34..], "a datagram of its own");
    net.wait_for_status("tap", "the count", |tap| {
        tap.counters.software_offloads == 1
    });
}
