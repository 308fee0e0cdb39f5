//! File descriptors with messages (vhost-user.rst, "Ancillary data").
use super::{
    Witnesses,
    raw::{
        ADD_MEM_REG, GET_FEATURES, Raw, SET_DEVICE_STATE_FD, SET_INFLIGHT_FD, SET_LOG_BASE,
        SET_MEM_TABLE, SET_VRING_CALL, SET_VRING_ERR, SET_VRING_KICK, SET_VRING_NUM, vring, words,
    },
};
use std::{
    fs::File,
    io::Read,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

/// A pipe whose reader comes to its end when every copy of the other end is closed.
struct Canary {
    read: File,
    write: Option<OwnedFd>,
}

impl Canary {
    fn new() -> Self {
        let (read, write) = nix::unistd::pipe().unwrap();
        Self {
            read: read.into(),
            write: Some(write),
        }
    }

    fn fds(&self, count: usize) -> Vec<RawFd> {
        vec![self.write.as_ref().unwrap().as_raw_fd(); count]
    }

    /// Waits until nobody has it any more: for ever, if it leaked.
    fn expect_closed(mut self) {
        self.write = None;
        assert_eq!(self.read.read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn with_messages_that_take_none() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    for count in [1, 3, 8, 32] {
        for (request, payload) in [(GET_FEATURES, vec![]), (SET_VRING_NUM, vring(0, 256))] {
            let canary = Canary::new();
            let mut raw = Raw::negotiate(&path);
            raw.send(request, &payload, &canary.fds(count));
            canary.expect_closed();
        }
    }
    witnesses.go_on();
}

#[test]
fn more_than_a_message_takes() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    for count in [2, 8, 9, 64, 253] {
        for request in [SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR] {
            let canary = Canary::new();
            let mut raw = Raw::negotiate(&path);
            raw.send(request, &words(&[0]), &canary.fds(count));
            raw.expect_end();
            canary.expect_closed();
        }
        // One region, and another number of files.
        let canary = Canary::new();
        let mut raw = Raw::negotiate(&path);
        let table = [words(&[1]), words(&[0, 4096, 0, 0])].concat();
        raw.send(SET_MEM_TABLE, &table, &canary.fds(count));
        raw.expect_end();
        canary.expect_closed();
    }
    witnesses.go_on();
}

#[test]
fn missing() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let messages = [
        (
            SET_MEM_TABLE,
            [words(&[1]), words(&[0, 4096, 0, 0])].concat(),
        ),
        (ADD_MEM_REG, words(&[0, 0, 4096, 0, 0])),
        (SET_LOG_BASE, words(&[4096, 0])),
        (SET_INFLIGHT_FD, words(&[1 << 20, 0, 2 | 64 << 16])),
        (SET_VRING_KICK, words(&[0])),
    ];
    for (request, payload) in messages {
        let mut raw = Raw::negotiate(&path);
        raw.send(request, &payload, &[]);
        raw.expect_end();
    }
    witnesses.go_on();
}

/// Kept as long as the connection, and no longer.
#[test]
fn that_are_taken_are_closed_at_the_end() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let canaries = [(); 3].map(|()| Canary::new());
    let mut raw = Raw::negotiate(&path);
    for (canary, request) in canaries
        .iter()
        .zip([SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR])
    {
        for _ in 0..100 {
            assert_eq!(raw.tell(request, &words(&[0]), &canary.fds(1)), Some(0));
        }
    }
    drop(raw);
    canaries.into_iter().for_each(Canary::expect_closed);
    witnesses.go_on();
}

#[test]
fn device_state_is_not_offered() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let canary = Canary::new();
    let mut raw = Raw::negotiate(&path);
    raw.send(SET_DEVICE_STATE_FD, &words(&[0]), &canary.fds(1));
    assert_ne!(raw.reply(), Some(0));
    canary.expect_closed();
    witnesses.go_on();
}
