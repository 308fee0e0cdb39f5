use super::*;

/// Ancillary data as packet(7) describes it.
fn auxdata(status: u32, tci: u16, tpid: u16) -> Control {
    let mut bytes = [0; CONTROL];
    bytes[..8].copy_from_slice(&36u64.to_ne_bytes());
    bytes[8..12].copy_from_slice(&libc::SOL_PACKET.to_ne_bytes());
    bytes[12..16].copy_from_slice(&libc::PACKET_AUXDATA.to_ne_bytes());
    bytes[16..20].copy_from_slice(&status.to_ne_bytes());
    bytes[32..34].copy_from_slice(&tci.to_ne_bytes());
    bytes[34..36].copy_from_slice(&tpid.to_ne_bytes());
    bytes
}

/// A packet with room behind it: header, addresses, and what follows them.
fn packet(header: [u8; NET_HEADER_LEN], behind: &[u8]) -> (Vec<u8>, usize) {
    let mut bytes = [&header[..], &[0xaa; ADDRESSES], behind].concat();
    let len = bytes.len();
    bytes.resize(len + TAG, 0);
    (bytes, len)
}

#[test]
fn tags_are_told_from_what_is_none() {
    let valid = VLAN_VALID | VLAN_TPID_VALID;
    assert_eq!(
        tag(&auxdata(valid, 0x2005, 0x88a8)),
        Some([0x88, 0xa8, 0x20, 5])
    );
    // A kernel that knows one kind only.
    assert_eq!(tag(&auxdata(VLAN_VALID, 5, 0)), Some([0x81, 0, 0, 5]));
    // Priority tags are tags, too.
    assert_eq!(tag(&auxdata(valid, 0, 0x8100)), Some([0x81, 0, 0, 0]));
    assert_eq!(tag(&auxdata(1, 5, 0x8100)), None);
    assert_eq!(tag(&[0; CONTROL]), None);
    let mut short = auxdata(valid, 5, 0x8100);
    short[0] = 35;
    assert_eq!(tag(&short), None, "cut off");
    let mut other = auxdata(valid, 5, 0x8100);
    other[8] = 0;
    assert_eq!(tag(&other), None, "of another level");
}

#[test]
fn a_tag_moves_what_the_header_points_at() {
    // NEEDS_CSUM, TCPv4; hdr_len 54, gso_size 1448, csum_start 34, csum_offset 16.
    let header = [1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0];
    let (mut bytes, len) = packet(header, &[8, 0, 0x45, 0x55]);
    let len = insert([0x81, 0, 0, 7], &mut bytes, len);
    assert_eq!(len, Some(bytes.len()));
    assert_eq!(bytes[..12], [1, 1, 58, 0, 0xa8, 5, 38, 0, 16, 0, 0, 0]);
    assert_eq!(bytes[12..24], [0xaa; ADDRESSES]);
    assert_eq!(bytes[24..], [0x81, 0, 0, 7, 8, 0, 0x45, 0x55]);
}

#[test]
fn a_plain_header_stays_as_it_is() {
    let (mut bytes, len) = packet([0; NET_HEADER_LEN], &[8, 6]);
    assert_eq!(insert([0x81, 0, 0, 7], &mut bytes, len), Some(len + TAG));
    assert_eq!(bytes[..12], [0; 12]);
}

#[test]
fn a_tag_that_finds_no_room_or_no_addresses_does_no_harm() {
    let (mut bytes, len) = packet([0; NET_HEADER_LEN], &[8, 6]);
    bytes.truncate(len + TAG - 1);
    assert_eq!(insert([0x81, 0, 0, 7], &mut bytes, len), None);
    let mut runt = [0; 40];
    assert_eq!(insert([0x81, 0, 0, 7], &mut runt, 23), Some(23));
    assert_eq!(runt, [0; 40]);
}

#[test]
fn what_reading_fails_with_is_told_apart() {
    let of = |errno| outcome_of(io::Error::from_raw_os_error(errno));
    assert_eq!(of(libc::EINVAL).ok(), Some(0), "a packet without a header");
    let kind = |errno| of(errno).unwrap_err().kind();
    assert_eq!(kind(libc::ENETDOWN), io::ErrorKind::WouldBlock);
    assert_eq!(kind(libc::EAGAIN), io::ErrorKind::WouldBlock);
    assert_ne!(kind(libc::EBADF), io::ErrorKind::WouldBlock);
}
