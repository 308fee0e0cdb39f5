//! Frames between vhost-user guests.
use super::{
    BROADCAST, Net, frame,
    guest::{ALL, Connected, GuestSpec, IN_ORDER, MRG_RXBUF, PLAIN, wait_for},
    introduce, mac,
};
use virtqueue::{DriverBuffer, NetHeader};

/// Two guests that know each other.
fn pair(net: &Net, spec: GuestSpec) -> (Connected, Connected) {
    let mut a = net.guest("a", spec);
    let mut b = net.guest("b", spec);
    introduce(&mut [&mut a.guest, &mut b.guest]);
    (a, b)
}

#[track_caller]
fn exchange(spec: GuestSpec, len: usize) {
    let net = Net::new();
    let (mut a, mut b) = pair(&net, spec);
    for seed in 0..20 {
        let there = frame(mac(1), mac(0), len, seed);
        a.guest.send(&there);
        assert!(b.guest.receive().frame == there, "a to b, {len} bytes");
        let back = frame(mac(0), mac(1), len, seed);
        b.guest.send(&back);
        assert!(a.guest.receive().frame == back, "b to a, {len} bytes");
    }
    let status = net.status("a");
    assert_eq!(status.counters.tx_frames, 21);
    assert_eq!(status.counters.rx_frames, 21);
    assert_eq!(status.counters.tx_bytes, 60 + 20 * len as u64);
    assert_eq!(status.mac.as_deref(), Some("52:54:00:00:00:00"));
    assert_eq!(status.counters.rx_dropped + status.counters.tx_dropped, 0);
}

#[test]
fn small_and_large_frames_both_ways() {
    for len in [60, 64, 1518, 1522] {
        exchange(GuestSpec::default(), len);
    }
}

#[test]
fn jumbo_frames_into_mergeable_buffers() {
    let net = Net::new();
    let (mut a, mut b) = pair(&net, GuestSpec::default());
    let jumbo = frame(mac(1), mac(0), 9014, 3);
    for _ in 0..100 {
        a.guest.send(&jumbo);
        let received = b.guest.receive();
        assert!(received.frame == jumbo);
        assert_eq!(received.header.num_buffers, 5);
    }
}

#[test]
fn without_any_optional_feature() {
    exchange(
        GuestSpec {
            features: PLAIN,
            ..GuestSpec::default()
        },
        1514,
    );
}

#[test]
fn legacy_driver_with_ten_byte_header() {
    exchange(
        GuestSpec {
            features: 0,
            ..GuestSpec::default()
        },
        1514,
    );
}

#[test]
fn frame_beyond_the_room_of_a_plain_buffer_is_dropped_and_the_next_arrives() {
    let net = Net::new();
    let spec = GuestSpec {
        features: ALL & !MRG_RXBUF,
        ..GuestSpec::default()
    };
    let (mut a, mut b) = pair(&net, spec);
    a.guest.send(&frame(mac(1), mac(0), 4000, 1));
    let small = frame(mac(1), mac(0), 100, 2);
    a.guest.send(&small);
    let received = b.guest.receive();
    assert_eq!(received.frame, small);
    assert_eq!(received.header.num_buffers, 1);
    assert_eq!(net.status("b").counters.rx_dropped, 1);
}

#[test]
fn bursts_stay_in_order_and_transmit_chains_complete_in_order() {
    let net = Net::new();
    let (mut a, mut b) = pair(&net, GuestSpec::default());
    a.guest.reap();
    let mut sequence = 0u32;
    for _ in 0..50 {
        let burst: Vec<_> = (0..32)
            .map(|index| {
                let mut bytes = frame(mac(1), mac(0), 64, 0);
                bytes[20..24].copy_from_slice(&(sequence + index).to_be_bytes());
                (NetHeader::default(), bytes)
            })
            .collect();
        a.guest.send_on(0, &burst);
        for index in 0..32 {
            let received = b.guest.receive();
            assert_eq!(received.frame[20..24], (sequence + index).to_be_bytes());
        }
        sequence += 32;
        let mut tokens = Vec::new();
        wait_for("transmit chains", || {
            tokens.extend(a.guest.reap());
            tokens.len() == 32
        });
        assert!(tokens.windows(2).all(|two| two[1] == (two[0] + 1) % 64));
    }
    assert_ne!(a.guest.spec.features & IN_ORDER, 0);
}

#[test]
fn flood_reaches_everybody_but_the_sender() {
    let net = Net::new();
    let mut guests: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| net.guest(name, GuestSpec::default()))
        .collect();
    for round in 0..10 {
        for sender in 0..guests.len() {
            let number = u8::try_from(sender).unwrap();
            let hello = frame(BROADCAST, mac(number), 200, round);
            guests[sender].guest.send(&hello);
            for (index, other) in guests.iter_mut().enumerate() {
                if index != sender {
                    assert_eq!(other.guest.receive().frame, hello);
                }
            }
        }
    }
    for other in &mut guests {
        assert_eq!(other.guest.poll(0), None);
    }
}

#[test]
fn mixed_burst_keeps_order_per_destination() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    let mut c = net.guest("c", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest, &mut c.guest]);
    let burst: Vec<_> = (0..30u8)
        .map(|index| {
            let to = [mac(1), BROADCAST, mac(2)][usize::from(index % 3)];
            let mut bytes = frame(to, mac(0), 80, 0);
            bytes[20] = index;
            (NetHeader::default(), bytes)
        })
        .collect();
    a.guest.send_on(0, &burst);
    for index in (0..30).filter(|index| index % 3 != 2) {
        assert_eq!(b.guest.receive().frame[20], index);
    }
    for index in (0..30).filter(|index| index % 3 != 0) {
        assert_eq!(c.guest.receive().frame[20], index);
    }
}

