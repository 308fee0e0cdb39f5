use super::*;

const GATEWAY: MacAddr = MacAddr([0x52, 0x55, 10, 0, 2, 2]);
const GUEST: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

fn responder() -> Responder {
    Responder::new(GATEWAY, vec![[10, 0, 2, 2].into(), [10, 0, 2, 3].into()])
}

fn request(sender: [u8; 4], target: [u8; 4]) -> Arp {
    Arp {
        operation: ArpOperation::Request,
        sender_mac: GUEST,
        sender: sender.into(),
        target: target.into(),
    }
}

#[test]
fn both_addresses_of_the_gateway_are_answered_for() {
    let reply = responder().answer(&request([10, 0, 2, 15], [10, 0, 2, 3]));
    let expected = [
        0, 1, 8, 0, 6, 4, 0, 2, // Ethernet, IPv4, reply
        0x52, 0x55, 10, 0, 2, 2, 10, 0, 2, 3, // the sender is asked for
        0x52, 0x54, 0, 0, 0, 1, 10, 0, 2, 15, // who asked
    ];
    assert_eq!(reply, Some(expected));
    assert!(
        responder()
            .answer(&request([10, 0, 2, 15], [10, 0, 2, 2]))
            .is_some()
    );
}

#[test]
fn a_probe_for_an_address_of_ours_is_answered() {
    assert!(
        responder()
            .answer(&request([0; 4], [10, 0, 2, 2]))
            .is_some()
    );
}

#[test]
fn nobody_else_is_answered_for_and_announcements_and_replies_are_not_answered() {
    let responder = responder();
    assert_eq!(
        responder.answer(&request([10, 0, 2, 15], [10, 0, 2, 16])),
        None
    );
    assert_eq!(
        responder.answer(&request([10, 0, 2, 2], [10, 0, 2, 2])),
        None
    );
    let reply = Arp {
        operation: ArpOperation::Reply,
        ..request([10, 0, 2, 15], [10, 0, 2, 2])
    };
    assert_eq!(responder.answer(&reply), None);
}
