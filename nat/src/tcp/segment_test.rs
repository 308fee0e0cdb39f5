use super::*;
use proptest::prelude::*;

fn parse(bytes: &[u8]) -> Result<Segment<'_>, DropReason> {
    let address = IpAddr::from([10, 0, 2, 15]);
    Segment::parse(bytes, address, address, false)
}

/// A SYN with these option bytes, padded to a multiple of four.
fn with_options(options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![
        1, 1, 0, 80, 0, 0, 0, 5, 0, 0, 0, 0, 0, 2, 0xff, 0xff, 0, 0, 0, 0,
    ];
    bytes.extend(options);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes[12] = u8::try_from(bytes.len() / 4).unwrap() << 4;
    bytes
}

#[test]
fn options_are_read_up_to_the_first_that_is_malformed() {
    let options = |bytes: &[u8]| parse(&with_options(bytes)).unwrap().options;
    let all = options(&[2, 4, 5, 180, 4, 2, 1, 3, 3, 7]);
    assert_eq!(
        (all.mss, all.shift, all.sack_permitted),
        (Some(1460), Some(7), true)
    );
    // Lengths of 0 and 1 lead nowhere, one beyond the header neither.
    for bad in [[8, 0, 0, 0], [8, 1, 0, 0], [8, 200, 0, 0], [2, 3, 9, 9]] {
        let some = options(&[&[3, 3, 2], &bad[..], &[4, 2]].concat());
        assert_eq!(
            (some.shift, some.sack_permitted),
            (Some(2), false),
            "{bad:?}"
        );
    }
    // Nothing behind the end of the list.
    assert!(!options(&[0, 4, 2, 1]).sack_permitted);
    // RFC 7323, 2.3
    assert_eq!(options(&[3, 3, 15]).shift, Some(14));
    assert_eq!(options(&[3, 3, 255]).shift, Some(14));
}

#[test]
fn headers_that_cannot_be_are_malformed() {
    let good = with_options(&[]);
    assert!(parse(&good).is_ok());
    for len in 0..20 {
        assert_eq!(parse(&good[..len]).unwrap_err(), DropReason::Malformed);
    }
    for (at, value) in [(12, 0x40), (12, 0xf0), (13, 3)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(
            parse(&bad).unwrap_err(),
            DropReason::Malformed,
            "{at} {value}"
        );
    }
    for port in [0, 2] {
        let mut bad = good.clone();
        bad[port..port + 2].fill(0);
        assert_eq!(parse(&bad).unwrap_err(), DropReason::Malformed);
    }
}

#[test]
fn urgent_data_are_data() {
    let mut bytes = with_options(&[]);
    bytes[13] = 0x30;
    bytes[18..20].copy_from_slice(&[0xff, 0xff]);
    bytes.extend(b"urgent");
    let segment = parse(&bytes).unwrap();
    assert_eq!((segment.payload, segment.len()), (&b"urgent"[..], 6));
}

#[test]
fn a_wrong_sum_is_told_from_a_right_one() {
    let address = IpAddr::from([10, 0, 2, 15]);
    let mut bytes = with_options(&[]);
    let sum = Pseudo::new(address, address)
        .unwrap()
        .sum(protocol::TCP, bytes.len())
        .bytes(&bytes)
        .checksum();
    bytes[16..18].copy_from_slice(&sum);
    assert!(Segment::parse(&bytes, address, address, true).is_ok());
    bytes[4] ^= 1;
    let wrong = Segment::parse(&bytes, address, address, true);
    assert_eq!(wrong.unwrap_err(), DropReason::BadChecksum);
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes: Vec<u8>) {
        if let Ok(segment) = parse(&bytes) {
            prop_assert!(segment.payload.len() + 20 <= bytes.len());
        }
    }
}
