//! Orders of messages that front-ends are known to use, and wrong ones.
use super::{
    Net, frame,
    guest::{
        ALL, Connected, Guest, GuestSpec, PROTOCOL_FEATURES, VERSION_1, connect, connect_stream,
    },
    introduce, mac,
    raw::{message, vring},
};
use control::PortState;
use std::{
    io::{Read, Write},
    time::Duration,
};
use vhost::{
    VhostBackend,
    vhost_user::{
        Frontend, VhostUserFrontend, VhostUserProtocolFeatures, message::VhostUserHeaderFlag,
    },
};

/// Frames flow between `connected` on port `a` and another guest.
#[track_caller]
fn carries_frames(net: &Net, connected: &mut Connected) {
    // Its reply says that the messages before it are done.
    connected.frontend.get_features().unwrap();
    let mut other = net.guest("other", GuestSpec::default());
    introduce(&mut [&mut connected.guest, &mut other.guest]);
    let there = frame(mac(1), mac(0), 500, 1);
    connected.guest.send(&there);
    assert_eq!(other.guest.receive().frame, there);
}

#[test]
fn rings_before_features() {
    let net = Net::new();
    let path = net.port("a", 1);
    let guest = Guest::new(GuestSpec::default());
    let mut frontend = connect(&path, 2);
    frontend.set_owner().unwrap();
    frontend.get_features().unwrap();
    let protocol = frontend.get_protocol_features().unwrap();
    frontend.set_protocol_features(protocol).unwrap();
    // As DPDK's virtio-user does.
    for index in 0..2 {
        frontend
            .set_vring_call(index, &guest.rings[index].call)
            .unwrap();
    }
    for index in 0..2 {
        let ring = &guest.rings[index];
        frontend.set_vring_num(index, ring.config.size).unwrap();
        frontend.set_vring_base(index, 0).unwrap();
        frontend.set_vring_kick(index, &ring.kick).unwrap();
    }
    frontend.set_mem_table(&[guest.memory.region()]).unwrap();
    for index in 0..2 {
        let vring = guest.rings[index].vring();
        frontend.set_vring_addr(index, &vring).unwrap();
    }
    frontend.set_features(guest.spec.features).unwrap();
    for index in 0..2 {
        frontend.set_vring_enable(index, true).unwrap();
    }
    carries_frames(&net, &mut Connected { guest, frontend });
}

#[test]
fn enable_before_features_as_qemu_does() {
    for need_reply in [false, true] {
        let net = Net::new();
        let path = net.port("a", 1);
        let mut stream = connect_stream(&path);
        let mut frontend = Frontend::from_stream(stream.try_clone().unwrap(), 2);
        frontend.set_owner().unwrap();
        frontend.get_features().unwrap();
        let protocol = frontend.get_protocol_features().unwrap();
        frontend.set_protocol_features(protocol).unwrap();
        for index in 0..2 {
            let flags = if need_reply { 0x9 } else { 0x1 };
            stream
                .write_all(&message(18, flags, &vring(index, 1)))
                .unwrap();
            if need_reply {
                let mut reply = [0; 20];
                stream.read_exact(&mut reply).unwrap();
                assert_eq!(reply[..], message(18, 0x5, &[0; 8]));
            }
        }
        // Without a reply, the next message shows that the connection lives.
        let guest = Guest::new(GuestSpec::default());
        frontend.set_features(guest.spec.features).unwrap();
        frontend.set_mem_table(&[guest.memory.region()]).unwrap();
        for index in 0..2 {
            let ring = &guest.rings[index];
            frontend.set_vring_num(index, ring.config.size).unwrap();
            frontend.set_vring_base(index, 0).unwrap();
            frontend.set_vring_addr(index, &ring.vring()).unwrap();
            frontend.set_vring_kick(index, &ring.kick).unwrap();
            frontend.set_vring_call(index, &ring.call).unwrap();
        }
        carries_frames(&net, &mut Connected { guest, frontend });
    }
}

#[test]
fn rings_start_enabled_without_protocol_features() {
    let net = Net::new();
    let spec = GuestSpec {
        features: ALL & !PROTOCOL_FEATURES,
        ..GuestSpec::default()
    };
    let path = net.port("a", 1);
    let mut connected = Guest::new(spec).connect(&path);
    carries_frames(&net, &mut connected);
}

#[test]
fn rings_start_disabled_with_protocol_features() {
    let net = Net::new();
    let path = net.port("a", 1);
    let guest = Guest::new(GuestSpec::default());
    let frontend = connect(&path, 2);
    frontend.set_owner().unwrap();
    frontend.get_features().unwrap();
    frontend.set_features(guest.spec.features).unwrap();
    frontend.set_mem_table(&[guest.memory.region()]).unwrap();
    for index in 0..2 {
        let ring = &guest.rings[index];
        frontend.set_vring_num(index, ring.config.size).unwrap();
        frontend.set_vring_addr(index, &ring.vring()).unwrap();
        frontend.set_vring_kick(index, &ring.kick).unwrap();
    }
    // A message with a reply: all before it are done.
    frontend.get_features().unwrap();
    assert_eq!(net.status("a").state, PortState::Connected);
    assert_eq!(net.status("a").queue_pairs, 0);
}

