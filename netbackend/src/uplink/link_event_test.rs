use super::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

fn message(kind: u16, index: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; HEADERS];
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[20..24].copy_from_slice(&index.to_ne_bytes());
    [bytes, attributes.concat()].concat()
}

#[test]
fn the_mtu_of_the_interface_is_found_behind_others() {
    // Its name, whose length is not aligned.
    let attributes = [
        attribute(3, b"eth10\0"),
        attribute(4, &1400u32.to_ne_bytes()),
    ];
    let told = message(RTM_NEWLINK, 7, &attributes);
    assert_eq!(mtu_of(7, &told), Some(1400));
    assert_eq!(mtu_of(8, &told), None);
    // RTM_DELLINK.
    assert_eq!(mtu_of(7, &message(17, 7, &attributes)), None);
}

#[test]
fn a_message_that_is_cut_or_broken_has_none() {
    let attributes = [
        attribute(3, b"eth10\0"),
        attribute(4, &1400u32.to_ne_bytes()),
    ];
    let told = message(RTM_NEWLINK, 7, &attributes);
    for length in 0..told.len() {
        assert_eq!(mtu_of(7, &told[..length]), None, "{length}");
    }
    // An attribute of no length at all does not hold up the search.
    assert_eq!(mtu_of(7, &message(RTM_NEWLINK, 7, &[vec![0; 64]])), None);
}
