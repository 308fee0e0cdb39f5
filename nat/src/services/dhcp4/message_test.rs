use super::*;

fn parse(field: &[u8]) -> Option<Options<'_>> {
    Options::parse(field, &[], &[])
}

#[test]
fn options_are_found_between_pads() {
    let options = parse(&[0, 0, 53, 1, 1, 0, 50, 4, 10, 0, 2, 15, 255, 12, 1, b'x']).unwrap();
    assert_eq!(options.u8(option::MESSAGE_TYPE), Some(1));
    assert_eq!(
        options.address(option::REQUESTED_ADDRESS),
        Some(Ipv4Addr::new(10, 0, 2, 15))
    );
    assert_eq!(options.get(option::HOST_NAME), None, "behind the end");
}

#[test]
fn options_length_overrun_is_refused() {
    assert!(parse(&[53, 1, 1, 12, 200, b'x']).is_none());
    assert!(parse(&[53]).is_none(), "no length");
}

#[test]
fn option_255_missing_is_the_end_of_the_field() {
    assert_eq!(
        parse(&[53, 1, 3]).unwrap().u8(option::MESSAGE_TYPE),
        Some(3)
    );
    assert!(parse(&[]).unwrap().get(option::MESSAGE_TYPE).is_none());
}

#[test]
fn option_0_padding_only_is_no_option() {
    assert!(
        parse(&[0; 300])
            .unwrap()
            .get(option::MESSAGE_TYPE)
            .is_none()
    );
}

#[test]
fn long_options_come_in_pieces() {
    let mut field = vec![option::DOMAIN_SEARCH, 255];
    field.extend([1; 255]);
    field.extend([option::DOMAIN_SEARCH, 45]);
    field.extend([2; 45]);
    let options = parse(&field).unwrap();
    let value = options.get(option::DOMAIN_SEARCH).unwrap();
    assert_eq!((value.len(), value[254], value[255]), (300, 1, 2));
}

#[test]
fn overloaded_fields_are_read_after_the_options() {
    let field = [option::OVERLOAD, 1, 3, 255];
    let file = [12, 3, b'w', b'e', b'b', 255, 0, 0];
    let sname = [12, 1, b'2', 53, 1, 1, 255];
    let options = Options::parse(&field, &file, &sname).unwrap();
    assert_eq!(options.get(option::HOST_NAME), Some(&b"web2"[..]));
    assert_eq!(options.u8(option::MESSAGE_TYPE), Some(1));
    let without = Options::parse(&[option::OVERLOAD, 1, 1], &file, &sname).unwrap();
    assert_eq!(without.get(option::HOST_NAME), Some(&b"web"[..]));
    assert!(
        Options::parse(&field, &[12, 9, 0], &sname).is_none(),
        "overrun in `file`"
    );
}

#[test]
fn options_of_a_wrong_size_are_not_there() {
    let options = parse(&[50, 3, 10, 0, 2, 57, 1, 9, 53, 0, 61, 0]).unwrap();
    assert_eq!(options.address(option::REQUESTED_ADDRESS), None);
    assert_eq!(options.u16(option::MAX_MESSAGE_SIZE), None);
    assert_eq!(options.u8(option::MESSAGE_TYPE), None);
    assert_eq!(options.get(option::CLIENT_ID), Some(&[][..]));
}
