use super::*;
use crate::{
    DriverBuffer, DriverQueue, RingFeatures,
    testing::{config, memory, packed_config},
};

const NONE: RingFeatures = RingFeatures {
    event_idx: false,
    indirect: false,
    in_order: false,
    packed: false,
};
const ALL: RingFeatures = RingFeatures {
    event_idx: true,
    indirect: true,
    in_order: true,
    packed: false,
};
/// Split and packed, with all other features or none.
const KINDS: [RingFeatures; 4] = [NONE, ALL, packed(NONE), packed(ALL)];

const fn packed(features: RingFeatures) -> RingFeatures {
    RingFeatures {
        packed: true,
        ..features
    }
}

fn pair(
    size: u16,
    features: RingFeatures,
    start: u16,
) -> (Arc<MemoryMap>, DriverQueue, DeviceQueue) {
    let mem = memory(1 << 20);
    let config = if features.packed {
        packed_config(size, features)
    } else {
        config(size, features, start)
    };
    let driver = DriverQueue::new(Arc::clone(&mem), &config).unwrap();
    let device = DeviceQueue::new(Arc::clone(&mem), &config).unwrap();
    (mem, driver, device)
}

fn readable(addr: u64, len: u32) -> DriverBuffer {
    DriverBuffer {
        addr,
        len,
        writable: false,
    }
}

fn writable(addr: u64, len: u32) -> DriverBuffer {
    DriverBuffer {
        addr,
        len,
        writable: true,
    }
}

#[test]
fn a_chain_crosses_with_its_bytes_and_comes_back() {
    for features in KINDS {
        let (mem, mut driver, mut device) = pair(8, features, 65533);
        let mut burst = Burst::new();
        for round in 0u8..40 {
            assert!(mem.write(0x8000, &[round; 100]));
            let chain = [
                readable(0x8000, 60),
                readable(0x8000 + 60, 40),
                writable(0x9000, 100),
            ];
            assert!(driver.add(&chain, u64::from(round)));
            let _ = driver.publish();
            assert_eq!(device.pop_burst(&mut burst, 32), Ok(1));
            let chain = burst.chain(0).unwrap();
            let mut bytes = [0; 100];
            assert_eq!(chain.readable().read_at(0, &mut bytes), 100);
            assert_eq!(bytes, [round; 100]);
            assert_eq!(chain.readable().copy_to(0, &chain.writable(), 0, 100), 100);
            device.complete(chain.head(), 100);
            burst.clear();
            let _ = device.publish();
            let used = driver.poll_used().unwrap().unwrap();
            assert_eq!((used.token, used.written), (u64::from(round), 100));
            assert!(mem.read(0x9000, &mut bytes));
            assert_eq!(bytes, [round; 100]);
            assert_eq!(driver.free(), 8);
        }
    }
}

#[test]
fn indirect_chains_need_the_feature() {
    for features in [ALL, packed(ALL)] {
        let (_, mut driver, mut device) = pair(8, features, 0);
        let mut burst = Burst::new();
        let buffers = [readable(0x8000, 10), writable(0x9000, 20)];
        assert!(driver.add_indirect(0x4000, &buffers, 7));
        let _ = driver.publish();
        assert_eq!(device.pop_burst(&mut burst, 32), Ok(1));
        let chain = burst.chain(0).unwrap();
        assert_eq!((chain.readable().len(), chain.writable().len()), (10, 20));
        assert_eq!(driver.free(), 7, "one descriptor of the ring");
    }
    for features in [NONE, packed(NONE)] {
        let (_, mut driver, mut device) = pair(8, features, 0);
        let mut burst = Burst::new();
        assert!(driver.add_indirect(0x4000, &[readable(0x8000, 10)], 7));
        let _ = driver.publish();
        assert_eq!(
            device.pop_burst(&mut burst, 32),
            Err(QueueFault::IndirectNotNegotiated)
        );
        assert_eq!(device.fault(), Some(QueueFault::IndirectNotNegotiated));
    }
}

#[test]
fn unpopped_chains_are_fetched_again_and_the_position_counts_them() {
    // Split rings count chains, packed ones descriptors: of these each chain has two.
    for (features, start, after) in [(ALL, 0, 1), (packed(ALL), 1 << 15, 1 << 15 | 2)] {
        let (_, mut driver, mut device) = pair(8, features, 0);
        let mut burst = Burst::new();
        for token in 0..4 {
            let buffers = [readable(0x8000, 64), writable(0x8000, 64)];
            assert!(driver.add(&buffers, token));
        }
        let _ = driver.publish();
        assert_eq!(device.pop_burst(&mut burst, 32), Ok(4));
        let at = |index| RingPosition {
            next_avail: index,
            next_used: index,
        };
        assert_eq!(device.position(), at(start));
        device.complete(burst.chain(0).unwrap().head(), 1);
        device.unpop(&mut burst, 1);
        assert_eq!(burst.len(), 1);
        burst.clear();
        let _ = device.publish();
        assert_eq!(device.position(), at(after));
        assert_eq!(device.pop_burst(&mut burst, 32), Ok(3));
        assert_eq!(driver.poll_used().unwrap().unwrap().token, 0);
        assert_eq!(driver.poll_used(), Ok(None));
    }
}

