//! Messages that crate `vhost` does not know, by the byte; and RESET_DEVICE.
use super::{
    BROADCAST, Net, frame,
    guest::{Connected, Guest, GuestSpec, wait_for},
    introduce, mac, port_spec,
    raw::{self, NET_SET_MTU, Raw, SEND_RARP},
};
use crate::network::{PortSpec, PortTransport};
use control::{PortPolicy, PortState};
use std::{os::unix::net::UnixListener, path::PathBuf};
use vhost::vhost_user::VhostUserFrontend;

fn address(mac: [u8; 6]) -> [u8; 8] {
    let mut payload = [0; 8];
    payload[..6].copy_from_slice(&mac);
    payload
}

#[test]
fn send_rarp_tells_the_others_where_a_guest_is_now() {
    let net = Net::new();
    let (mut old, _old_stream) = raw::attached(&net, "old");
    let (mut new, mut stream) = raw::attached(&net, "new");
    let mut peer = net.guest("peer", GuestSpec::default());
    introduce(&mut [&mut old.guest, &mut new.guest, &mut peer.guest]);
    // What came as the guest that is at `old`, comes now as the one at `new`.
    assert_eq!(stream.tell(SEND_RARP, &address(mac(0)), &[]), Some(0));
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

impl Net {
    /// A port with these VLANs, tagged.
    fn trunk(&self, name: &str, trunk: &[[u16; 2]]) -> PathBuf {
        let path = self.socket(name);
        let spec = PortSpec {
            policy: PortPolicy {
                trunk: trunk.to_vec(),
                ..PortPolicy::default()
            },
            ..port_spec(name, 1)
        };
        let transport = PortTransport::VhostUser(UnixListener::bind(&path).unwrap());
        self.network.add_port(spec, transport).unwrap();
        path
    }
}

/// The frame with a tag of this VLAN.
fn tagged(mut frame: Vec<u8>, vlan: u16) -> Vec<u8> {
    let [high, low] = vlan.to_be_bytes();
    frame.splice(12..12, [0x81, 0, high, low]);
    frame
}

#[test]
fn send_rarp_of_a_trunk_is_heard_in_all_its_vlans() {
    let net = Net::new();
    let (mut new, mut stream) = raw::attach(&net.trunk("new", &[[20, 20], [30, 30]]));
    let mut peer = Guest::new(GuestSpec::default()).connect(&net.trunk("peer", &[[10, 40]]));
    assert_eq!(stream.tell(SEND_RARP, &address(mac(0)), &[]), Some(0));
    for vlan in [20, 30] {
        let announced = peer.guest.receive().frame;
        assert_eq!(announced.len(), 64);
        assert_eq!(announced[6..12], mac(0));
        assert_eq!(announced[12..18], [0x81, 0, 0, vlan, 0x80, 0x35]);
        let sent = tagged(frame(mac(0), mac(1), 100, vlan), vlan.into());
        peer.guest.send(&sent);
        assert_eq!(new.guest.receive().frame, sent, "its frames follow it");
    }
    assert_eq!(net.drops("new", "vlan"), 0);
}

#[test]
fn send_rarp_of_a_large_trunk_begins_where_the_address_was_met() {
    let net = Net::new();
    let (mut new, mut stream) = raw::attach(&net.trunk("new", &[[1, 4094]]));
    let mut peer = Guest::new(GuestSpec::default()).connect(&net.trunk("peer", &[[4000, 4000]]));
    let met = tagged(frame(mac(1), mac(0), 100, 1), 4000);
    new.guest.send(&met);
    assert_eq!(peer.guest.receive().frame, met);
    assert_eq!(stream.tell(SEND_RARP, &address(mac(0)), &[]), Some(0));
    assert_eq!(peer.guest.receive().frame[16..18], [0x80, 0x35]);
}

#[test]
fn send_rarp_for_a_group_ends_the_connection() {
    let net = Net::new();
    let (_guest, mut stream) = raw::attached(&net, "a");
    assert_ne!(stream.tell(SEND_RARP, &address(BROADCAST), &[]), Some(0));
    net.wait_for_status("a", "cut off", |a| a.state == PortState::Listening);
}

#[test]
fn any_mtu_that_there_can_be_is_acknowledged() {
    let net = Net::new();
    let (_guest, mut stream) = raw::attached(&net, "a");
    for mtu in [68u64, 1500, 9000, 65_535] {
        assert_eq!(stream.tell(NET_SET_MTU, &mtu.to_ne_bytes(), &[]), Some(0));
    }
    assert_ne!(stream.tell(NET_SET_MTU, &67u64.to_ne_bytes(), &[]), Some(0));
}

#[test]
fn messages_that_were_not_negotiated_are_refused() {
    let net = Net::new();
    let mut stream = Raw::connect(&net.port("a", 1));
    assert_eq!(stream.tell(SEND_RARP, &address(mac(0)), &[]), None);
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