#[test]
fn full_receive_ring_drops_and_counts_and_recovers() {
    let net = Net::new();
    let spec = GuestSpec {
        queue_size: 16,
        ..GuestSpec::default()
    };
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", spec);
    introduce(&mut [&mut a.guest, &mut b.guest]);
    for seed in 0..40 {
        a.guest.send(&frame(mac(1), mac(0), 100, seed));
    }
    net.wait_for_status("b", "drops", |b| b.counters.rx_dropped == 24);
    for seed in 0..16 {
        assert_eq!(b.guest.receive().frame, frame(mac(1), mac(0), 100, seed));
    }
    let last = frame(mac(1), mac(0), 100, 200);
    a.guest.send(&last);
    assert_eq!(b.guest.receive().frame, last);
}

#[test]
fn flows_spread_over_queue_pairs_and_each_stays_on_one() {
    let net = Net::new();
    let spec = GuestSpec {
        pairs: 4,
        queue_size: 64,
        features: ALL | 1 << 22,
        ..GuestSpec::default()
    };
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", spec);
    net.wait_for_status("b", "four pairs", |b| b.queue_pairs == 4);
    for pair in 0..4u16 {
        b.guest.send_on(
            pair,
            &[(NetHeader::default(), frame(mac(0), mac(1), 60, 0))],
        );
        a.guest.receive();
    }
    let udp = |port: u16| {
        let builder = etherparse::PacketBuilder::ethernet2(mac(0), mac(1))
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(port, 9);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &port.to_be_bytes()).unwrap();
        bytes
    };
    let mut queues = std::collections::HashMap::new();
    for port in (0..64).chain(0..64) {
        a.guest.send(&udp(1000 + port));
        let mut found = None;
        wait_for("the frame on some queue", || {
            found = (0..4).find_map(|pair| b.guest.poll(pair).map(|got| (pair, got)));
            found.is_some()
        });
        let (queue, received) = found.unwrap();
        assert_eq!(received.frame, udp(1000 + port));
        assert_eq!(*queues.entry(port).or_insert(queue), queue, "flow {port}");
    }
    let used: std::collections::HashSet<_> = queues.values().collect();
    assert_eq!(used.len(), 4, "64 flows use all queues");
    // The same for frames of one burst.
    let burst: Vec<_> = (0..32)
        .map(|port| (NetHeader::default(), udp(1000 + port)))
        .collect();
    a.guest.send_on(0, &burst);
    for port in 0..32 {
        let mut received = None;
        wait_for("the frame on the queue of its flow", || {
            received = b.guest.poll(queues[&port]);
            received.is_some()
        });
        assert_eq!(received.unwrap().frame, udp(1000 + port));
    }
}

#[test]
fn disabled_transmit_ring_is_drained_and_disabled_receive_ring_is_not_used() {
    use vhost::vhost_user::VhostUserFrontend;
    let net = Net::new();
    let (mut a, mut b) = pair(&net, GuestSpec::default());
    a.guest.reap();
    a.frontend.set_vring_enable(1, false).unwrap();
    a.guest.send(&frame(mac(1), mac(0), 100, 1));
    let mut tokens = Vec::new();
    wait_for("the discarded chain", || {
        tokens.extend(a.guest.reap());
        tokens.len() == 1
    });
    assert_eq!(net.status("a").counters.tx_dropped, 1);
    a.frontend.set_vring_enable(1, true).unwrap();
    b.frontend.set_vring_enable(0, false).unwrap();
    a.guest.send(&frame(mac(1), mac(0), 100, 2));
    net.wait_for_status("b", "the drop", |b| b.counters.rx_dropped == 1);
    assert_eq!(b.guest.poll(0), None);
    b.frontend.set_vring_enable(0, true).unwrap();
    let last = frame(mac(1), mac(0), 100, 3);
    a.guest.send(&last);
    assert_eq!(b.guest.receive().frame, last);
}

#[test]
fn frames_through_indirect_tables_and_single_bytes() {
    let net = Net::new();
    let (mut a, mut b) = pair(&net, GuestSpec::default());
    let sent = frame(mac(1), mac(0), 300, 9);
    let at = super::guest::GUEST_BASE + (3 << 20);
    assert!(a.guest.memory.map.write(at, &NetHeader::default().encode()));
    assert!(a.guest.memory.map.write(at + 12, &sent));
    // Header and Ethernet header byte by byte, then the rest.
    let mut buffers: Vec<_> = (0..26)
        .map(|offset| DriverBuffer {
            addr: at + offset,
            len: 1,
            writable: false,
        })
        .collect();
    buffers.push(DriverBuffer {
        addr: at + 26,
        len: 286,
        writable: false,
    });
    let ring = &mut a.guest.rings[1];
    assert!(ring.queue.add_indirect(at + 4096, &buffers, 70));
    assert!(ring.queue.add(&buffers, 71));
    ring.publish_and_kick();
    assert_eq!(b.guest.receive().frame, sent);
    assert_eq!(b.guest.receive().frame, sent);
}

#[test]
fn driver_is_called_when_it_asks_for_it() {
    let net = Net::new();
    let (mut a, mut b) = pair(&net, GuestSpec::default());
    while b.guest.rings[0].call.read().is_ok() {}
    assert!(!b.guest.rings[0].queue.arm_calls());
    a.guest.send(&frame(mac(1), mac(0), 100, 1));
    wait_for("the call", || b.guest.rings[0].call.read().is_ok());
    b.guest.receive();
}