#[test]
fn what_is_staged_is_seen_once_it_is_published() {
    let (mem, mut driver, mut device) = pair(16, packed(NONE), 0);
    let mut burst = Burst::new();
    for token in 0..4 {
        assert!(driver.add(&[writable(0x8000, 10)], token));
    }
    let _ = driver.publish();
    assert_eq!(device.pop_burst(&mut burst, 32), Ok(4));
    let before = flags(&mem, 16);
    device.complete_written(&burst, &[7, 7]);
    assert_eq!(flags(&mem, 16), before);
    let rest = burst.heads().skip(2).collect::<Vec<_>>();
    for head in rest {
        device.complete(head, 9);
    }
    assert_eq!(flags(&mem, 16), before);
    let _ = device.publish();
    let used = [7, 7, 9, 9];
    for (token, written) in (0..).zip(used) {
        let used = driver.poll_used().unwrap().unwrap();
        assert_eq!((used.token, used.written), (token, written));
    }
}

#[test]
fn a_burst_is_published_behind_what_is_staged() {
    for features in [NONE, packed(NONE)] {
        let (_mem, mut driver, mut device) = pair(16, features, 0);
        let mut burst = Burst::new();
        for token in 0..5 {
            assert!(driver.add(&[writable(0x8000, 10)], token));
        }
        let _ = driver.publish();
        assert_eq!(device.pop_burst(&mut burst, 2), Ok(2));
        device.complete_written(&burst, &[1, 2]);
        burst.clear();
        assert_eq!(device.pop_burst(&mut burst, 32), Ok(3));
        device.unpop(&mut burst, 2);
        let _ = device.publish_written(&burst, &[3, 4]);
        for (token, written) in (0..).zip(1..=4) {
            let used = driver.poll_used().unwrap().unwrap();
            assert_eq!((used.token, used.written), (token, written));
        }
        assert_eq!(driver.poll_used(), Ok(None));
        // What was given back comes again.
        burst.clear();
        assert_eq!(device.pop_burst(&mut burst, 32), Ok(1));
        let _ = device.publish_all(&burst);
        let used = driver.poll_used().unwrap().unwrap();
        assert_eq!((used.token, used.written), (4, 0));
    }
}

/// One completion for a burst, if nothing was written and the order is agreed on; else one for each chain.
#[test]
fn a_burst_of_a_packed_ring_in_order_is_completed_at_once() {
    for in_order in [false, true] {
        let features = RingFeatures {
            in_order,
            ..packed(NONE)
        };
        let (mem, mut driver, mut device) = pair(16, features, 0);
        let mut burst = Burst::new();
        for round in 0..20u64 {
            for token in 0..5 {
                let chain = [readable(0x8000, 10), readable(0x8000, 10)];
                let buffers = &chain[..=usize::from(token % 2 == 0)];
                assert!(driver.add(buffers, round * 5 + token));
            }
            let _ = driver.publish();
            assert_eq!(device.pop_burst(&mut burst, 32), Ok(5));
            let before = flags(&mem, 16);
            let _ = device.publish_all(&burst);
            burst.clear();
            let changed = flags(&mem, 16)
                .iter()
                .zip(before)
                .filter(|(a, b)| **a != *b)
                .count();
            // The first and the last descriptor of each.
            assert_eq!(changed, if in_order { 2 } else { 3 * 2 + 2 });
            for token in 0..5 {
                let used = driver.poll_used().unwrap().unwrap();
                assert_eq!((used.token, used.written), (round * 5 + token, 0));
            }
            assert_eq!(driver.poll_used(), Ok(None));
            assert_eq!(driver.free(), 16);
        }
    }
}

fn flags(mem: &MemoryMap, size: u16) -> Vec<u16> {
    let flags = |index| {
        let mut bytes = [0; 2];
        assert!(mem.read(16 * u64::from(index) + 14, &mut bytes));
        u16::from_le_bytes(bytes)
    };
    (0..size).map(flags).collect()
}

/// More completions than are kept back: the driver sees the first ones earlier, and is told of all.
#[test]
fn a_long_series_of_completions_is_published_whole() {
    let (_, mut driver, mut device) = pair(256, packed(NONE), 0);
    let mut burst = Burst::new();
    for token in 0..200 {
        assert!(driver.add(&[writable(0x8000, 64)], token));
    }
    let _ = driver.publish();
    let mut popped = 0;
    while popped < 200 {
        popped += device.pop_burst(&mut burst, 50).unwrap();
        for head in burst.heads() {
            device.complete(head, 7);
        }
        burst.clear();
    }
    assert!(device.publish(), "the driver has not said that it polls");
    for token in 0..200 {
        let used = driver.poll_used().unwrap().unwrap();
        assert_eq!((used.token, used.written), (token, 7));
    }
}

