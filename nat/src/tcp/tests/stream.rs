//! Bytes both ways, and who waits for whom.
use crate::testkit::*;
use std::time::Duration;

/// Bytes in which a shift or a repetition shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| u8::try_from((n * 7 + n / 251) % 256).unwrap())
        .collect()
}

#[test]
fn one_acknowledgement_and_one_write_for_a_burst() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let bytes = pattern(3000);
    // Without a poll between: one burst.
    for (n, part) in bytes.chunks(1000).enumerate() {
        let seq = 1 + 1000 * u32::try_from(n).unwrap();
        let frame = lab.tcp_frame(GUEST, REMOTE, &data(seq, ours, part));
        lab.input_only(&frame);
    }
    lab.poll();
    lab.expect(&ack(ours, 3001));
    lab.expect_nothing();
    assert_eq!(lab.socket(0).writes, 1);
    assert!(lab.socket(0).outbox == bytes);
}

#[test]
fn a_large_frame_goes_to_the_socket_as_it_is() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let bytes = pattern(60_000);
    lab.tcp(&data(1, ours, &bytes));
    lab.expect(&ack(ours, 60_001));
    assert_eq!(lab.socket(0).writes, 1);
    assert!(lab.socket(0).outbox == bytes);
    assert_eq!(lab.gateway.flows(lab.now).next().unwrap().sent, 60_000);
}

#[test]
fn bytes_of_the_world_come_as_one_large_frame() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let bytes = pattern(14_600);
    lab.world(0, &bytes);
    lab.expect(&data(ours, 1, &bytes).gso(1460));
    lab.expect_nothing();
    lab.tcp(&ack(1, ours + 14_600));
    lab.expect_nothing();
    let status = lab.gateway.flows(lab.now).next().unwrap();
    assert_eq!((status.received, status.buffered), (14_600, 0));
}

#[test]
fn a_world_that_does_not_read_closes_the_window_and_opens_it_again() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.socket(0).room = 0;
    let mut at = 1;
    let mut window = 65_535;
    let mut sent = Vec::new();
    while window > 0 {
        let part = pattern(window.min(30_000));
        lab.tcp(&data(at, ours, &part));
        at += u32::try_from(part.len()).unwrap();
        sent.extend(part);
        let answer = lab.next_tcp().unwrap();
        assert_eq!(answer.ack, Some(at));
        window = usize::from(answer.window.unwrap()) << 7;
        assert!(sent.len() <= 200_000, "the window never closes");
    }
    // A probe of the closed window is answered, and takes no more than what the scale had rounded off.
    lab.tcp(&data(at, ours, &[7; 200]));
    let answer = lab.next_tcp().unwrap();
    let taken = answer.ack.unwrap() - at;
    assert!(taken < 128, "{taken} bytes were taken");
    assert_eq!(answer.window, Some(0));
    sent.extend(vec![7; usize::try_from(taken).unwrap()]);
    lab.socket(0).room = 100;
    lab.event(
        0,
        crate::Readiness {
            writable: true,
            ..Default::default()
        },
    );
    lab.expect_nothing();
    lab.socket(0).room = usize::MAX;
    lab.event(
        0,
        crate::Readiness {
            writable: true,
            ..Default::default()
        },
    );
    let answer = lab.next_tcp().unwrap();
    assert!(answer.window.unwrap() >= 512, "{answer:?}");
    assert!(lab.socket(0).outbox == sent);
}

#[test]
fn what_came_early_survives_a_world_that_takes_a_part_of_what_fills_the_gap() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let bytes = pattern(120_000);
    lab.tcp(&data(40_001, ours, &bytes[40_000..60_000]));
    lab.socket(0).room = 45_000;
    lab.tcp(&data(1, ours, &bytes[..50_000]));
    // Its ring has to grow for this.
    lab.tcp(&data(60_001, ours, &bytes[60_000..]));
    lab.socket(0).room = usize::MAX;
    lab.event(
        0,
        crate::Readiness {
            writable: true,
            ..Default::default()
        },
    );
    assert_eq!(lab.socket(0).outbox.len(), bytes.len());
    assert!(lab.socket(0).outbox == bytes);
}

