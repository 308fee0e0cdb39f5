//! VLANs of ports, through real rings: tags inserted and taken away, offloads kept.
use super::{
    BROADCAST, Net, frame,
    guest::{ALL, Connected, GUEST_CSUM, GUEST_TSO4, Guest, GuestSpec},
    mac,
    offloads::{gso, partial, tcp},
    port_spec,
};
use crate::network::{PortSpec, PortTransport};
use control::PortPolicy;
use std::os::unix::net::UnixListener;
use switch::MacAddr;
use virtqueue::{GsoType, NetHeader};

const TPID: [u8; 2] = [0x81, 0];
const PRIORITY: u16 = 5 << 13;

impl Net {
    /// Guest 0 on an access port of VLAN 10 and guest 1 on a trunk of VLANs 10 and 20.
    fn access_and_trunk(&self, trunk_features: u64) -> (Connected, Connected) {
        let access = PortPolicy {
            vlan: Some(10),
            ..PortPolicy::default()
        };
        let trunk = PortPolicy {
            trunk: vec![[10, 10], [20, 20]],
            ..PortPolicy::default()
        };
        let a = self.restricted("access", 0, access);
        let path = self.socket("trunk");
        let spec = PortSpec {
            mac: Some(MacAddr(mac(1))),
            policy: trunk,
            ..port_spec("trunk", 1)
        };
        let transport = PortTransport::VhostUser(UnixListener::bind(&path).unwrap());
        self.network.add_port(spec, transport).unwrap();
        let features = GuestSpec {
            features: trunk_features,
            ..GuestSpec::default()
        };
        (a, Guest::new(features).connect(&path))
    }
}

/// The frame with a tag.
fn tagged(mut frame: Vec<u8>, tci: u16) -> Vec<u8> {
    let [high, low] = tci.to_be_bytes();
    frame.splice(12..12, [TPID[0], TPID[1], high, low]);
    frame
}

/// The frame without its tag, which is of this VLAN.
fn untagged(mut frame: Vec<u8>, vlan: u8) -> Vec<u8> {
    assert_eq!(frame[12..16], [TPID[0], TPID[1], 0, vlan]);
    frame.drain(12..16);
    frame
}

#[test]
fn frames_of_every_length_get_their_tag_and_lose_it() {
    let net = Net::new();
    let (mut access, mut trunk) = net.access_and_trunk(ALL);
    // About 244 bytes the private start of a frame ends and the guest's memory begins.
    let lengths = (14..20).chain(60..66).chain(236..256).chain([1500, 1514]);
    for (seed, len) in (0u8..).zip(lengths) {
        let plain = frame(mac(1), mac(0), len, seed);
        access.guest.send(&plain);
        assert_eq!(trunk.guest.receive().frame, tagged(plain, 10), "{len}");
        let back = frame(mac(0), mac(1), len, seed);
        trunk.guest.send(&tagged(back.clone(), PRIORITY | 0xa));
        assert_eq!(access.guest.receive().frame, back, "{len}");
    }
}

#[test]
fn a_priority_outlives_the_way_to_a_trunk() {
    let net = Net::new();
    let (mut access, mut trunk) = net.access_and_trunk(ALL);
    let plain = frame(mac(1), mac(0), 300, 1);
    access.guest.send(&tagged(plain.clone(), PRIORITY));
    let received = trunk.guest.receive().frame;
    assert_eq!(received, tagged(plain, PRIORITY + 10));
}

#[test]
fn frames_of_other_vlans_reach_nobody_and_are_counted() {
    let net = Net::new();
    let (mut access, mut trunk) = net.access_and_trunk(ALL);
    let mut bystander = net.guest("bystander", GuestSpec::default());
    for tci in [10, 20] {
        access
            .guest
            .send(&tagged(frame(BROADCAST, mac(0), 60, 0), tci));
    }
    trunk.guest.send(&frame(mac(0), mac(1), 60, 1));
    trunk.guest.send(&tagged(frame(mac(0), mac(1), 60, 2), 20));
    bystander.guest.send(&frame(mac(0), mac(2), 60, 3));
    bystander
        .guest
        .send(&tagged(frame(mac(0), mac(2), 60, 4), 10));
    super::guest::wait_for("all to be dropped", || {
        ["access", "trunk", "bystander"].map(|port| net.drops(port, "vlan")) == [2, 2, 2]
    });
    let last = frame(mac(0), mac(1), 60, 9);
    trunk.guest.send(&tagged(last.clone(), 10));
    assert_eq!(access.guest.receive().frame, last, "nothing came before");
}

#[test]
fn offloads_move_with_the_tag() {
    let net = Net::new();
    let (mut access, mut trunk) = net.access_and_trunk(ALL);
    for payload in [10, 20_000, 65_000] {
        let (header, plain) = if payload == 10 {
            partial(tcp(payload))
        } else {
            gso(payload)
        };
        let moved = NetHeader {
            csum_start: header.csum_start + 4,
            hdr_len: header.hdr_len + if payload == 10 { 0 } else { 4 },
            ..header
        };
        access.guest.send_with(header, &plain);
        let received = trunk.guest.receive();
        assert!(received.frame == tagged(plain.clone(), 10), "{payload}");
        assert!(received.header.needs_csum);
        assert_eq!(received.header.csum_start, moved.csum_start);
        assert_eq!(received.header.hdr_len, moved.hdr_len);
        assert_eq!(received.header.gso_size, header.gso_size);

        let back = reversed(plain);
        trunk.guest.send_with(moved, &tagged(back.clone(), 10));
        let received = access.guest.receive();
        assert!(received.frame == back, "{payload}");
        assert_eq!(received.header.csum_start, header.csum_start);
        assert_eq!(received.header.hdr_len, header.hdr_len);
        assert_eq!(received.header.gso, header.gso);
    }
    for port in ["access", "trunk"] {
        assert_eq!(net.status(port).counters.software_offloads, 0);
    }
}

/// The frame from guest 1 to guest 0.
fn reversed(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac(0));
    frame[6..12].copy_from_slice(&mac(1));
    frame
}

#[test]
fn segments_and_checksums_of_software_are_right_behind_a_new_tag() {
    // What the same guests exchange without VLANs is the measure.
    let plain = received_in_software(&Net::new(), false);
    let behind_tag = received_in_software(&Net::new(), true);
    assert_eq!(plain.len(), 1 + 20_000usize.div_ceil(1448));
    let stripped: Vec<_> = behind_tag
        .into_iter()
        .map(|frame| untagged(frame, 10))
        .collect();
    assert!(stripped == plain);
}

/// What a guest without offloads receives of a frame with a partial checksum and of a GSO frame.
fn received_in_software(net: &Net, vlans: bool) -> Vec<Vec<u8>> {
    let features = ALL & !(GUEST_CSUM | GUEST_TSO4);
    let (mut from, mut to) = if vlans {
        net.access_and_trunk(features)
    } else {
        let from = net.restricted("a", 0, PortPolicy::default());
        let spec = GuestSpec {
            features,
            ..GuestSpec::default()
        };
        let mut to = net.guest("b", spec);
        to.guest.send(&frame(mac(9), mac(1), 60, 0));
        (from, to)
    };
    let mut frames = Vec::new();
    for (header, frame) in [partial(tcp(100)), gso(20_000)] {
        from.guest.send_with(header, &frame);
        let expected = if header.gso == GsoType::None {
            1
        } else {
            20_000usize.div_ceil(1448)
        };
        for _ in 0..expected {
            frames.push(to.guest.receive().frame);
        }
    }
    frames
}
