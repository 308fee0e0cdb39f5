use super::*;

fn read(text: &str) -> Option<Packet> {
    Packet::parse(&[&[0, 1], text.as_bytes()].concat())
}

#[test]
fn a_request_is_read_with_its_options() {
    let text = "pxelinux.0\0OCTET\0BlkSize\x001428\0tsize\x000\0windowsize\x0016\0timeout\x003\0other\x001\0";
    let Some(Packet::Read(request)) = read(text) else {
        panic!()
    };
    assert_eq!(request.file, "pxelinux.0");
    assert!(request.octet);
    let expected = Options {
        block: Some(1428),
        window: Some(16),
        timeout: Some(3),
        size: Some(0),
    };
    assert_eq!(request.options, expected);
}

#[test]
fn options_out_of_their_range_are_not_agreed_on() {
    for text in [
        "blksize\x007",
        "blksize\x0065465",
        "windowsize\x000",
        "timeout\x00256",
        "timeout\x000",
        "tsize\0-1",
        "blksize\0x",
    ] {
        let Some(Packet::Read(request)) = read(&format!("f\0octet\0{text}\0")) else {
            panic!()
        };
        assert!(request.options.is_empty(), "{text:?}");
    }
    let Some(Packet::Read(request)) = read("f\0octet\0windowsize\x0065535\0") else {
        panic!()
    };
    assert_eq!(request.options.window, Some(MAX_WINDOW));
}

#[test]
fn requests_without_their_zeros_are_refused() {
    for text in [
        "",
        "f",
        "f\0",
        "f\0octet",
        "\0octet\0",
        "f\0octet\0blksize\0",
        "f\0octet\0blksize\x008",
    ] {
        assert_eq!(read(text), None, "{text:?}");
    }
    assert_eq!(
        read(&format!("{}\0octet\0", "f".repeat(600))),
        None,
        "longer than a request is"
    );
    assert_eq!(Packet::parse(&[0, 1, 0xff, 0, b'o', 0]), None, "not UTF-8");
}

#[test]
fn other_packets_are_told_apart() {
    assert_eq!(Packet::parse(&[0, 4, 1, 2]), Some(Packet::Ack(0x102)));
    assert_eq!(Packet::parse(&[0, 2, b'f', 0]), Some(Packet::Write));
    assert_eq!(Packet::parse(&[0, 5]), Some(Packet::Error));
    for bytes in [&[][..], &[0], &[0, 4, 1], &[0, 3, 0, 1], &[0, 9], &[1, 1]] {
        assert_eq!(Packet::parse(bytes), None, "{bytes:?}");
    }
}