#[test]
fn a_guest_that_does_not_read_stops_the_socket_from_being_read() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    let bytes = pattern(10_000_000);
    lab.world(0, &bytes);
    let mut got = Vec::new();
    while let Some(tcp) = lab.next_tcp() {
        got.extend(tcp.payload);
    }
    // What the window of the handshake's last ACK lets through, at most.
    assert!(!got.is_empty() && got.len() <= 65_535 << 7, "{}", got.len());
    let unread = lab.socket(0).inbox.len();
    assert!(
        unread > bytes.len() - (8 << 20),
        "{unread} bytes are unread"
    );
    // The window closes with what was taken.
    lab.tcp(&ack(1, ours + u32::try_from(got.len()).unwrap()).window(0));
    lab.expect_nothing();
    let before = lab.socket(0).inbox.len();
    // It is probed, again and again, for as long as the guest answers.
    for _ in 0..20 {
        lab.pass(Duration::from_mins(1));
        let probe = lab.next_tcp().expect("a probe");
        assert_eq!(probe.seq, ours + u32::try_from(got.len()).unwrap() - 1);
        while lab.next_tcp().is_some() {}
        lab.tcp(&ack(1, ours + u32::try_from(got.len()).unwrap()).window(0));
    }
    assert_eq!(lab.socket(0).inbox.len(), before);
    assert_eq!(lab.host().open_count(), 1);
    while got.len() < bytes.len() {
        lab.tcp(&ack(1, ours + u32::try_from(got.len()).unwrap()));
        let before = got.len();
        while let Some(tcp) = lab.next_tcp() {
            got.extend(tcp.payload);
        }
        assert!(got.len() > before, "it stands at {before}");
    }
    assert!(got == bytes);
}

#[test]
fn a_window_smaller_than_a_segment_is_waited_out_while_data_are_under_way() {
    let mut lab = Lab::new();
    let ours = lab.establish(&Tcp {
        shift: None,
        ..syn(0)
    });
    lab.tcp(&ack(1, ours).window(2000));
    lab.world(0, &pattern(5000));
    lab.expect(&data(ours, 1, &pattern(5000)[..1460]));
    lab.expect_nothing();
    lab.tcp(&ack(1, ours + 1460).window(2000));
    lab.expect(&data(ours + 1460, 1, &pattern(5000)[1460..2920]));
}

#[test]
fn no_room_towards_the_network_is_waited_out() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.wire.room = 0;
    lab.world(0, b"hello");
    lab.expect_nothing();
    lab.wire.room = 1;
    lab.poll();
    lab.expect(&data(ours, 1, b"hello"));
}

#[test]
fn an_idle_flow_holds_no_storage() {
    let mut lab = Lab::new();
    let ours = lab.establish(&syn(0));
    lab.world(0, b"hello");
    lab.tcp(&data(1, ours, b"world"));
    while lab.next_tcp().is_some() {}
    lab.tcp(&ack(6, ours + 5));
    let guest = lab.gateway.guest_of(GUEST_MAC).unwrap();
    assert_eq!(guest.buffered, 0);
}

#[test]
fn sequence_numbers_wrap() {
    let mut lab = Lab::new();
    let start = u32::MAX - 10_000;
    let ours = lab.establish(&syn(start));
    let bytes = pattern(30_000);
    let mut at = start.wrapping_add(1);
    for part in bytes.chunks(1460) {
        lab.tcp(&data(at, ours, part));
        at = at.wrapping_add(u32::try_from(part.len()).unwrap());
        assert_eq!(lab.next_tcp().unwrap().ack, Some(at));
    }
    assert_eq!(lab.socket(0).outbox, bytes);
}

#[test]
fn a_window_scale_of_15_means_14_and_a_huge_window_is_no_promise_of_memory() {
    let mut lab = Lab::new();
    let ours = lab.establish(&Tcp {
        shift: Some(15),
        ..syn(0)
    });
    lab.world(0, &pattern(12 << 20));
    let mut got = 0_u32;
    for _ in 0..100 {
        while let Some(tcp) = lab.next_tcp() {
            got += u32::try_from(tcp.payload.len()).unwrap();
        }
        let guest = lab.gateway.guest_of(GUEST_MAC).unwrap();
        assert!(guest.buffered <= 4 << 20, "{}", guest.buffered);
        lab.tcp(&ack(1, ours + got));
    }
    assert_eq!(got, 12 << 20);
}

