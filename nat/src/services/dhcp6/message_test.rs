use super::*;

fn message(options: &[u8]) -> Vec<u8> {
    [&[1, 0xaa, 0xbb, 0xcc], options].concat()
}

fn option_of(code: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_option(&mut bytes, code, value);
    bytes
}

fn association(iaid: u32, inner: &[u8]) -> Vec<u8> {
    let mut value = iaid.to_be_bytes().to_vec();
    value.extend([0; 8]);
    value.extend(inner);
    option_of(option::IA_NA, &value)
}

#[test]
fn a_message_is_read_with_the_options_in_its_options() {
    let address: Ipv6Addr = "fd00::1000".parse().unwrap();
    let mut inner = address.octets().to_vec();
    inner.extend([0; 8]);
    let options = [
        option_of(option::CLIENT_ID, &[0, 3, 0, 1, 2, 3]),
        association(7, &option_of(option::IA_ADDRESS, &inner)),
        option_of(option::RAPID_COMMIT, &[]),
        option_of(999, &[1, 2, 3]),
    ];
    let bytes = message(&options.concat());
    let request = Request::parse(&bytes).unwrap();
    assert_eq!((request.kind, request.transaction), (1, [0xaa, 0xbb, 0xcc]));
    assert_eq!(request.client, Some(&[0, 3, 0, 1, 2, 3][..]));
    assert!(request.rapid_commit);
    let expected = Association {
        iaid: 7,
        addresses: vec![address],
    };
    assert_eq!(request.associations, [expected]);
}

#[test]
fn options_that_overrun_the_message_are_refused() {
    assert_eq!(Request::parse(&message(&[0, 1, 0, 9, 1])), None);
    assert_eq!(Request::parse(&message(&[0, 1, 0])), None);
    assert_eq!(Request::parse(&[1, 2, 3]), None, "no whole transaction id");
}

#[test]
fn nested_options_that_overrun_their_option_are_refused() {
    assert_eq!(
        Request::parse(&message(&association(1, &[0, 5, 0, 24, 1, 2]))),
        None
    );
    assert_eq!(
        Request::parse(&message(&association(1, &[0, 5, 0, 4, 1, 2, 3, 4]))),
        None
    );
    assert_eq!(
        Request::parse(&message(&option_of(option::IA_NA, &[0; 11]))),
        None
    );
}

#[test]
fn nested_associations_are_just_unknown_options() {
    let deep = (0..50).fold(Vec::new(), |inner, _| association(1, &inner));
    let bytes = message(&deep);
    assert_eq!(Request::parse(&bytes).unwrap().associations.len(), 1);
}

#[test]
fn duids_have_bounds() {
    for (len, legal) in [(0, false), (2, false), (3, true), (130, true), (131, false)] {
        let bytes = message(&option_of(option::CLIENT_ID, &vec![1; len]));
        assert_eq!(Request::parse(&bytes).is_some(), legal, "{len} octets");
    }
}

#[test]
fn associations_have_bounds() {
    let many: Vec<u8> = (0..9).flat_map(|iaid| association(iaid, &[])).collect();
    assert_eq!(Request::parse(&message(&many)), None);
    let eight: Vec<u8> = (0..8).flat_map(|iaid| association(iaid, &[])).collect();
    assert!(Request::parse(&message(&eight)).is_some());
    let addresses: Vec<u8> = (0..99)
        .flat_map(|_| option_of(option::IA_ADDRESS, &[1; 24]))
        .collect();
    let bytes = message(&association(1, &addresses));
    assert_eq!(
        Request::parse(&bytes).unwrap().associations[0]
            .addresses
            .len(),
        8
    );
}
