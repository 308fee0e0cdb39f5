//! Both sides of a gateway, scripted: a host whose sockets are queues, and a guest that speaks by the segment.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]
mod datagram;
mod host;
mod lab;
mod segment;

pub(crate) use datagram::{
    ERROR, GUEST_V6, REMOTE_V6, ToldError, arrive, fill_icmp_checksum, next_error, next_udp,
    too_big, udp, udp_from,
};
pub(crate) use host::{FakeHost, Sent, Socket};
pub(crate) use lab::{GATEWAY, GUEST, GUEST_MAC, Lab, READABLE, REMOTE, ip_frame};
pub(crate) use segment::{Tcp, ack, data, fin, rst, syn};
