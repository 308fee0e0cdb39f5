//! Counters per queue tell what happened, where, and why.
use super::{
    BROADCAST, Net, frame,
    guest::{ALL, GuestSpec, wait_for},
    introduce, mac,
};
use control::{Direction, PortState, QueueCounters};
use vhost::VhostBackend;
use virtqueue::NetHeader;

/// Counters of one queue of a port.
#[track_caller]
fn queue(net: &Net, port: &str, pair: u16, direction: Direction) -> QueueCounters {
    let (_, queues) = net.network.show(port).unwrap();
    let mut queues = queues.into_iter();
    let found = queues.find(|queue| (queue.queue_pair, queue.direction) == (pair, direction));
    found.map_or_else(QueueCounters::default, |queue| queue.counters)
}

fn drops(counters: &QueueCounters) -> Vec<(&str, u64)> {
    let drops = counters.drops.iter();
    drops
        .map(|(reason, count)| (reason.as_str(), *count))
        .collect()
}

#[test]
fn frames_are_counted_at_both_ends_by_size_and_kind() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let before = [
        queue(&net, "a", 0, Direction::Tx),
        queue(&net, "b", 0, Direction::Rx),
    ];
    let group = [0x01, 0, 0x5e, 0, 0, 1];
    for (to, len) in [
        (mac(1), 60),
        (mac(1), 64),
        (mac(1), 65),
        (mac(1), 1500),
        (mac(1), 1900),
        (group, 200),
        (BROADCAST, 300),
    ] {
        a.guest.send(&frame(to, mac(0), len, 1));
        assert_eq!(b.guest.receive().frame.len(), len);
    }
    let ends = [("a", Direction::Tx), ("b", Direction::Rx)];
    for ((port, direction), before) in ends.into_iter().zip(before) {
        // The receiver sees a frame before it is counted.
        wait_for("the counters", || {
            queue(&net, port, 0, direction).frames == before.frames + 7
        });
        let after = queue(&net, port, 0, direction);
        assert_eq!(
            after.bytes - before.bytes,
            60 + 64 + 65 + 1500 + 1900 + 200 + 300
        );
        let sizes = (after.sizes, before.sizes);
        let grown = [
            sizes.0.undersize - sizes.1.undersize,
            sizes.0.size_64,
            sizes.0.size_65_127,
            sizes.0.size_128_255,
            sizes.0.size_256_511,
            sizes.0.size_512_1023,
            sizes.0.size_1024_1518,
            sizes.0.size_1519_and_more,
        ];
        assert_eq!(grown, [1, 1, 1, 1, 1, 0, 1, 1], "{port}");
        assert_eq!(after.multicast - before.multicast, 1);
        assert_eq!(after.broadcast - before.broadcast, 1);
        assert_eq!(after.dropped, 0);
    }
}

#[test]
fn queues_are_told_apart_and_their_sums_are_the_ports() {
    let net = Net::new();
    let several = GuestSpec {
        pairs: 3,
        ..GuestSpec::default()
    };
    let mut a = net.guest("a", several);
    let mut b = net.guest("b", GuestSpec::default());
    let sent = (NetHeader::default(), frame(mac(1), mac(0), 100, 1));
    for pair in [1, 2, 2] {
        a.guest.send_on(pair, std::slice::from_ref(&sent));
        b.guest.receive();
    }
    wait_for("the counters", || {
        queue(&net, "a", 2, Direction::Tx).frames == 2
    });
    assert_eq!(queue(&net, "a", 1, Direction::Tx).frames, 1);
    let port = net.status("a").counters;
    assert_eq!(port.tx_frames, 3);
    // Queues that were never used are not told.
    let (_, queues) = net.network.show("b").unwrap();
    assert_eq!(queues.len(), 2);
    assert_eq!(net.network.show("c"), None);
}

