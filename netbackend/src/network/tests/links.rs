//! Guests whose links follow an interface of the host.
use super::{
    Net, port_spec,
    raw::{GET_FEATURES, GET_PROTOCOL_FEATURES, Raw},
};
use crate::network::{Lower, PortTransport};
use std::{
    fs::File,
    io::Read,
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    time::Duration,
};

const SET_BACKEND_REQ_FD: u32 = 21;
const GET_CONFIG: u32 = 24;
/// VHOST_USER_PROTOCOL_F_BACKEND_REQ, VHOST_USER_PROTOCOL_F_CONFIG.
const OF_LINKS: u64 = 1 << 5 | 1 << 9;
/// A message of the back-end: CONFIG_CHANGE_MSG, version 1, no body.
const CHANGED: [u8; 12] = [2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

fn port(net: &Net, name: &str, link: bool) -> PathBuf {
    let path = net.socket(name);
    let transport = PortTransport::VhostUser(UnixListener::bind(&path).unwrap());
    let lower = Lower {
        link: Some(link),
        ..Lower::default()
    };
    let spec = port_spec(name, 2);
    net.network.add_port_above(spec, transport, lower).unwrap();
    path
}

/// A front-end with a channel.
fn listening(net: &Net, name: &str, link: bool) -> (Raw, UnixStream) {
    let mut raw = Raw::negotiate(&port(net, name, link));
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let told = raw.tell(SET_BACKEND_REQ_FD, &[], &[theirs.as_raw_fd()]);
    assert_eq!(told, Some(0));
    (raw, ours)
}

fn ask_config(raw: &mut Raw, offset: u32, size: u32) {
    let head = [offset, size, 0].map(u32::to_ne_bytes).concat();
    let payload = [head, vec![0; size as usize]].concat();
    raw.send(GET_CONFIG, &payload, &[]);
}

/// So many bytes of the configuration space.
fn config(raw: &mut Raw, offset: u32, size: u32) -> Vec<u8> {
    ask_config(raw, offset, size);
    let mut reply = vec![0; 24 + size as usize];
    raw.0.read_exact(&mut reply).unwrap();
    reply.split_off(24)
}

#[test]
fn front_ends_hear_that_their_link_has_changed() {
    let net = Net::new();
    let (mut raw, mut channel) = listening(&net, "a", false);
    assert_eq!(config(&mut raw, 6, 4), [0, 0, 2, 0]);
    for up in [true, false, true] {
        net.network.set_link(up);
        // No news.
        net.network.set_link(up);
        let mut heard = [0; 12];
        channel.read_exact(&mut heard).unwrap();
        assert_eq!(heard, CHANGED);
        assert_eq!(config(&mut raw, 6, 2), [up.into(), 0]);
    }
    channel.set_nonblocking(true).unwrap();
    assert!(channel.read(&mut [0]).is_err(), "more was said");
    // It goes with its front-end.
    drop(raw);
    channel.set_nonblocking(false).unwrap();
    assert_eq!(channel.read(&mut [0]).unwrap(), 0);
}

#[test]
fn only_ports_that_follow_something_offer_it() {
    let net = Net::new();
    for (path, offered) in [(net.port("a", 1), 0), (port(&net, "b", true), OF_LINKS)] {
        let mut raw = Raw::connect(&path);
        raw.ask(GET_FEATURES).unwrap();
        let protocol = raw.ask(GET_PROTOCOL_FEATURES).unwrap();
        assert_eq!(protocol & OF_LINKS, offered);
    }
}

#[test]
fn channels_that_nobody_reads_or_that_are_none_hold_up_nobody() {
    let net = Net::new();
    let (mut deaf, _unread) = listening(&net, "deaf", true);
    let mut odd = Raw::negotiate(&port(&net, "odd", true));
    let null = File::options().write(true).open("/dev/null").unwrap();
    let told = odd.tell(SET_BACKEND_REQ_FD, &[], &[null.as_raw_fd()]);
    assert_eq!(told, Some(0));
    // More than a socket's buffer takes.
    for change in 1..100_000 {
        net.network.set_link(change % 2 == 0);
    }
    for raw in [&mut deaf, &mut odd] {
        assert_eq!(config(raw, 6, 2), [0, 0]);
    }
}

#[test]
fn channels_without_a_descriptor_or_with_several_are_refused() {
    let net = Net::new();
    let (one, other) = UnixStream::pair().unwrap();
    let fds = [one.as_raw_fd(), other.as_raw_fd()];
    let cases: [(&str, &[RawFd], &[u8]); 3] = [
        ("none", &[], &[]),
        ("two", &fds, &[]),
        ("body", &fds[..1], &[0; 8]),
    ];
    for (name, fds, payload) in cases {
        let mut raw = Raw::negotiate(&port(&net, name, true));
        raw.send(SET_BACKEND_REQ_FD, payload, fds);
        raw.expect_end_or_refusal();
    }
}

#[test]
fn configuration_space_ends_somewhere() {
    let net = Net::new();
    let mut raw = Raw::negotiate(&port(&net, "a", true));
    assert_eq!(config(&mut raw, 0, 256).len(), 256);
    for (offset, size) in [(0, 257), (255, 2), (256, 1)] {
        ask_config(&mut raw, offset, size);
        // Refused with an answer without content.
        let mut reply = [0; 24];
        raw.0.read_exact(&mut reply).unwrap();
        assert_eq!(reply[8..20], [12, offset, 0].map(u32::to_ne_bytes).concat());
    }
    for (offset, size) in [(u32::MAX, 1), (8, 4095)] {
        let mut raw = Raw::negotiate(&port(&net, &format!("p{size}"), true));
        ask_config(&mut raw, offset, size);
        raw.expect_end_or_refusal();
    }
}
