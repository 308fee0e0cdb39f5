//! Messages when they do not fit, and messages that are none.
use super::{
    Witnesses,
    raw::{GET_FEATURES, NEED_REPLY, Raw, SET_VRING_NUM, VERSION, message, vring, words},
};

/// Beyond the last request that there is.
const REQUESTS: std::ops::Range<u32> = 0..64;

/// Whatever comes first, and whether it is answered, ignored or ends the connection: the next front-end is served.
#[test]
fn any_message_first() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    for request in REQUESTS {
        for payload in [&[][..], &[0; 8], &[0xff; 8], &[0; 40]] {
            let mut raw = Raw::connect(&path);
            raw.send(request, payload, &[]);
        }
    }
    assert!(Raw::connect(&path).ask(GET_FEATURES).is_some());
    witnesses.go_on();
}

#[test]
fn any_message_of_any_size() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    for request in REQUESTS {
        for size in [1, 7, 9, 12, 16, 20, 39, 41, 48, 264, 4096] {
            let mut raw = Raw::negotiate(&path);
            raw.send(request, &vec![0x5a; size], &[]);
        }
    }
    // Announced, not sent.
    for size in [4097u32, 1 << 16, u32::MAX] {
        let mut raw = Raw::connect(&path);
        let mut bytes = message(GET_FEATURES, VERSION, &[]);
        bytes[8..].copy_from_slice(&size.to_ne_bytes());
        raw.write(&bytes);
        raw.expect_end();
    }
    assert!(Raw::connect(&path).ask(GET_FEATURES).is_some());
    witnesses.go_on();
}

#[test]
fn flags_that_cannot_be() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    // No version, others, a reply.
    for flags in [0, 2, 3, VERSION | 1 << 2] {
        let mut raw = Raw::connect(&path);
        raw.write(&message(GET_FEATURES, flags, &[]));
        raw.expect_end();
    }
    witnesses.go_on();
}

/// The flag means nothing then (vhost-user.rst, "VHOST_USER_PROTOCOL_F_REPLY_ACK").
#[test]
fn reply_that_was_not_negotiated() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let mut raw = Raw::connect(&path);
    raw.write(&message(
        SET_VRING_NUM,
        VERSION | NEED_REPLY,
        &vring(0, 128),
    ));
    // The first reply is that to the question.
    let features = raw.ask(GET_FEATURES).unwrap();
    assert_ne!(features, 0);
    assert_eq!(raw.ask(GET_FEATURES), Some(features));
    witnesses.go_on();
}

#[test]
fn noise() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let mut state = 1u64;
    for _ in 0..200 {
        let noise: Vec<u64> = (0..64)
            .map(|_| {
                // xorshift64
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            })
            .collect();
        let mut raw = Raw::connect(&path);
        raw.write(&words(&noise));
    }
    assert!(Raw::connect(&path).ask(GET_FEATURES).is_some());
    witnesses.go_on();
}
