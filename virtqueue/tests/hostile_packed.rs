//! Malformed chains in packed rings one by one, a device that lies, and a thread that rewrites ring memory while the device works on
//! it.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking; its numbers are its own"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use virtqueue::{
    Burst, DeviceQueue, DriverBuffer, DriverQueue, MemoryMap, QueueConfig, QueueFault,
    RingFeatures, RingPosition,
};
use vm_memory::{GuestAddress, GuestMemoryMmap};

const SIZE: u16 = 8;
const DRIVER: u64 = 0x1000;
const DEVICE: u64 = 0x1004;
const TABLE: u64 = 0x3000;
const END: u64 = 0x1_0000;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Available in the first lap.
const AVAIL: u16 = 1 << 7;
/// Used in the first lap.
const USED: u16 = 1 << 7 | 1 << 15;

fn memory() -> Arc<MemoryMap> {
    let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), END as usize)]).unwrap();
    MemoryMap::from_guest_memory(1, &ram).unwrap()
}

fn config(size: u16) -> QueueConfig {
    QueueConfig {
        size,
        desc: 0,
        avail: DRIVER,
        used: DEVICE,
        features: RingFeatures {
            event_idx: true,
            indirect: true,
            in_order: true,
            packed: true,
        },
        position: RingPosition::PACKED_START,
    }
}

/// `(addr, len, id, flags)` at `base + 16 * index`.
fn put(mem: &MemoryMap, base: u64, index: u16, (addr, len, id, flags): (u64, u32, u16, u16)) {
    let mut bytes = addr.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(id.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    assert!(mem.write(base + 16 * u64::from(index), &bytes));
}

/// What the device thinks of the chain whose descriptors these are.
fn verdict(mem: &Arc<MemoryMap>, chain: &[(u64, u32, u16)]) -> Result<usize, QueueFault> {
    for (index, (addr, len, flags)) in (0..).zip(chain) {
        put(mem, 0, index, (*addr, *len, index, flags | AVAIL));
    }
    let mut queue = DeviceQueue::new(Arc::clone(mem), &config(SIZE)).unwrap();
    let result = queue.pop_burst(&mut Burst::new(), 1);
    assert_eq!(queue.fault(), result.err(), "a fault latches");
    result
}

#[test]
fn a_chain_as_long_as_the_ring_is_legal_and_one_more_is_a_loop() {
    let mut chain = [(0x8000, 1, NEXT); SIZE as usize];
    assert_eq!(verdict(&memory(), &chain), Err(QueueFault::Loop));
    chain[SIZE as usize - 1].2 = 0;
    assert_eq!(verdict(&memory(), &chain), Ok(1));
}

#[test]
fn a_chain_must_not_reach_into_what_the_device_still_has() {
    let mem = memory();
    for index in 0..SIZE {
        put(&mem, 0, index, (0x8000, 1, index, AVAIL));
    }
    let mut queue = DeviceQueue::new(Arc::clone(&mem), &config(SIZE)).unwrap();
    let mut burst = Burst::new();
    assert_eq!(queue.pop_burst(&mut burst, 32), Ok(8));
    assert_eq!(queue.pop_burst(&mut burst, 32), Ok(0));
    // One is given back; what comes next in the second lap is two long.
    queue.complete(burst.chain(0).unwrap().head(), 0);
    let _ = queue.publish();
    put(&mem, 0, 0, (0x8000, 1, 0, NEXT | 1 << 15));
    assert_eq!(queue.pop_burst(&mut burst, 32), Err(QueueFault::Loop));

    // And none at all.
    let mut queue = DeviceQueue::new(Arc::clone(&mem), &config(SIZE)).unwrap();
    put(&mem, 0, 0, (0x8000, 1, 0, AVAIL));
    let mut burst = Burst::new();
    assert_eq!(queue.pop_burst(&mut burst, 32), Ok(8));
    put(&mem, 0, 0, (0x8000, 1, 0, 1 << 15));
    assert_eq!(queue.pop_burst(&mut burst, 32), Err(QueueFault::Overrun));
}

#[test]
fn indirect_tables_are_checked() {
    let mem = memory();
    let indirect = |len, flags| verdict(&mem, &[(TABLE, len, INDIRECT | flags)]);
    put(&mem, TABLE, 0, (0x8000, 1, 0, 0));
    assert_eq!(indirect(16, 0), Ok(1));
    assert_eq!(indirect(16, NEXT), Err(QueueFault::IndirectNext));
    for len in [0, 1, 15, 17, 24, u32::MAX, 16 * 1025, 16 * 65536] {
        let refused = Err(QueueFault::IndirectLength(len));
        assert_eq!(indirect(len, 0), refused, "{len}");
    }
    put(&mem, TABLE, 0, (TABLE, 16, 0, INDIRECT));
    assert_eq!(indirect(16, 0), Err(QueueFault::IndirectNested));
    // NEXT means nothing there, and all entries count.
    put(&mem, TABLE, 0, (0x8000, 1, 9, NEXT));
    assert_eq!(indirect(16, 0), Ok(1));
    put(&mem, TABLE, 1, (END, 1, 0, 0));
    assert_eq!(indirect(32, 0), Err(QueueFault::BufferUnmapped(END)));
    for addr in [END - 8, END, u64::MAX - 8] {
        let refused = Err(QueueFault::BufferUnmapped(addr));
        assert_eq!(verdict(&mem, &[(addr, 16, INDIRECT)]), refused, "{addr:#x}");
    }
    let in_a_chain = [(0x8000, 1, NEXT), (TABLE, 16, INDIRECT)];
    assert_eq!(verdict(&mem, &in_a_chain), Err(QueueFault::IndirectNext));
}

#[test]
fn readable_after_writable_faults_even_with_empty_buffers() {
    for len in [0, 1] {
        let chain = [(0x8000, len, NEXT | WRITE), (0x8000, 1, 0)];
        assert_eq!(verdict(&memory(), &chain), Err(QueueFault::Order));
    }
}

#[test]
fn buffers_outside_memory_fault_and_lengths_never_wrap() {
    for (addr, len) in [
        (END, 1),
        (END - 1, 2),
        (u64::MAX, 1),
        (u64::MAX, 2),
        (0, u32::MAX),
    ] {
        let refused = Err(QueueFault::BufferUnmapped(addr));
        assert_eq!(verdict(&memory(), &[(addr, len, 0)]), refused);
    }
    // The sum passes 4 GiB: refused before the second address is even looked at.
    let big = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 32)]).unwrap();
    let mem = MemoryMap::from_guest_memory(1, &big).unwrap();
    let chain = [(0, u32::MAX, NEXT), (0, 1, 0)];
    assert_eq!(verdict(&mem, &chain), Err(QueueFault::ChainLength));
}

