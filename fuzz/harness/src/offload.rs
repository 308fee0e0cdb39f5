//! Target `offload`: arbitrary virtio-net headers on arbitrary frames.
use crate::input::Input;
use netbackend::offload::{
    HEAD_LEN, IpVersion, Layout, MAX_SEGMENTS, Reject, Segmentation, Segments, Validated,
    complete_checksum, parse, validate,
};
use virtqueue::{NET_HEADER_LEN, NetHeader};

const TCP: u8 = 6;
const IPV6_LEN: usize = 40;
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// Interprets the input as a header and a frame, and does what the datapath would.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let (header, mut frame) = scenario(&mut input);
    let Some(header) = NetHeader::decode(&header) else {
        return;
    };
    let head = &frame[..frame.len().min(HEAD_LEN)];
    let Ok(validated) = validate(&header, head, frame.len()) else {
        return;
    };
    let again = validate(validated.header(), head, frame.len());
    assert_eq!(again, Ok(validated), "what was let through is let through");
    assert!(!validated.header().data_valid, "nobody vouches for a guest");
    assert_eq!(validated.header().num_buffers, 1);
    match validated.segmentation() {
        Some(Segmentation::Tso4 | Segmentation::Tso6) => segment(&validated, &frame),
        Some(Segmentation::Ufo | Segmentation::Uso4 | Segmentation::Uso6) => {
            segment_udp(&validated, &frame);
        }
        None if validated.needs_csum() => complete(&validated, &mut frame),
        None => {}
    }
}

/// Either bytes as they are, or a sound TCP frame that the input bends.
fn scenario(input: &mut Input<'_>) -> ([u8; NET_HEADER_LEN], Vec<u8>) {
    let mut header = [0; NET_HEADER_LEN];
    for (to, from) in header.iter_mut().zip(input.take(NET_HEADER_LEN)) {
        *to = *from;
    }
    let shape = input.u8();
    let pad = usize::from(input.u16());
    let mut frame = Vec::new();
    if shape & 1 != 0 {
        frame = sound(shape, &mut header);
        for _ in 0..input.u8() % 8 {
            let at = usize::from(input.u8());
            let value = input.u8();
            if let Some(byte) = frame.get_mut(at) {
                *byte ^= value;
            }
        }
    }
    frame.extend(input.rest());
    frame.extend((0..pad).map(|at| at.to_le_bytes()[0]));
    (header, frame)
}

/// Headers of a TCP frame; the virtio-net header is made to fit them, where it is zero.
fn sound(shape: u8, header: &mut [u8; NET_HEADER_LEN]) -> Vec<u8> {
    let v6 = shape & 2 != 0;
    let mut frame = vec![0x52; 12];
    for _ in 0..(shape >> 2) % 3 {
        frame.extend([0x81, 0x00, 0x00, 0x05]);
    }
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0]);
        let extension = shape & 0x40 != 0;
        frame.extend([if extension { 60 } else { TCP }, 64]);
        frame.extend([7; 32]);
        if extension {
            frame.extend([TCP, 0, 1, 4, 0, 0, 0, 0]);
        }
    } else {
        let words = 5 + (shape >> 6);
        frame.extend([0x08, 0x00, 0x40 | words, 0, 0, 0, 0, 1, 0, 0, 64, TCP, 0, 0]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        frame.resize(frame.len() + usize::from(words - 5) * 4, 1);
    }
    let l4 = u16::try_from(frame.len()).unwrap_or(0);
    let words = 5 + (shape >> 4) % 4;
    frame.extend([
        0,
        1,
        0,
        2,
        0,
        0,
        0,
        9,
        0,
        0,
        0,
        1,
        words << 4,
        0x99,
        1,
        0,
        0,
        0,
        0,
        0,
    ]);
    frame.resize(frame.len() + usize::from(words - 5) * 4, 1);
    header[0] ^= 1;
    header[1] ^= if v6 { 4 } else { 1 };
    let [low, high] = l4.to_le_bytes();
    header[6] ^= low;
    header[7] ^= high;
    header[8] ^= 16;
    frame
}

