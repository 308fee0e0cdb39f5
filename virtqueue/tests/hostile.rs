//! Malformed chains one by one, and a thread that rewrites ring memory while the device works on it.
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

use virtqueue::{Burst, DeviceQueue, MemoryMap, QueueConfig, QueueFault, RingFeatures};
use vm_memory::{GuestAddress, GuestMemoryMmap};

const SIZE: u16 = 8;
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;
const TABLE: u64 = 0x3000;
const END: u64 = 0x1_0000;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

fn memory() -> Arc<MemoryMap> {
    let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), END as usize)]).unwrap();
    MemoryMap::from_guest_memory(1, &ram).unwrap()
}

fn config(size: u16) -> QueueConfig {
    QueueConfig {
        size,
        desc: 0,
        avail: AVAIL,
        used: USED,
        features: RingFeatures {
            event_idx: true,
            indirect: true,
            in_order: true,
            packed: false,
        },
        ..QueueConfig::default()
    }
}

/// `(addr, len, flags, next)` at `base + 16 * index`.
fn put(mem: &MemoryMap, base: u64, index: u16, (addr, len, flags, next): (u64, u32, u16, u16)) {
    let mut bytes = Vec::new();
    bytes.extend(addr.to_le_bytes());
    bytes.extend(len.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(next.to_le_bytes());
    assert!(mem.write(base + 16 * u64::from(index), &bytes));
}

/// Makes the chain at descriptor 0 available and says what the device thinks of it.
fn verdict(mem: &Arc<MemoryMap>, head: u16) -> Result<usize, QueueFault> {
    assert!(mem.write(AVAIL + 4, &head.to_le_bytes()));
    assert!(mem.write(AVAIL + 2, &1u16.to_le_bytes()));
    let mut queue = DeviceQueue::new(Arc::clone(mem), &config(SIZE)).unwrap();
    let result = queue.pop_burst(&mut Burst::new(), 32);
    assert_eq!(queue.fault(), result.err(), "a fault latches");
    result
}

#[test]
fn descriptor_loop_is_cut() {
    let mem = memory();
    put(&mem, 0, 0, (0x8000, 1, NEXT, 1));
    put(&mem, 0, 1, (0x8000, 1, NEXT, 0));
    assert_eq!(verdict(&mem, 0), Err(QueueFault::Loop));
}

#[test]
fn chain_as_long_as_the_table_is_legal_and_one_more_is_a_loop() {
    let mem = memory();
    for index in 0..SIZE {
        let flags = if index + 1 < SIZE { NEXT } else { 0 };
        put(&mem, 0, index, (0x8000, 1, flags, index + 1));
    }
    assert_eq!(verdict(&mem, 0), Ok(1));
    put(&mem, 0, SIZE - 1, (0x8000, 1, NEXT, 0));
    assert_eq!(verdict(&mem, 0), Err(QueueFault::Loop));
}

#[test]
fn head_and_next_beyond_the_table_fault() {
    let mem = memory();
    assert_eq!(verdict(&mem, SIZE), Err(QueueFault::Head(SIZE)));
    assert_eq!(verdict(&mem, u16::MAX), Err(QueueFault::Head(u16::MAX)));
    put(&mem, 0, 0, (0x8000, 1, NEXT, SIZE));
    assert_eq!(verdict(&mem, 0), Err(QueueFault::Next(SIZE)));
}

#[test]
fn indirect_tables_are_checked() {
    let mem = memory();
    let indirect = |len, flags| {
        put(&mem, 0, 0, (TABLE, len, INDIRECT | flags, 1));
        verdict(&mem, 0)
    };
    put(&mem, TABLE, 0, (0x8000, 1, 0, 0));
    assert_eq!(indirect(16, 0), Ok(1));
    assert_eq!(indirect(16, NEXT), Err(QueueFault::IndirectNext));
    for len in [0, 1, 15, 17, 24, u32::MAX, 16 * 1025, 16 * 65536] {
        assert_eq!(
            indirect(len, 0),
            Err(QueueFault::IndirectLength(len)),
            "{len}"
        );
    }
    put(&mem, TABLE, 0, (TABLE, 16, INDIRECT, 0));
    assert_eq!(indirect(16, 0), Err(QueueFault::IndirectNested));
    put(&mem, TABLE, 0, (0x8000, 1, NEXT, 2));
    assert_eq!(indirect(32, 0), Err(QueueFault::Next(2)));
    put(&mem, TABLE, 0, (0x8000, 1, NEXT, 0));
    assert_eq!(indirect(32, 0), Err(QueueFault::Loop));
    for addr in [END - 8, END, u64::MAX - 8] {
        put(&mem, 0, 0, (addr, 16, INDIRECT, 0));
        assert_eq!(
            verdict(&mem, 0),
            Err(QueueFault::BufferUnmapped(addr)),
            "{addr:#x}"
        );
    }
}

#[test]
fn readable_after_writable_faults_even_with_empty_buffers() {
    let mem = memory();
    for len in [0, 1] {
        put(&mem, 0, 0, (0x8000, len, NEXT | WRITE, 1));
        put(&mem, 0, 1, (0x8000, 1, 0, 0));
        assert_eq!(verdict(&mem, 0), Err(QueueFault::Order));
    }
}

#[test]
fn buffers_outside_memory_fault_and_lengths_never_wrap() {
    let mem = memory();
    for (addr, len) in [
        (END, 1),
        (END - 1, 2),
        (u64::MAX, 1),
        (u64::MAX, 2),
        (0, u32::MAX),
    ] {
        put(&mem, 0, 0, (addr, len, 0, 0));
        assert_eq!(
            verdict(&mem, 0),
            Err(QueueFault::BufferUnmapped(addr)),
            "{addr:#x}+{len}"
        );
    }
    // The sum passes 4 GiB: refused before the second address is even looked at.
    let big = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 32)]).unwrap();
    let mem = MemoryMap::from_guest_memory(1, &big).unwrap();
    put(&mem, 0, 0, (0, u32::MAX, NEXT, 1));
    put(&mem, 0, 1, (0, 1, 0, 0));
    assert_eq!(verdict(&mem, 0), Err(QueueFault::ChainLength));
}

