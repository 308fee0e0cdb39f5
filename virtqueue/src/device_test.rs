use super::*;
use crate::{
    DriverBuffer, DriverQueue,
    testing::{config, memory},
};

const ALL: RingFeatures = RingFeatures {
    event_idx: true,
    indirect: true,
    in_order: true,
};

fn pair(
    size: u16,
    features: RingFeatures,
    start: u16,
) -> (Arc<MemoryMap>, DriverQueue, DeviceQueue) {
    let mem = memory(1 << 20);
    let config = config(size, features, start);
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
    for features in [RingFeatures::default(), ALL] {
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
    let (_, mut driver, mut device) = pair(8, ALL, 0);
    let mut burst = Burst::new();
    assert!(driver.add_indirect(0x4000, &[readable(0x8000, 10), writable(0x9000, 20)], 7));
    let _ = driver.publish();
    assert_eq!(device.pop_burst(&mut burst, 32), Ok(1));
    let chain = burst.chain(0).unwrap();
    assert_eq!((chain.readable().len(), chain.writable().len()), (10, 20));

    let (_, mut driver, mut device) = pair(8, RingFeatures::default(), 0);
    let mut burst = Burst::new();
    assert!(driver.add_indirect(0x4000, &[readable(0x8000, 10)], 7));
    let _ = driver.publish();
    assert_eq!(
        device.pop_burst(&mut burst, 32),
        Err(QueueFault::IndirectNotNegotiated)
    );
    assert_eq!(device.fault(), Some(QueueFault::IndirectNotNegotiated));
}

#[test]
fn unpopped_chains_are_fetched_again_and_the_position_counts_them() {
    let (_, mut driver, mut device) = pair(8, ALL, 0);
    let mut burst = Burst::new();
    for token in 0..4 {
        assert!(driver.add(&[writable(0x8000, 64)], token));
    }
    let _ = driver.publish();
    assert_eq!(device.pop_burst(&mut burst, 32), Ok(4));
    assert_eq!(
        device.position(),
        RingPosition {
            next_avail: 0,
            next_used: 0
        }
    );
    device.complete(burst.chain(0).unwrap().head(), 1);
    device.unpop(3);
    burst.clear();
    assert!(device.publish() || ALL.event_idx);
    assert_eq!(
        device.position(),
        RingPosition {
            next_avail: 1,
            next_used: 1
        }
    );
    assert_eq!(device.pop_burst(&mut burst, 32), Ok(3));
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
    for features in [RingFeatures::default(), ALL] {
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
