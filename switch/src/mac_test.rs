//! Parsing, printing and classes of addresses.
use super::*;

#[test]
fn text_round_trips() {
    for text in [
        "52:54:00:12:34:56",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
    ] {
        assert_eq!(text.parse::<MacAddr>().unwrap().to_string(), text);
    }
    assert_eq!("0-1-2-A-b-Ff".parse(), Ok(MacAddr([0, 1, 2, 10, 11, 255])));
}

#[test]
fn malformed_text_is_refused() {
    for text in [
        "",
        ":",
        "52:54:00:12:34",
        "52:54:00:12:34:56:78",
        "52:54:00:12:34:",
        "52:54:00:12:34:100",
        "52:54:00:12:34:+5",
        "52:54:00:12:34:5g",
        "52-54:00:12:34:56",
        "525400123456",
        "52:54:00:12:34:é",
    ] {
        assert!(text.parse::<MacAddr>().is_err(), "{text}");
    }
}

#[test]
fn classes() {
    let mac = |text: &str| text.parse::<MacAddr>().unwrap();
    assert!(MacAddr::BROADCAST.is_multicast());
    assert!(mac("01:00:5e:00:00:01").is_multicast());
    assert!(mac("33:33:00:00:00:01").is_multicast());
    assert!(mac("52:54:00:00:00:01").is_station());
    assert!(!mac("00:00:00:00:00:00").is_station());
    assert!(!mac("33:33:00:00:00:01").is_station());
}

#[test]
fn key_round_trips() {
    let mac = MacAddr([1, 2, 3, 4, 5, 6]);
    assert_eq!(Key::new(mac), Key(0x0102_0304_0506));
    assert_eq!(Key::new(mac).mac(), mac);
}