#[test]
fn ring_areas_and_positions_are_checked() {
    let mem = memory();
    let bad = |change: fn(&mut QueueConfig)| {
        let mut config = config(SIZE);
        change(&mut config);
        DeviceQueue::new(Arc::clone(&mem), &config).err()
    };
    for size in [0u16, 32769, u16::MAX] {
        let refused = DeviceQueue::new(Arc::clone(&mem), &config(size)).err();
        assert_eq!(refused, Some(QueueFault::Size(size)));
    }
    for size in [1, 3, 255] {
        DeviceQueue::new(Arc::clone(&mem), &config(size)).unwrap();
    }
    assert_eq!(bad(|c| c.desc = 8), Some(QueueFault::Misaligned(8)));
    assert_eq!(bad(|c| c.avail = 2), Some(QueueFault::Misaligned(2)));
    assert_eq!(bad(|c| c.used = 2), Some(QueueFault::Misaligned(2)));
    for (change, addr) in [
        ((|c| c.desc = END - 16) as fn(&mut QueueConfig), END - 16),
        (|c| c.used = END, END),
        (|c| c.avail = u64::MAX - 3, u64::MAX - 3),
    ] {
        assert_eq!(bad(change), Some(QueueFault::RingUnmapped(addr)));
    }
    let beyond = 1 << 15 | SIZE;
    let position = Some(QueueFault::Position(beyond));
    assert_eq!(bad(|c| c.position.next_avail = 1 << 15 | SIZE), position);
    assert_eq!(bad(|c| c.position.next_used = 1 << 15 | SIZE), position);
}