/// The segments of a frame are sound by themselves and hold its payload, each byte once.
fn segment(validated: &Validated, frame: &[u8]) {
    let head = &frame[..frame.len().min(HEAD_LEN)];
    let layout = parse(head).expect("it was validated");
    let mut segments = match Segments::new(validated, frame) {
        Ok(segments) => segments,
        Err(error) => {
            assert_eq!(error, Reject::RoutingHeader, "the only one left");
            assert!(layout.has_routing_header);
            return;
        }
    };
    let headers = layout.tcp_payload(head).expect("it was validated");
    assert_eq!(usize::from(validated.header().hdr_len), headers);
    let payload = &frame[headers..];
    let count = segments.remaining();
    assert!((2..=MAX_SEGMENTS).contains(&count), "{count} segments");
    let mut out = vec![0; segments.max_segment_len()];
    let mut done = 0;
    for number in 1..=count {
        let len = segments.next_into(&mut out).expect("segments remain");
        let one = &out[..len];
        let part = &one[headers..];
        assert!(!part.is_empty() && part.len() <= usize::from(validated.header().gso_size));
        assert_eq!(part, &payload[done..done + part.len()]);
        check_segment(one, frame, &layout, done, number == count);
        done += part.len();
        assert_eq!(segments.remaining(), count - number);
    }
    assert_eq!(done, payload.len(), "nothing is missing");
    assert_eq!(segments.next_into(&mut out), None);
}

/// The pieces of a datagram hold its payload, each byte once and in order. What their headers say is
/// checked by the unit tests of `offload`.
fn segment_udp(validated: &Validated, frame: &[u8]) {
    let mut segments = match Segments::new(validated, frame) {
        Ok(segments) => segments,
        Err(error) => {
            let refusals = [Reject::RoutingHeader, Reject::ExtensionHeaders];
            assert!(refusals.contains(&error), "{error}");
            return;
        }
    };
    let count = segments.remaining();
    assert!((2..=MAX_SEGMENTS).contains(&count), "{count} segments");
    let mut payload = Vec::new();
    for _ in 0..count {
        let segment = segments.next_segment().expect("segments remain");
        payload.extend_from_slice(segment.payload);
    }
    assert!(segments.next_segment().is_none(), "no more than announced");
    assert_eq!(payload, frame[usize::from(validated.header().hdr_len)..]);
}

fn check_segment(segment: &[u8], frame: &[u8], layout: &Layout, done: usize, is_last: bool) {
    assert_eq!(parse(segment).as_ref(), Ok(layout), "same headers");
    let Layout { l3, l4, .. } = *layout;
    let be16 = |at: usize| usize::from(u16::from_be_bytes([segment[at], segment[at + 1]]));
    let addresses = match layout.ip {
        IpVersion::V4 => {
            assert_eq!(be16(l3 + 2), segment.len() - l3, "IPv4 total length");
            assert_eq!(sum(&segment[l3..l4], 0), 0xffff, "IPv4 header checksum");
            l3 + 12..l3 + 20
        }
        IpVersion::V6 => {
            let length = segment.len() - l3 - IPV6_LEN;
            assert_eq!(be16(l3 + 4), length, "IPv6 payload length");
            l3 + 8..l3 + 40
        }
    };
    let length = u32::try_from(segment.len() - l4).unwrap();
    let pseudo = sum(&segment[addresses], 0) + u32::from(TCP) + (length >> 16) + (length & 0xffff);
    assert_eq!(sum(&segment[l4..], pseudo), 0xffff, "TCP checksum");
    let sequence = |bytes: &[u8]| u32::from_be_bytes(*bytes[l4 + 4..].first_chunk().unwrap());
    let offset = u32::try_from(done).unwrap();
    assert_eq!(sequence(segment), sequence(frame).wrapping_add(offset));
    let (flags, all) = (segment[l4 + 13], frame[l4 + 13]);
    let mut expected = all;
    if !is_last {
        expected &= !FIN_PSH;
    }
    if done > 0 {
        expected &= !CWR;
    }
    assert_eq!(flags, expected, "flags");
}

/// A completed checksum is that of all from its start, and only the field has changed.
fn complete(validated: &Validated, frame: &mut [u8]) {
    let before = frame.to_vec();
    let start = usize::from(validated.header().csum_start);
    let field = start + usize::from(validated.header().csum_offset);
    complete_checksum(frame, validated.header()).expect("its place was validated");
    let whole = sum(&before[start..], 0);
    let value = match !u16::try_from(whole).unwrap() {
        0 => 0xffff,
        value => value,
    };
    assert_eq!(frame[field..field + 2], value.to_be_bytes());
    assert_eq!(frame[..field], before[..field]);
    assert_eq!(frame[field + 2..], before[field + 2..]);
}

/// The ones' complement sum of RFC 1071, the slow way.
fn sum(bytes: &[u8], start: u32) -> u32 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum & 0xffff) + (sum >> 16)
}
