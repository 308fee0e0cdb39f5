use super::super::layout::Word;
use super::*;
use crate::{
    Burst, DeviceQueue, DriverBuffer, DriverQueue, RingFeatures, RingPosition,
    testing::{Random, memory, packed_config},
};
use std::sync::{Arc, atomic::Ordering};

struct Scene {
    mem: Arc<MemoryMap>,
    config: QueueConfig,
    driver: DriverQueue,
    device: DeviceQueue,
    burst: Burst,
}

fn scene(size: u16, in_order: bool) -> Scene {
    let features = RingFeatures {
        in_order,
        packed: true,
        ..RingFeatures::default()
    };
    let mem = memory(1 << 20);
    let config = packed_config(size, features);
    Scene {
        driver: DriverQueue::new(Arc::clone(&mem), &config).unwrap(),
        device: DeviceQueue::new(Arc::clone(&mem), &config).unwrap(),
        burst: Burst::new(),
        mem,
        config,
    }
}

impl Scene {
    fn add(&mut self, buffers: usize) {
        let buffer = DriverBuffer {
            addr: 0x8_0000,
            len: 64,
            writable: true,
        };
        let _ = self.driver.add(&vec![buffer; buffers], 0);
        let _ = self.driver.publish();
    }

    /// Uses up to `count` chains, the way that transmit or receive rings do it, or dies before it publishes them.
    fn work(&mut self, count: usize, written: u32, publishes: bool) {
        let popped = self.device.pop_burst(&mut self.burst, count + 2).unwrap();
        self.device.unpop(&mut self.burst, popped.saturating_sub(2));
        if written == 0 && publishes {
            let _ = self.device.publish_all(&self.burst);
        } else {
            for head in self.burst.heads() {
                self.device.complete(head, written);
            }
            if publishes {
                let _ = self.device.publish();
            }
        }
        self.burst.clear();
    }

    /// What the memory says, with what a front-end remembers from the beginning.
    fn resume(&self) -> u16 {
        position_in_memory(&self.mem, &self.config).unwrap()
    }

    fn take_back(&mut self) {
        while self.driver.poll_used().unwrap().is_some() {}
    }
}

#[test]
fn a_fresh_ring_starts_at_its_start() {
    let mut scene = scene(8, true);
    assert_eq!(scene.resume(), 1 << 15);
    scene.add(3);
    assert_eq!(scene.resume(), 1 << 15, "available, and not one used");
    scene.add(5);
    assert_eq!(scene.resume(), 1 << 15, "the driver has gone round");
}

/// Whenever the device dies, the next one goes on behind the last chain that the driver has seen.
#[test]
fn the_next_device_goes_on_where_the_last_one_died() {
    for (seed, size, in_order) in [(1, 8, true), (2, 8, false), (3, 7, true), (4, 64, false)] {
        let mut random = Random(seed);
        let mut scene = scene(size, in_order);
        for round in 0..3000 {
            for _ in 0..random.below(3) {
                scene.add(1 + random.below(3));
            }
            let written = 64 * u32::from(random.below(2) == 0);
            let dies = random.below(8) == 0;
            scene.work(random.below(6), written, !dies);
            let next = scene.resume();
            assert_eq!(
                next,
                scene.device.position().next_used,
                "size {size}, in order {in_order}, round {round}"
            );
            if dies {
                let config = QueueConfig {
                    position: RingPosition {
                        next_avail: next,
                        next_used: next,
                    },
                    ..scene.config
                };
                scene.device = DeviceQueue::new(Arc::clone(&scene.mem), &config).unwrap();
            }
            if random.below(2) == 0 {
                scene.take_back();
            }
        }
        scene.take_back();
        // Nothing was lost on the way: all comes back.
        while scene.driver.free() < size {
            let before = scene.driver.free();
            let _ = scene.device.pop_burst(&mut scene.burst, 64).unwrap();
            let _ = scene.device.publish_all(&scene.burst);
            scene.burst.clear();
            scene.take_back();
            assert!(scene.driver.free() > before, "chains are lost");
        }
    }
}

/// The first of several is what hands them to the driver: before that the last one means nothing.
#[test]
fn a_completion_that_was_only_begun_is_none() {
    let mut scene = scene(8, false);
    for buffers in [2, 3, 2] {
        scene.add(buffers);
    }
    scene.work(1, 64, true);
    let ring = Ring::new(&scene.mem, &scene.config).unwrap();
    let flags = Word::used_flags(true);
    ring.store_whole(
        4,
        3,
        Word {
            flags,
            ..Word::default()
        },
    );
    assert_eq!(scene.resume(), 1 << 15 | 2);
    ring.store_whole(
        2,
        3,
        Word {
            flags,
            ..Word::default()
        },
    );
    assert_eq!(scene.resume(), 1 << 15 | 5);
}

#[test]
fn completions_are_there_all_at_once_however_many() {
    let mut scene = scene(256, false);
    for _ in 0..200 {
        scene.add(1);
    }
    for _ in 0..10 {
        let popped = scene.device.pop_burst(&mut scene.burst, 20).unwrap();
        assert_eq!(popped, 20);
        for head in scene.burst.heads() {
            scene.device.complete(head, 64);
        }
        scene.burst.clear();
        assert_eq!(scene.driver.poll_used().unwrap(), None);
    }
    let _ = scene.device.publish();
    for _ in 0..200 {
        assert!(scene.driver.poll_used().unwrap().is_some());
    }
}

/// Another kind of device leaves the address as it was: then what the front-end says counts, if it can be true.
#[test]
fn a_ring_that_another_device_ran_goes_on_at_its_base() {
    let mut scene = scene(8, false);
    for buffers in [3, 2, 2] {
        scene.add(buffers);
    }
    scene.work(1, 64, true);
    let ring = Ring::new(&scene.mem, &scene.config).unwrap();
    for index in [0, 2] {
        ring.store_addr(index, 0x8_0000);
    }
    let flags = Word::available_flags(true);
    ring.store(
        2,
        Word {
            flags,
            ..Word::default()
        },
        Ordering::Relaxed,
    );
    for (base, expected) in [(3, 3), (5, 5), (0, 1)] {
        scene.config.position.next_avail = base | 1 << 15;
        assert_eq!(scene.resume(), expected | 1 << 15, "base {base}");
    }
}

#[test]
fn whatever_the_ring_says_the_place_is_inside() {
    let mut random = Random(5);
    let scene = scene(16, true);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..256)
            .map(|_| u8::try_from(random.below(256)).unwrap())
            .collect();
        assert!(scene.mem.write(scene.config.desc, &bytes));
        assert!(scene.resume() & 0x7fff < 16);
    }
    let config = QueueConfig {
        position: RingPosition {
            next_avail: 16,
            next_used: 16,
        },
        ..scene.config
    };
    assert_eq!(
        position_in_memory(&scene.mem, &config),
        Err(QueueFault::Position(16))
    );
}