#[test]
fn ring_areas_are_checked() {
    let mem = memory();
    let bad = |change: fn(&mut QueueConfig)| {
        let mut config = config(SIZE);
        change(&mut config);
        DeviceQueue::new(Arc::clone(&mem), &config).err()
    };
    for size in [0u16, 3, 6, 32769, u16::MAX] {
        let config = QueueConfig {
            size,
            ..config(SIZE)
        };
        assert_eq!(
            DeviceQueue::new(Arc::clone(&mem), &config).err(),
            Some(QueueFault::Size(size))
        );
    }
    assert_eq!(bad(|c| c.desc = 8), Some(QueueFault::Misaligned(8)));
    assert_eq!(bad(|c| c.avail = 1), Some(QueueFault::Misaligned(1)));
    assert_eq!(bad(|c| c.used = 2), Some(QueueFault::Misaligned(2)));
    assert_eq!(
        bad(|c| c.desc = END - 16),
        Some(QueueFault::RingUnmapped(END - 16))
    );
    assert_eq!(bad(|c| c.used = END), Some(QueueFault::RingUnmapped(END)));
    assert_eq!(
        bad(|c| c.avail = u64::MAX - 1),
        Some(QueueFault::RingUnmapped(u64::MAX - 1))
    );
}

/// A guest that rewrites descriptors, indices and tables all the time: whatever the device sees, it stays inside memory, never
/// holds more chains than the ring has, and the queue can be set up again.
#[test]
fn memory_rewritten_while_the_device_reads_it_harms_nobody() {
    let mem = memory();
    let stop = Arc::new(AtomicBool::new(false));
    let vandal = {
        let (mem, stop) = (Arc::clone(&mem), Arc::clone(&stop));
        thread::spawn(move || {
            let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
            let mut random = move || {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed
            };
            while !stop.load(Ordering::Relaxed) {
                let word = random();
                let desc = (
                    word % (END + 64),
                    (word >> 32) as u32 % 512,
                    word as u16 % 8,
                    (word >> 16) as u16 % 9,
                );
                let base = if word & 1 << 50 == 0 { 0 } else { TABLE };
                put(&mem, base, (word >> 20) as u16 % SIZE, desc);
                assert!(mem.write(
                    AVAIL + 4 + 2 * (word >> 24 & 7),
                    &((word >> 40) as u16 % 9).to_le_bytes()
                ));
                assert!(mem.write(AVAIL + 2, &((word >> 44) as u16 % 12).to_le_bytes()));
            }
        })
    };
    let mut burst = Burst::new();
    let (mut good, mut faults) = (0u64, 0u64);
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let mut queue = DeviceQueue::new(Arc::clone(&mem), &config(SIZE)).unwrap();
        while let Ok(count) = queue.pop_burst(&mut burst, 32) {
            assert!(count <= usize::from(SIZE));
            for chain in (0..burst.len()).filter_map(|index| burst.chain(index)) {
                let mut bytes = [0; 4096];
                let len = chain.readable().len().min(4096) as usize;
                assert_eq!(chain.readable().read_at(0, &mut bytes[..len]), len);
                let room = chain.writable().len();
                assert_eq!(
                    chain.readable().copy_to(0, &chain.writable(), 0, room),
                    room.min(chain.readable().len())
                );
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
        good > 1000 && faults > 1000,
        "{good} chains, {faults} faults: the test saw too little"
    );
}
