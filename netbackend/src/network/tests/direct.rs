//! Messages that crate `vhost` does not know, by the byte; and RESET_DEVICE.
use super::{
    BROADCAST, Net, frame,
    guest::{Connected, Guest, GuestSpec, connect_stream, wait_for},
    introduce, mac,
};
use control::PortState;
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};

const SEND_RARP: u32 = 19;
const NET_SET_MTU: u32 = 20;
/// Version 1, and a reply is wanted.
const FLAGS: u32 = 1 | 1 << 3;

/// A guest on a new port, and its connection for messages by the byte.
fn guest(net: &Net, name: &str) -> (Connected, UnixStream) {
    let stream = connect_stream(&net.port(name, 1));
    let frontend = Frontend::from_stream(stream.try_clone().unwrap(), 2);
    (Guest::new(GuestSpec::default()).attach(frontend), stream)
}

/// Sends a message with 8 bytes; the answer, or `None` if the connection ends.
fn ask(stream: &mut UnixStream, request: u32, payload: [u8; 8]) -> Option<u64> {
    let words = [request, FLAGS, 8];
    let header: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    stream.write_all(&[&header[..], &payload].concat()).unwrap();
    let mut reply = [0; 20];
    stream.read_exact(&mut reply).ok()?;
    assert_eq!(reply[..4], request.to_ne_bytes());
    Some(u64::from_ne_bytes(*reply.last_chunk().unwrap()))
}

fn address(mac: [u8; 6]) -> [u8; 8] {
    let mut payload = [0; 8];
    payload[..6].copy_from_slice(&mac);
    payload
}

#[test]
fn send_rarp_tells_the_others_where_a_guest_is_now() {
    let net = Net::new();
    let (mut old, _old_stream) = guest(&net, "old");
    let (mut new, mut stream) = guest(&net, "new");
    let mut peer = net.guest("peer", GuestSpec::default());
    introduce(&mut [&mut old.guest, &mut new.guest, &mut peer.guest]);
    // What came as the guest that is at `old`, comes now as the one at `new`.
    assert_eq!(ask(&mut stream, SEND_RARP, address(mac(0))), Some(0));
    let announced = peer.guest.receive().frame;
    assert_eq!(announced.len(), 60);
    assert_eq!(announced[..6], BROADCAST);
    assert_eq!(announced[6..12], mac(0));
    assert_eq!(announced[12..22], [0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3]);
    assert_eq!(announced[22..28], mac(0));
    assert_eq!(announced[32..38], mac(0));
    let sent = frame(mac(0), mac(2), 100, 1);
    peer.guest.send(&sent);
    assert_eq!(new.guest.receive().frame, sent, "its frames follow it");
}

#[test]
fn send_rarp_for_a_group_ends_the_connection() {
    let net = Net::new();
    let (_guest, mut stream) = guest(&net, "a");
    assert_ne!(ask(&mut stream, SEND_RARP, address(BROADCAST)), Some(0));
    net.wait_for_status("a", "cut off", |a| a.state == PortState::Listening);
}

#[test]
fn any_mtu_that_there_can_be_is_acknowledged() {
    let net = Net::new();
    let (_guest, mut stream) = guest(&net, "a");
    for mtu in [68u64, 1500, 9000, 65_535] {
        assert_eq!(ask(&mut stream, NET_SET_MTU, mtu.to_ne_bytes()), Some(0));
    }
    assert_ne!(ask(&mut stream, NET_SET_MTU, 67u64.to_ne_bytes()), Some(0));
}

#[test]
fn messages_that_were_not_negotiated_are_refused() {
    let net = Net::new();
    let mut stream = connect_stream(&net.port("a", 1));
    let frontend = Frontend::from_stream(stream.try_clone().unwrap(), 2);
    drop(frontend);
    assert_eq!(ask(&mut stream, SEND_RARP, address(mac(0))), None);
}

#[test]
fn reset_device_stops_all_rings_and_the_device_can_start_again() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    a.frontend.reset_device().unwrap();
    assert_eq!(net.status("a").state, PortState::Connected);
    let dropped = net.status("a").counters.rx_dropped;
    b.guest.send(&frame(mac(0), mac(1), 100, 1));
    net.wait_for_status("a", "a drop", |a| a.counters.rx_dropped > dropped);
    assert_eq!(a.guest.poll(0), None);
    let Connected { frontend, .. } = a;
    let mut a = Guest::new(GuestSpec::default()).attach(frontend);
    let sent = frame(mac(0), mac(1), 100, 2);
    b.guest.send(&sent);
    wait_for("the frame", || {
        a.guest.poll(0).is_some_and(|r| r.frame == sent)
    });
}