/// A guest that rewrites descriptors, tables and its wishes all the time: whatever the device sees, it stays inside memory, never
/// holds more than the ring has, and the queue can be set up again.
#[test]
fn memory_rewritten_while_the_device_reads_it_harms_nobody() {
    let mem = memory();
    let stop = Arc::new(AtomicBool::new(false));
    let vandal = {
        let (mem, stop) = (Arc::clone(&mem), Arc::clone(&stop));
        thread::spawn(move || {
            let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
            while !stop.load(Ordering::Relaxed) {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let lap = [AVAIL, 1 << 15, USED, 0][(seed >> 60) as usize & 3];
                let indirect = INDIRECT * u16::from((seed >> 56).is_multiple_of(16));
                let flags = ((seed >> 8) as u16 % 4) | indirect | lap;
                let desc = (
                    seed % (END + 64),
                    (seed >> 32) as u32 % 512,
                    seed as u16,
                    flags,
                );
                let base = if seed & 1 << 50 == 0 { 0 } else { TABLE };
                put(&mem, base, (seed >> 20) as u16 % SIZE, desc);
                assert!(mem.write(DRIVER, &(seed as u32).to_le_bytes()));
            }
        })
    };
    let mut burst = Burst::new();
    let (mut good, mut faults) = (0u64, 0u64);
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let next = DeviceQueue::used_index_in_memory(&mem, &config(SIZE)).unwrap();
        let mut config = config(SIZE);
        config.position = RingPosition {
            next_avail: next,
            next_used: next,
        };
        // A good one to begin with, if it is still that when the device comes to it.
        let lap = if next & 1 << 15 == 0 { 1 << 15 } else { AVAIL };
        put(&mem, 0, next & 0x7fff, (0x8000, 64, 1, lap));
        let mut queue = DeviceQueue::new(Arc::clone(&mem), &config).unwrap();
        while let Ok(count) = queue.pop_burst(&mut burst, 32) {
            assert!(count <= usize::from(SIZE));
            for index in 0..count {
                let chain = burst.chain(index).unwrap();
                let mut bytes = [0; 4096];
                let len = chain.readable().len().min(4096) as usize;
                assert_eq!(chain.readable().read_at(0, &mut bytes[..len]), len);
                let room = chain.writable().len();
                let copied = chain.readable().copy_to(0, &chain.writable(), 0, room);
                assert_eq!(copied, room.min(chain.readable().len()));
                queue.complete(chain.head(), 0);
                good += 1;
            }
            burst.clear();
            let _ = queue.publish();
            if count == 0 && !queue.arm_kicks() {
                break;
            }
        }
        burst.clear();
        faults += u64::from(queue.fault().is_some());
    }
    stop.store(true, Ordering::Relaxed);
    vandal.join().unwrap();
    assert!(
        good > 100 && faults > 100,
        "{good} chains, {faults} faults: the test saw too little"
    );
}

fn driver(in_order: bool) -> (Arc<MemoryMap>, DriverQueue) {
    let mem = memory();
    let mut config = config(SIZE);
    config.features.in_order = in_order;
    let mut driver = DriverQueue::new(Arc::clone(&mem), &config).unwrap();
    let buffer = DriverBuffer {
        addr: 0x8000,
        len: 64,
        writable: true,
    };
    assert!(driver.add(&[buffer, buffer], 1));
    let _ = driver.publish();
    (mem, driver)
}

#[test]
fn a_device_that_uses_what_it_was_not_given_latches_the_driver() {
    for in_order in [false, true] {
        for id in [1, 7, 8, u16::MAX] {
            let (mem, mut driver) = driver(in_order);
            put(&mem, 0, 0, (0, 0, id, USED));
            let fault = Err(QueueFault::Used(id.into()));
            assert_eq!(driver.poll_used(), fault);
            put(&mem, 0, 0, (0, 0, 0, USED));
            assert_eq!(driver.poll_used(), fault, "the first fault stays");
        }
        // Twice the same, and more than it has.
        let (mem, mut driver) = driver(in_order);
        put(&mem, 0, 0, (0, 0, 0, USED));
        assert_eq!(driver.poll_used().unwrap().unwrap().token, 1);
        put(&mem, 0, 2, (0, 0, 0, USED));
        assert_eq!(driver.poll_used(), Err(QueueFault::Used(0)));
    }
}

#[test]
fn a_chain_that_is_not_published_cannot_be_used() {
    let (mem, mut driver) = driver(true);
    put(&mem, 0, 0, (0, 0, 0, USED));
    assert!(driver.poll_used().unwrap().is_some());
    let buffer = DriverBuffer {
        addr: 0x8000,
        len: 64,
        writable: true,
    };
    assert!(driver.add(&[buffer], 2));
    put(&mem, 0, 2, (0, 0, 1, USED));
    assert_eq!(driver.poll_used(), Err(QueueFault::Used(1)));
}