#[test]
fn segment_sizes_of_0_1_and_65535_do_no_harm() {
    for (mss, expected) in [(0, 536), (1, 88), (u16::MAX, 1460)] {
        let mut lab = Lab::new();
        let ours = lab.establish(&Tcp {
            mss: Some(mss),
            ..syn(0)
        });
        let bytes = pattern(4000);
        lab.world(0, &bytes);
        lab.expect(&data(ours, 1, &bytes).gso(expected));
    }
}

#[test]
fn small_segments_come_at_most_64_to_a_frame() {
    let mut lab = Lab::new();
    let ours = lab.establish(&Tcp {
        mss: Some(100),
        ..syn(0)
    });
    let bytes = pattern(10_000);
    lab.world(0, &bytes);
    lab.expect(&data(ours, 1, &bytes[..6400]).gso(100));
    lab.expect(&data(ours + 6400, 1, &bytes[6400..]).gso(100));
}

#[test]
fn a_jumbo_network_has_jumbo_segments() {
    let mut lab = Lab::with(|config| config.mtu = 65_520);
    let ours = lab.establish(&Tcp {
        mss: Some(65_480),
        ..syn(0)
    });
    let bytes = pattern(100_000);
    lab.world(0, &bytes);
    let mut got = Vec::new();
    for _ in 0..10 {
        while let Some(tcp) = lab.next_tcp() {
            assert_eq!(tcp.gso, None, "each is one segment");
            got.extend(tcp.payload);
        }
        lab.tcp(&ack(1, ours + u32::try_from(got.len()).unwrap()));
    }
    assert!(got == bytes, "{} bytes came", got.len());
}

#[test]
fn a_rate_limit_holds_both_ways_without_a_loss() {
    let limit = Some(100_000);
    let mut lab = Lab::with(|config| {
        config.quotas.upload_rate = limit;
        config.quotas.download_rate = limit;
    });
    let ours = lab.establish(&syn(0));
    lab.world(0, &pattern(500_000));
    let (mut got, mut at, mut edge) = (0_u32, 1_u32, 65_536_u32);
    for _ in 0..300 {
        if edge - at >= 10_000 {
            lab.tcp(&data(at, ours + got, &pattern(10_000)));
            at += 10_000;
        } else {
            lab.tcp(&ack(at, ours + got));
        }
        while let Some(tcp) = lab.next_tcp() {
            if let (Some(ack), Some(window)) = (tcp.ack, tcp.window) {
                edge = ack + (u32::from(window) << 7);
            }
            got += u32::try_from(tcp.payload.len()).unwrap();
        }
        lab.pass(Duration::from_millis(10));
    }
    // Three seconds, and the burst of a bucket that begins full.
    let most = 300_000 + 65_536 + 65_536;
    let up = u32::try_from(lab.socket(0).outbox.len()).unwrap();
    assert!((250_000..most).contains(&up), "{up} bytes up");
    assert!((250_000..most).contains(&got), "{got} bytes down");
}

#[test]
fn ten_thousand_idle_flows_fit_20_megabytes() {
    let mut lab = Lab::new();
    for n in 0..10_000_u16 {
        let from = std::net::SocketAddr::new(GUEST.ip(), 1000 + n);
        let index = usize::from(n);
        lab.tcp_from(from, REMOTE, &syn(0));
        lab.connected(index);
        let ours = lab.next_tcp().unwrap().seq + 1;
        lab.tcp_from(from, REMOTE, &data(1, ours, b"request"));
        lab.world(index, b"response");
        lab.tcp_from(from, REMOTE, &ack(8, ours + 8));
        lab.wire.frames.clear();
        // The quota of new flows is another matter.
        lab.now += Duration::from_millis(1);
    }
    assert_eq!(lab.gateway.flows(lab.now).count(), 10_000);
    assert_eq!(lab.gateway.guest_of(GUEST_MAC).unwrap().buffered, 0);
    // A flow, its place in the index and in the timing wheel, each vector with as much to spare again.
    let each = size_of::<crate::tcp::flow::Flow>() + 8 + 5 + 32;
    assert!(2 * each * 10_000 <= 20_000_000, "{each} bytes per flow");
}
