use super::super::{
    Flights, Frames, Sender,
    testing::{FakeWire, parts, tcp_header},
};
use super::*;
use crate::net::wire::replace_partial;
use virtqueue::NetHeader;

/// Where packets lie.
const AT: u64 = 0x8000;
/// TCP flags of the packets: FIN, PSH, ACK, CWR.
const FLAGS: u8 = 0x99;
const SEQUENCE: u32 = 0xffff_ff00;
const TAG: (u16, u16) = (0x2123, 0x8100);

/// A frame and its header.
type Sent = (NetHeader, Vec<u8>);

/// Which headers a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ip {
    V4,
    V6,
}

impl Ip {
    fn header_len(self) -> usize {
        match self {
            Self::V4 => 54,
            Self::V6 => 74,
        }
    }

    /// Headers as a driver leaves them for segmentation, and `payload` bytes.
    fn packet(self, payload: usize) -> Vec<u8> {
        let mut packet = match self {
            Self::V4 => tcp_header(),
            Self::V6 => tcp6_header(),
        };
        let tcp = packet.len() - 20;
        packet[tcp + 4..tcp + 8].copy_from_slice(&SEQUENCE.to_be_bytes());
        packet[tcp + 13] = FLAGS;
        packet.extend((0..payload).map(|i| u8::try_from(i % 251).unwrap()));
        packet
    }

    fn request(self, mss: u16) -> Request {
        let header = self.header_len();
        Request {
            ip: (self == Self::V4).then_some(Range {
                start: 14,
                field: 24,
                end: Some(34),
            }),
            segmentation: Some(Segmentation {
                ip: 14,
                ipv4: self == Self::V4,
                tcp: header - 20,
                field: header - 4,
                header,
                mss,
            }),
            ..Request::default()
        }
    }
}

