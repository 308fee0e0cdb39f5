use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn text_and_wire_are_the_same_name_in_lower_case() {
    let parsed = name("Www.Example.COM.");
    assert_eq!(parsed.wire(), b"\x03www\x07example\x03com\0");
    assert_eq!(parsed.to_string(), "www.example.com");
    assert_eq!(
        Name::parse(b"\x03wWw\x07Example\x03com\0", 0),
        Some((parsed, 17))
    );
    assert_eq!(name("."), Name::root());
    assert_eq!(Name::root().to_string(), ".");
}

#[test]
fn texts_that_are_no_names_are_refused() {
    let long = "a".repeat(64);
    let longer = ["a".repeat(63).as_str(); 4].join(".");
    for text in ["", "..", ".a", "a..b", "a b", "ä", &long, &longer] {
        assert!(text.parse::<Name>().is_err(), "{text:?}");
    }
    assert!(
        ["a".repeat(61).as_str(); 4]
            .join(".")
            .parse::<Name>()
            .is_ok()
    );
}

#[test]
fn pointers_lead_backwards() {
    let message = b"\x03com\0\x07example\xc0\x00\x03www\xc0\x05";
    let (found, end) = Name::parse(message, 15).unwrap();
    assert_eq!((found.to_string().as_str(), end), ("www.example.com", 21));
}

#[test]
fn name_pointer_loop_is_refused() {
    assert_eq!(Name::parse(&[0xc0, 0x00], 0), None, "to itself");
    assert_eq!(
        Name::parse(&[0xc0, 0x02, 0xc0, 0x00], 0),
        None,
        "to each other"
    );
    assert_eq!(Name::parse(&[0xc0, 0x02, 0xc0, 0x00], 2), None);
    assert_eq!(
        Name::parse(&[1, b'a', 0xc0, 0x00], 0),
        None,
        "to its own start"
    );
    assert_eq!(Name::parse(&[1, b'a', 0xc0, 0x00], 2), None, "around");
}

#[test]
fn name_that_overruns_the_message_is_refused() {
    for bytes in [
        &[][..],
        &[3],
        &[3, b'a'],
        &[1, b'a'],
        &[0xc0],
        &[0x40, 0],
        &[0x80, 0],
    ] {
        assert_eq!(Name::parse(bytes, 0), None, "{bytes:?}");
    }
    assert_eq!(Name::parse(&[0], 5), None);
    assert_eq!(Name::parse(&[0], usize::MAX - 1), None);
}

#[test]
fn name_longer_than_255_octets_is_refused_however_it_is_written() {
    let mut message = Vec::new();
    for _ in 0..4 {
        message.put_u8(63);
        message.put(&[b'a'; 63]);
    }
    message.put_u8(0);
    assert_eq!(Name::parse(&message, 0), None, "257 octets");
    let mut message = b"\x01a\0".to_vec();
    for index in 0..200u16 {
        message.put(b"\x01b");
        let before = if index == 0 { 0 } else { 3 + (index - 1) * 4 };
        message.put_u16(0xc000 | before);
    }
    assert!(Name::parse(&message, 3 + 4 * 100).is_some());
    assert_eq!(
        Name::parse(&message, 3 + 4 * 199),
        None,
        "by way of pointers"
    );
}

#[test]
fn names_are_taken_apart_and_put_together() {
    let domain = name("lab.internal");
    assert_eq!(name("web.lab.internal").without(&domain), Some(name("web")));
    assert_eq!(domain.without(&domain), Some(Name::root()));
    assert_eq!(name("weblab.internal").without(&domain), None);
    assert_eq!(name("example.com").without(&domain), None);
    assert_eq!(name("web").within(&domain), Some(name("web.lab.internal")));
    let long = ["a".repeat(61).as_str(); 4]
        .join(".")
        .parse::<Name>()
        .unwrap();
    assert_eq!(long.within(&domain), None);
}

#[test]
fn lists_are_compressed_against_all_names_before() {
    let list = [
        name("eng.apple.com"),
        name("marketing.apple.com"),
        name("com"),
    ];
    // The example of RFC 3397, 2, and one more.
    let expected = b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04\xc0\x0a";
    assert_eq!(compress_list(&list), expected);
    assert_eq!(plain_list(&list[2..]), b"\x03com\0");
}

proptest! {
    #[test]
    fn any_octets_are_survived_and_what_is_a_name_is_one(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        offset in 0..300usize,
    ) {
        if let Some((found, end)) = Name::parse(&bytes, offset) {
            prop_assert!(end <= bytes.len());
            prop_assert!(found.wire().len() <= MAX_NAME);
            prop_assert_eq!(Name::parse(found.wire(), 0), Some((found.clone(), found.wire().len())));
        }
    }
}