#[test]
fn a_look_tells_of_chains_and_takes_none() {
    for features in KINDS {
        let (_mem, mut driver, mut device) = pair(8, features, 65533);
        let mut burst = Burst::new();
        for token in 0..20 {
            assert!(!device.has_available());
            assert!(driver.add(&[writable(0x8000, 100)], token));
            assert!(driver.add(&[writable(0x9000, 100)], token));
            assert!(!device.has_available(), "before it is published");
            let _ = driver.publish();
            for left in [2, 1] {
                assert!(device.has_available());
                device.foresee();
                device.prefetch();
                assert_eq!(device.pop_burst(&mut burst, 1), Ok(1), "{left} left");
                device.complete(burst.chain(0).unwrap().head(), 10);
                burst.clear();
            }
            let _ = device.publish();
            while driver.poll_used().unwrap().is_some() {}
        }
    }
}

#[test]
fn looking_ahead_believes_nothing_that_the_driver_says() {
    for features in KINDS {
        let (mem, mut driver, mut device) = pair(8, features, 0);
        for token in 0..8 {
            assert!(driver.add(&[writable(u64::MAX - 3, u32::MAX)], token));
        }
        let _ = driver.publish();
        // Chains that a split ring's device knows of, with buffers beyond all memory.
        let mut burst = Burst::new();
        assert!(device.has_available());
        device.foresee();
        device.pop_burst(&mut burst, 1).unwrap_err();
        // Nothing in the ring means anything from here on; a packed one's descriptors look available.
        for round in 0u8..=255 {
            assert!(mem.write(0, &[round, round ^ 0x80].repeat(256)));
            device.foresee();
            device.prefetch();
            assert!(device.has_available(), "a fault is not forgotten");
            device.pop_burst(&mut burst, 1).unwrap_err();
        }
    }
}

#[test]
fn an_avail_index_beyond_the_ring_latches() {
    let (mem, mut driver, mut device) = pair(8, ALL, 0);
    let mut burst = Burst::new();
    assert!(driver.add(&[readable(0x8000, 64)], 1));
    let _ = driver.publish();
    let config = config(8, ALL, 0);
    assert!(mem.write(config.avail + 2, &9u16.to_le_bytes()));
    let fault = QueueFault::AvailIndex {
        index: 9,
        expected: 0,
    };
    assert_eq!(device.pop_burst(&mut burst, 32), Err(fault));
    assert!(mem.write(config.avail + 2, &1u16.to_le_bytes()));
    assert_eq!(
        device.pop_burst(&mut burst, 32),
        Err(fault),
        "the first fault stays"
    );
}

/// A million numbered chains between two threads: none lost, none twice, all in order, with and without event indices. Each
/// side sleeps when it has nothing to do, so a lost notification shows as a timeout.
#[test]
fn two_threads_pass_numbered_chains_in_order() {
    use std::{sync::mpsc, thread, time::Duration};
    for features in KINDS {
        let (mem, mut driver, mut device) = pair(64, features, 0);
        let total: u64 = 300_000;
        let (kick, kicked) = mpsc::channel::<()>();
        let (call, called) = mpsc::channel::<()>();
        let timeout = Duration::from_secs(20);
        let device_thread = thread::spawn(move || {
            let mut burst = Burst::new();
            let mut expected = 0u64;
            while expected < total {
                if device.pop_burst(&mut burst, 32).unwrap() == 0 {
                    if !device.arm_kicks() {
                        kicked.recv_timeout(timeout).expect("a kick was lost");
                    }
                    continue;
                }
                device.suppress_kicks();
                for index in 0..burst.len() {
                    let chain = burst.chain(index).unwrap();
                    let mut bytes = [0; 8];
                    assert_eq!(chain.readable().read_at(0, &mut bytes), 8);
                    assert_eq!(u64::from_le_bytes(bytes), expected);
                    expected += 1;
                    device.complete(chain.head(), 0);
                }
                burst.clear();
                if device.publish() {
                    let _ = call.send(());
                }
            }
        });
        let (mut sent, mut done) = (0u64, 0u64);
        while done < total {
            while sent < total && driver.free() > 0 {
                let addr = 0x8000 + 8 * (sent % 64);
                assert!(mem.write(addr, &sent.to_le_bytes()));
                assert!(driver.add(&[readable(addr, 8)], sent));
                sent += 1;
            }
            if driver.publish() {
                let _ = kick.send(());
            }
            let before = done;
            while let Some(used) = driver.poll_used().unwrap() {
                assert_eq!(used.token, done);
                done += 1;
            }
            if done == before && done < total && !driver.arm_calls() {
                called.recv_timeout(timeout).expect("a call was lost");
            }
        }
        device_thread.join().unwrap();
    }
}
