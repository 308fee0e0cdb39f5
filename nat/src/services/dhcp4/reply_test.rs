use super::*;
use crate::services::dhcp4::message::Options;
use crate::services::dhcp4::server::tests::Ask;

/// The options of a message of ours, read back with the parser of the other direction, and whether `file` and `sname` have some.
fn options(bytes: &[u8]) -> Options<'_> {
    Options::parse(&bytes[240..], &bytes[108..236], &bytes[44..108]).unwrap()
}

fn emit(ask: &Ask, reply: Reply) -> Vec<u8> {
    let bytes = ask.bytes();
    reply.emit(&Request::parse(&bytes).unwrap(), 1500)
}

fn reply() -> Reply {
    Reply::new(MessageType::Ack, Ipv4Addr::new(10, 0, 2, 2))
}

#[test]
fn messages_are_padded_to_what_a_bootp_relay_takes() {
    let bytes = emit(&Ask::discover(), reply());
    assert_eq!(bytes.len(), MIN_MESSAGE);
    assert_eq!(options(&bytes).u8(option::MESSAGE_TYPE), Some(5));
}

#[test]
fn what_has_no_room_goes_into_file_and_sname() {
    let mut reply = reply();
    reply.put(option::DOMAIN_SEARCH, &[7; 255]);
    reply.put(option::MESSAGE, &[8; 100]);
    reply.put(option::HOST_NAME, &[9; 50]);
    let bytes = emit(&Ask::discover(), reply);
    assert!(bytes.len() <= DEFAULT_MAX_MESSAGE, "{}", bytes.len());
    let options = options(&bytes);
    assert_eq!(options.u8(option::OVERLOAD), Some(3));
    assert_eq!(options.get(option::DOMAIN_SEARCH), Some(&[7; 255][..]));
    assert_eq!(options.get(option::MESSAGE), Some(&[8; 100][..]));
    assert_eq!(options.get(option::HOST_NAME), Some(&[9; 50][..]));
}

#[test]
fn a_boot_file_keeps_its_field() {
    let mut reply = reply();
    reply.file = b"pxelinux.0".to_vec();
    reply.put(option::DOMAIN_SEARCH, &[7; 255]);
    reply.put(option::MESSAGE, &[8; 100]);
    let bytes = emit(&Ask::discover(), reply);
    assert_eq!(bytes[108..119], *b"pxelinux.0\0");
    let options = options(&bytes);
    assert_eq!(
        options.u8(option::OVERLOAD),
        None,
        "100 octets do not fit into `sname`"
    );
    assert_eq!(options.get(option::MESSAGE), None);
}

#[test]
fn a_client_that_takes_more_gets_more() {
    let mut reply = reply();
    reply.put(option::DOMAIN_SEARCH, &[7; 600]);
    let mut ask = Ask::discover();
    ask.option(option::MAX_MESSAGE_SIZE, &1500u16.to_be_bytes());
    let bytes = emit(&ask, reply);
    assert_eq!(
        options(&bytes).get(option::DOMAIN_SEARCH),
        Some(&[7; 600][..])
    );
    assert!(bytes.len() <= 1472);
}

#[test]
fn what_a_client_says_of_its_room_is_bounded_by_the_minimum_and_the_mtu() {
    for size in [0u16, 1, 27, 28, 576, u16::MAX] {
        let mut reply = reply();
        reply.put(option::DOMAIN_SEARCH, &[7; 250]);
        let mut ask = Ask::discover();
        ask.option(option::MAX_MESSAGE_SIZE, &size.to_be_bytes());
        let bytes = emit(&ask, reply);
        assert_eq!(
            options(&bytes).get(option::DOMAIN_SEARCH).unwrap().len(),
            250,
            "{size}"
        );
        assert!(bytes.len() <= 1472);
    }
}

#[test]
fn the_relays_own_option_comes_back_at_the_end() {
    let mut ask = Ask::discover();
    ask.option(option::RELAY_AGENT, &[1, 2, 3, 4]);
    let bytes = emit(&ask, reply());
    let end = bytes
        .iter()
        .rposition(|octet| *octet == option::END)
        .unwrap();
    assert_eq!(bytes[end - 6..end], [option::RELAY_AGENT, 4, 1, 2, 3, 4]);
}