#[test]
fn drops_are_told_with_their_reason() {
    let net = Net::new();
    let small = GuestSpec {
        queue_size: 16,
        ..GuestSpec::default()
    };
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", small);
    introduce(&mut [&mut a.guest, &mut b.guest]);
    for seed in 0..20 {
        a.guest.send(&frame(mac(1), mac(0), 100, seed));
    }
    let dropped = || queue(&net, "b", 0, Direction::Rx);
    wait_for("the drops", || dropped().dropped == 4);
    assert_eq!(drops(&dropped()), [("no_room", 4)]);
    // The switch's reasons are told at the queue that the frame came from.
    a.guest.send(&frame(mac(0), mac(0), 100, 0));
    a.guest.send(&frame(mac(1), [1, 0, 0, 0, 0, 1], 100, 0));
    a.guest.send(&[0; 5]);
    let dropped = || queue(&net, "a", 0, Direction::Tx);
    wait_for("the drops", || dropped().dropped == 3);
    assert_eq!(
        drops(&dropped()),
        [("bad_source", 1), ("malformed", 1), ("same_port", 1)]
    );
    // Nobody takes frames for a ring that has been stopped.
    let _base = b.frontend.get_vring_base(0).unwrap();
    a.guest.send(&frame(mac(1), mac(0), 100, 0));
    let dropped = || queue(&net, "b", 0, Direction::Rx);
    wait_for("the drop", || dropped().dropped == 5);
    assert_eq!(drops(&dropped()), [("no_queue", 1), ("no_room", 4)]);
    assert_eq!(net.status("b").counters.rx_dropped, 5);
}

#[test]
fn notifications_are_counted_sent_or_suppressed() {
    // Without EVENT_IDX the driver says yes or no, nothing in between.
    let plain = GuestSpec {
        features: ALL & !super::guest::EVENT_IDX,
        ..GuestSpec::default()
    };
    let net = Net::named("quiet", std::time::Duration::ZERO);
    let mut a = net.guest("a", plain);
    let mut b = net.guest("b", plain);
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let received = || queue(&net, "b", 0, Direction::Rx);
    let before = received();
    let send = |a: &mut super::guest::Guest, b: &mut super::guest::Guest| {
        for seed in 0..10 {
            a.send(&frame(mac(1), mac(0), 100, seed));
            b.receive();
        }
    };
    send(&mut a.guest, &mut b.guest);
    wait_for("calls", || received().frames == before.frames + 10);
    let called = received();
    assert!(called.calls > before.calls);
    assert_eq!(called.calls_suppressed, before.calls_suppressed);
    b.guest.rings[0].queue.suppress_calls();
    send(&mut a.guest, &mut b.guest);
    wait_for("no calls", || received().frames == before.frames + 20);
    assert_eq!(received().calls, called.calls);
    assert!(received().calls_suppressed > called.calls_suppressed);
    // An idle ring asks for kicks, and each frame then comes with one.
    let kicks = || queue(&net, "a", 0, Direction::Tx).kicks;
    let before = kicks();
    wait_for("kicks", || {
        a.guest.send(&frame(mac(1), mac(0), 100, 0));
        b.guest.receive();
        kicks() > before + 3
    });
}

#[test]
fn latched_queue_is_told_until_it_is_set_up_again() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let desc = a.guest.rings[1].config.desc;
    let nowhere = 1u64.to_le_bytes();
    a.guest.send(&frame(mac(1), mac(0), 100, 0));
    wait_for("the frame", || {
        queue(&net, "a", 0, Direction::Tx).frames == 1
    });
    for index in 0..256 {
        assert!(a.guest.memory.map.write(desc + index * 16, &nowhere));
    }
    let config = a.guest.rings[1].config;
    // More than there can be.
    assert!(
        a.guest
            .memory
            .map
            .write(config.avail + 2, &5000u16.to_le_bytes())
    );
    a.guest.rings[1].kick.write(1).unwrap();
    net.wait_for_status("a", "the fault", |a| a.state == PortState::Faulty);
    let status = net.status("a");
    assert_eq!((status.faulty_queues, status.counters.faults), (1, 1));
    let faults = queue(&net, "a", 0, Direction::Tx).faults;
    assert_eq!(faults, 1);
    drop(a);
    net.wait_for_status("a", "the end of it", |a| a.state == PortState::Listening);
    let status = net.status("a");
    assert_eq!((status.faulty_queues, status.fault), (0, None));
    // What it was is kept.
    assert!(status.last_fault.is_some());
}
