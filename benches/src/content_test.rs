use super::*;

#[test]
fn a_plain_frame_is_as_long_as_asked_and_its_payload_follows_from_its_number() {
    let content = Content::new(FrameKind::Plain(64)).expect("64 bytes are a frame");
    let whole = content.start().len() + NUMBER + content.payload(0).len();
    assert_eq!(whole, NET_HEADER_LEN + 64);
    assert_eq!(content.payload(7), content.payload(7 + WINDOWS));
    assert_ne!(content.payload(7), content.payload(8));
}

#[test]
fn the_sum_over_an_ipv4_header_is_that_of_rfc_1071() {
    let header = ipv4(PROTOCOL_UDP, 50).expect("50 bytes are an IPv4 packet");
    let mut sum: u32 = header
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    sum = (sum & 0xffff) + (sum >> 16);
    assert_eq!(sum, 0xffff);
}

#[test]
fn gso_frames_fit_one_ipv4_packet_and_consist_of_full_segments() {
    let content = Content::new(FrameKind::Gso).expect("a GSO frame");
    let payload = content.frame_len() - ETHERNET - IPV4 - TCP;
    assert_eq!(payload % usize::from(SEGMENT), 0);
    assert!(content.frame_len() - ETHERNET <= 65535);
    assert_eq!(
        content.start().len(),
        NET_HEADER_LEN + ETHERNET + IPV4 + TCP
    );
}

#[test]
fn sizes_are_read_as_they_are_written_and_nonsense_is_refused() {
    for kind in [FrameKind::Plain(60), FrameKind::Plain(9018), FrameKind::Gso] {
        let read: FrameKind = kind.to_string().parse().expect("as it was written");
        assert_eq!(read, kind);
    }
    for wrong in ["59", "9019", "tso", "", "-64"] {
        assert!(wrong.parse::<FrameKind>().is_err(), "{wrong} was accepted");
    }
}
