use super::*;

const GATEWAY: MacAddr = MacAddr([0x52, 0x55, 10, 0, 2, 2]);
const GUEST: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

fn ours() -> Ipv6Addr {
    "fd00::2".parse().unwrap()
}

fn responder() -> Responder {
    Responder::new(GATEWAY, vec![ours()])
}

fn solicitation(target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let mut message = vec![kind::NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.put(&target.octets());
    message.put(options);
    message
}

fn from(source: &str, message: &[u8]) -> Option<Outgoing> {
    responder().answer(&Ndp {
        mac: GUEST,
        source: source.parse().unwrap(),
        destination: "ff02::1:ff00:2".parse().unwrap(),
        message,
    })
}

const LINK_LAYER: [u8; 8] = [1, 1, 0x52, 0x54, 0, 0, 0, 1];

#[test]
fn a_solicitation_is_answered_by_unicast() {
    let answer = from("fd00::15", &solicitation(ours(), &LINK_LAYER)).unwrap();
    assert_eq!(answer.mac, GUEST);
    assert_eq!(answer.source, ours());
    assert_eq!(answer.destination, "fd00::15".parse::<Ipv6Addr>().unwrap());
    // router, solicited, override; target; its link-layer address
    let mut expected = vec![136, 0, 0, 0, 0xe0, 0, 0, 0];
    expected.extend(ours().octets());
    expected.extend([2, 1, 0x52, 0x55, 10, 0, 2, 2]);
    assert_eq!(answer.message, expected);
}

#[test]
fn a_probe_for_a_duplicate_is_answered_to_all() {
    let answer = from("::", &solicitation(ours(), &[])).unwrap();
    assert_eq!(answer.destination, ALL_NODES);
    assert_eq!(answer.mac, MacAddr([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!(answer.message[4], 0xa0, "not solicited");
}

#[test]
fn others_are_not_answered_for() {
    assert_eq!(
        from("fd00::15", &solicitation("fd00::9".parse().unwrap(), &[])),
        None
    );
}

#[test]
fn a_probe_with_a_link_layer_address_is_invalid() {
    assert_eq!(from("::", &solicitation(ours(), &LINK_LAYER)), None);
}

#[test]
fn an_option_of_length_zero_is_refused() {
    assert_eq!(
        from("fd00::15", &solicitation(ours(), &[1, 0, 0, 0, 0, 0, 0, 0])),
        None
    );
}

#[test]
fn an_option_that_overruns_the_message_is_refused() {
    assert_eq!(
        from("fd00::15", &solicitation(ours(), &[1, 2, 0, 0, 0, 0, 0, 0])),
        None
    );
    assert_eq!(from("fd00::15", &solicitation(ours(), &[1])), None);
}

#[test]
fn truncated_messages_are_refused_at_every_length() {
    let message = solicitation(ours(), &LINK_LAYER);
    for len in (0..message.len()).filter(|len| *len != 24) {
        assert_eq!(from("fd00::15", &message[..len]), None, "{len} octets");
    }
}