#[test]
fn offered_features_and_queue_number() {
    let net = Net::new();
    let path = net.port("a", 4);
    let mut frontend = connect(&path, 8);
    frontend.set_owner().unwrap();
    let features = frontend.get_features().unwrap();
    let bits = [
        0, 1, 3, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 21, 22, 26, 27, 28, 29, 30, 32, 34, 35,
        40, 54, 55, 56, 63,
    ];
    assert_eq!(features, bits.iter().fold(0, |all, bit| all | 1u64 << bit));
    let protocol = frontend.get_protocol_features().unwrap();
    assert_eq!(
        protocol,
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::LOG_SHMFD
            | VhostUserProtocolFeatures::RARP
            | VhostUserProtocolFeatures::MTU
            | VhostUserProtocolFeatures::RESET_DEVICE
            | VhostUserProtocolFeatures::INFLIGHT_SHMFD
            | VhostUserProtocolFeatures::STATUS
    );
    frontend.set_protocol_features(protocol).unwrap();
    assert_eq!(frontend.get_queue_num().unwrap(), 8);
    assert_eq!(frontend.get_max_mem_slots().unwrap(), 509);
}

#[test]
fn report_names_state_and_features() {
    let net = Net::new();
    let path = net.port("a", 1);
    assert_eq!(net.status("a").state, PortState::Listening);
    let spec = GuestSpec {
        features: VERSION_1 | PROTOCOL_FEATURES,
        ..GuestSpec::default()
    };
    let connected = Guest::new(spec).connect(&path);
    let status = net.status("a");
    assert_eq!(status.state, PortState::Running);
    assert_eq!(status.features, ["protocol_features", "version_1"]);
    assert_eq!(status.queue_pairs, 1);
    drop(connected);
    net.wait_for_status("a", "listening again", |status| {
        status.state == PortState::Listening && status.features.is_empty()
    });
}

#[test]
fn refused_messages_end_the_connection_and_the_next_front_end_is_served() {
    let net = Net::new();
    let path = net.port("a", 1);
    let refused: [(&str, Vec<u8>); 9] = [
        (
            "unoffered features",
            message(2, 1, &(1u64 << 62).to_ne_bytes()),
        ),
        (
            "unoffered protocol features",
            message(16, 1, &(1u64 << 9).to_ne_bytes()),
        ),
        ("ring 2 of 2", message(8, 1, &vring(2, 256))),
        ("ring 65536", message(8, 1, &vring(65_536, 256))),
        ("ring size 0", message(8, 1, &vring(0, 0))),
        ("ring size 3", message(8, 1, &vring(0, 3))),
        ("ring size 65536", message(8, 1, &vring(0, 65_536))),
        ("unknown request", message(200, 1, &[])),
        ("message beyond all bounds", message(1, 1, &[0; 5000])),
    ];
    for (what, bytes) in refused {
        let mut stream = connect_stream(&path);
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        // The rest of a refused message may meet a closed socket.
        let _ = stream.write_all(&bytes);
        match stream.read(&mut [0; 1]) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("{what}: {other:?}"),
        }
    }
    let mut connected = Guest::new(GuestSpec::default()).connect(&path);
    carries_frames(&net, &mut connected);
}

#[test]
fn a_front_end_that_stops_in_a_header_is_cut_off_by_removal() {
    let net = Net::new();
    let path = net.port("a", 1);
    let mut stream = connect_stream(&path);
    stream.write_all(&[1u8, 0]).unwrap();
    net.wait_for_status("a", "connected", |a| a.state == PortState::Connected);
    assert!(net.network.remove_port("a").unwrap());
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn a_front_end_that_stops_in_a_body_is_cut_off() {
    let net = Net::new();
    let path = net.port("a", 1);
    let mut stream = connect_stream(&path);
    stream.write_all(&message(8, 1, &[0; 8])[..14]).unwrap();
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn second_front_end_waits_for_the_first_to_go() {
    let net = Net::new();
    let path = net.port("a", 1);
    let first = Guest::new(GuestSpec::default()).connect(&path);
    let second = connect(&path, 2);
    assert_eq!(net.status("a").state, PortState::Running);
    drop(first);
    second.set_owner().unwrap();
    let mut connected = Guest::new(GuestSpec::default()).attach(second);
    carries_frames(&net, &mut connected);
}

#[test]
fn refusals_are_reported_when_a_reply_is_wanted() {
    let net = Net::new();
    let path = net.port("a", 1);
    let mut frontend = connect(&path, 2);
    frontend.get_features().unwrap();
    let protocol = frontend.get_protocol_features().unwrap();
    frontend.set_protocol_features(protocol).unwrap();
    frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    frontend.set_vring_num(0, 256).unwrap();
    frontend.set_vring_num(0, 255).unwrap_err();
}