fn tcp6_header() -> Vec<u8> {
    let mut header = vec![0; 74];
    header[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
    header[20] = 6;
    header[22..54].copy_from_slice(&(0x20..0x40).collect::<Vec<u8>>());
    header[66] = 0x50;
    let mut sum = Sum::default();
    sum.add(&header[22..54]);
    sum.add(&[0, 6]);
    header[70..72].copy_from_slice(&sum.fold().to_be_bytes());
    header
}

/// What leaves, and what it counts as; `None`: it is refused.
fn send(bytes: &[u8], request: &Request, offloads: Offloads) -> Option<(Vec<Sent>, Frames)> {
    let (parts, _line) = parts();
    let memory = parts.memory;
    assert!(memory.write(AT, bytes));
    let mut packet = Packet::default();
    packet.push(AT, u32::try_from(bytes.len()).unwrap(), &memory);
    if !packet.apply(request, offloads, &memory) {
        return None;
    }
    let mut wire = FakeWire {
        offloads,
        ..FakeWire::able()
    };
    let mut flights = Flights::<()>::default();
    assert!(Sender::default().send(&packet, &mut flights, &mut wire, &memory));
    let sent = (0..wire.sent.len()).map(|index| (wire.sent[index].0, wire.bytes(index, &memory)));
    Some((sent.collect(), packet.frames()))
}

fn all() -> Offloads {
    FakeWire::able().offloads
}

/// Checks a segment, whose checksum may be partial, as a receiver would; returns sequence number, flags and payload.
fn check(ip: Ip, header: &NetHeader, frame: &[u8], tag: usize) -> (u32, u8, Vec<u8>) {
    let mut frame = frame.to_vec();
    if header.needs_csum {
        let (start, offset) = (header.csum_start.into(), header.csum_offset.into());
        assert!(replace_partial(&mut frame, start, offset));
    }
    frame.drain(12..12 + tag);
    let tcp = ip.header_len() - 20;
    let field = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let len = u16::try_from(frame.len() - tcp).unwrap();
    let mut sum = Sum::default();
    if ip == Ip::V4 {
        assert_eq!(field(16), len + 20);
        let mut header = Sum::default();
        header.add(&frame[14..34]);
        assert_eq!(header.fold(), 0xffff, "IP checksum");
        sum.add(&frame[26..34]);
    } else {
        assert_eq!(field(18), len);
        sum.add(&frame[22..54]);
    }
    sum.add(&[0, 6]);
    sum.add(&len.to_be_bytes());
    sum.add(&frame[tcp..]);
    assert_eq!(sum.fold(), 0xffff, "TCP checksum");
    let sequence = u32::from(field(tcp + 4)) << 16 | u32::from(field(tcp + 6));
    (sequence, frame[tcp + 13], frame[tcp + 20..].to_vec())
}

/// Cuts a packet for a back-end that does not, with and without checksums, and checks all segments.
fn check_cut(ip: Ip, payload: usize, mss: u16, tag: Option<(u16, u16)>) {
    let bytes = ip.packet(payload);
    let request = Request {
        tag,
        ..ip.request(mss)
    };
    let tag_len = if tag.is_some() { 4 } else { 0 };
    for checksum in [true, false] {
        let offloads = Offloads {
            checksum,
            ..Offloads::default()
        };
        let (sent, frames) = send(&bytes, &request, offloads).unwrap();
        let count = payload.div_ceil(mss.into());
        assert_eq!(sent.len(), count);
        assert_eq!(usize::try_from(frames.full).unwrap(), count - 1);
        let mut all = Vec::new();
        for (index, (header, frame)) in sent.iter().enumerate() {
            assert_eq!((header.needs_csum, header.gso), (checksum, GsoType::None));
            let last = index + 1 == count;
            let len = if last {
                frames.last_len
            } else {
                frames.full_len
            };
            assert_eq!(frame.len(), len);
            if let Some((tag, ethertype)) = tag {
                let inserted = [ethertype.to_be_bytes(), tag.to_be_bytes()].concat();
                assert_eq!(frame[12..16], inserted);
            }
            let (sequence, flags, part) = check(ip, header, frame, tag_len);
            let offset = u32::try_from(all.len()).unwrap();
            assert_eq!(sequence, SEQUENCE.wrapping_add(offset));
            let cwr = if index == 0 { CWR } else { 0 };
            let end = if last { 0x09 } else { 0 };
            assert_eq!(flags, 0x10 | cwr | end);
            all.extend(part);
        }
        assert_eq!(all, bytes[ip.header_len()..]);
    }
}

#[test]
fn segments_are_right_whatever_the_headers_and_their_size() {
    for ip in [Ip::V4, Ip::V6] {
        for tag in [None, Some(TAG)] {
            // The last two: headers are longer than what they carry.
            for (payload, mss) in [(5000, 1460), (2920, 1460), (25, 10), (25, 1)] {
                check_cut(ip, payload, mss, tag);
            }
        }
    }
}

#[test]
fn a_back_end_that_segments_gets_one_packet_as_linux_would_make_it() {
    for (ip, gso) in [(Ip::V4, GsoType::TcpV4), (Ip::V6, GsoType::TcpV6)] {
        let header_len = ip.header_len();
        for tag in [None, Some(TAG)] {
            let shift = if tag.is_some() { 4 } else { 0 };
            let request = Request {
                tag,
                ..ip.request(1000)
            };
            let (sent, frames) = send(&ip.packet(2500), &request, all()).unwrap();
            let [(header, frame)] = &sent[..] else {
                panic!("{} frames", sent.len());
            };
            assert_eq!((header.gso, header.gso_size), (gso, 1000));
            assert_eq!(usize::from(header.hdr_len), header_len + shift);
            assert_eq!(usize::from(header.csum_start), header_len - 20 + shift);
            assert_eq!(header.csum_offset, 16);
            assert_eq!(check(ip, header, frame, shift).2.len(), 2500);
            let full_len = header_len + shift + 1000;
            let expected = Frames {
                full: 2,
                full_len,
                last_len: full_len - 500,
            };
            assert_eq!(frames, expected);
        }
    }
}

#[test]
fn a_plain_checksum_moves_with_a_tag() {
    let mut bytes = Ip::V4.packet(100);
    bytes[16..18].copy_from_slice(&140u16.to_be_bytes());
    let mut sum = Sum::default();
    sum.add(&bytes[26..34]);
    sum.add(&[0, 6, 0, 120]);
    bytes[50..52].copy_from_slice(&sum.fold().to_be_bytes());
    let request = Request {
        transport: Some(Range {
            start: 34,
            field: 50,
            end: None,
        }),
        segmentation: None,
        tag: Some(TAG),
        ..Ip::V4.request(0)
    };
    for offloads in [all(), Offloads::default()] {
        let (sent, _) = send(&bytes, &request, offloads).unwrap();
        let (header, frame) = &sent[0];
        assert_eq!(header.needs_csum, offloads.checksum);
        if offloads.checksum {
            assert_eq!((header.csum_start, header.hdr_len), (38, 0));
        }
        assert_eq!(check(Ip::V4, header, frame, 4).2.len(), 100);
    }
}

#[test]
fn only_a_back_end_that_knows_ecn_segments_what_has_cwr() {
    let without = Offloads {
        ecn: false,
        ..all()
    };
    for ip in [Ip::V4, Ip::V6] {
        let mut bytes = ip.packet(2500);
        let request = ip.request(1000);
        let (sent, _) = send(&bytes, &request, all()).unwrap();
        assert!(sent.len() == 1 && sent[0].0.ecn);
        let (sent, _) = send(&bytes, &request, without).unwrap();
        let flags = |(header, frame): &Sent| check(ip, header, frame, 0).1 & CWR;
        assert_eq!(sent.iter().map(flags).collect::<Vec<_>>(), [CWR, 0, 0]);
        assert!(!sent.iter().any(|(header, _)| header.ecn));
        // What is one segment anyway has no segmentation that could be asked for.
        let (sent, _) = send(&ip.packet(500), &request, all()).unwrap();
        assert!(!sent[0].0.ecn);
        bytes[ip.header_len() - 7] &= !CWR;
        for offloads in [all(), without] {
            let (sent, _) = send(&bytes, &request, offloads).unwrap();
            assert!(sent.len() == 1 && !sent[0].0.ecn);
        }
    }
}

#[test]
fn nonsense_is_not_sent() {
    let bytes = Ip::V4.packet(100);
    assert!(send(&bytes, &Ip::V4.request(0), all()).is_none(), "no mss");
    let mut request = Ip::V4.request(10);
    for spoil in [
        |asked: &mut Segmentation| asked.header = 200,
        |asked: &mut Segmentation| asked.field = 53,
        |asked: &mut Segmentation| asked.tcp = 20,
        |asked: &mut Segmentation| asked.ip = 12,
    ] {
        let mut asked = Ip::V4.request(10).segmentation.unwrap();
        spoil(&mut asked);
        request.segmentation = Some(asked);
        assert!(send(&bytes, &request, all()).is_none(), "{asked:?}");
    }
}
