use super::*;

const MAC: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0, 0, 1]);
const GATEWAY: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0, 0, 2]);

fn parties() -> Parties {
    Parties {
        mac: MAC,
        gateway: GATEWAY,
        local: "10.0.2.15:50000".parse().expect("an address"),
        remote: "192.0.2.2:80".parse().expect("an address"),
    }
}

/// The other side.
fn peers() -> Parties {
    let ours = parties();
    Parties {
        mac: ours.gateway,
        gateway: ours.mac,
        local: ours.remote,
        remote: ours.local,
    }
}

fn header(control: TcpControl, mss: Option<u16>) -> Header {
    Header {
        control,
        seq: u32::MAX,
        ack: Some(1 << 31),
        mss,
    }
}

#[test]
fn what_one_side_sends_the_other_reads() {
    for (control, mss) in [
        (TcpControl::Syn, Some(1460)),
        (TcpControl::None, None),
        (TcpControl::Fin, None),
        (TcpControl::Rst, None),
    ] {
        let bytes = header(control, mss)
            .encode(&peers(), 0, 1460)
            .expect("short");
        let Some(Incoming::Segment(segment)) = Incoming::parse(&bytes, &parties()) else {
            panic!("{control:?} was not read");
        };
        let expected = Segment {
            control,
            seq: u32::MAX,
            ack: Some(1 << 31),
            window: OUR_WINDOW,
            mss,
            shift: mss.map(|_| 0),
            len: 0,
        };
        assert_eq!(segment, expected);
    }
}

#[test]
fn large_frames_ask_to_be_segmented() {
    let whole = 44 * 1460;
    let bytes = header(TcpControl::Psh, None)
        .encode(&parties(), whole, 1460)
        .expect("it fits");
    let (start, frame) = bytes.split_first_chunk().expect("a virtio-net header");
    let net = NetHeader::decode(start).expect("a good one");
    assert!(net.needs_csum);
    assert_eq!((net.gso, net.gso_size), (GsoType::TcpV4, 1460));
    assert_eq!(usize::from(net.hdr_len), frame.len());
    assert_eq!((net.csum_start, net.csum_offset), (34, 16));
    // RFC 791, 3.1: the total length counts what follows elsewhere.
    let total = u16::from_be_bytes([frame[16], frame[17]]);
    assert_eq!(u32::from(total), 40 + whole);
    let small = header(TcpControl::Psh, None).encode(&parties(), 1460, 1460);
    let small = small.expect("it fits");
    let net = NetHeader::decode(small.first_chunk().expect("one")).expect("a good one");
    assert_eq!(net.gso, GsoType::None);
    let error = header(TcpControl::Psh, None).encode(&parties(), 65_496, 1460);
    assert!(error.is_err(), "more than IPv4 holds");
}

#[test]
fn the_partial_checksum_is_completed_by_the_sum_over_the_segment() {
    let payload = [1, 2, 3];
    let mut bytes = header(TcpControl::Psh, None)
        .encode(&peers(), 3, 1460)
        .expect("short");
    bytes.extend(payload);
    // As a switch does that finishes checksums; smoltcp is the judge.
    let start = NET_HEADER_LEN + ETHERNET + IPV4;
    let sum = !checksum::data(&bytes[start..]);
    bytes[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
    bytes[..NET_HEADER_LEN].copy_from_slice(&NetHeader::default().encode());
    let Some(Incoming::Segment(segment)) = Incoming::parse(&bytes, &parties()) else {
        panic!("it was not read");
    };
    assert_eq!(segment.len, 3);
    for at in [start, start + 4, bytes.len() - 1] {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert_eq!(Incoming::parse(&altered, &parties()), None, "byte {at}");
    }
}

#[test]
fn questions_and_answers_of_arp_are_told_apart() {
    let ours = (MAC, *parties().local.ip());
    let theirs = (GATEWAY, Ipv4Addr::new(10, 0, 2, 2));
    let question = arp(
        ArpOperation::Request,
        theirs,
        (EthernetAddress([0; 6]), ours.1),
    );
    assert_eq!(
        Incoming::parse(&question, &parties()),
        Some(Incoming::Asked(theirs.0, theirs.1))
    );
    let answer = arp(ArpOperation::Reply, theirs, ours);
    assert_eq!(
        Incoming::parse(&answer, &parties()),
        Some(Incoming::Told(theirs.0, theirs.1))
    );
    let other = arp(ArpOperation::Request, theirs, theirs);
    assert_eq!(Incoming::parse(&other, &parties()), None);
}

/// Every frame cut short at every place, and every byte of it turned over in several ways.
#[test]
fn no_frame_is_a_panic() {
    let answer = (GATEWAY, Ipv4Addr::new(10, 0, 2, 2));
    let frames = [
        header(TcpControl::Syn, Some(1460))
            .encode(&peers(), 0, 1460)
            .expect("short"),
        arp(ArpOperation::Reply, answer, (MAC, *parties().local.ip())),
    ];
    for frame in frames {
        for len in 0..frame.len() {
            assert_eq!(
                Incoming::parse(&frame[..len], &parties()),
                None,
                "{len} bytes"
            );
        }
        for at in 0..frame.len() {
            for bits in 0..=u8::MAX {
                let mut altered = frame.clone();
                altered[at] ^= bits;
                let _ = Incoming::parse(&altered, &parties());
            }
        }
    }
}
