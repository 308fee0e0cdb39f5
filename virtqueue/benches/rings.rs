//! What the ring primitives cost: a burst of chains there and back, and copies of frame sizes.

use std::{hint::black_box, sync::Arc};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use virtqueue::{
    Burst, DeviceQueue, DriverBuffer, DriverQueue, MemoryMap, QueueConfig, RingFeatures,
    RingPosition,
};
use vm_memory::{GuestAddress, GuestMemoryMmap};

const BURST: u32 = 32;

fn queues(packed: bool, event_idx: bool) -> (DriverQueue, DeviceQueue) {
    let ram = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 64 << 20)]).expect("memory");
    let mem = MemoryMap::from_guest_memory(1, &ram).expect("a map of it");
    let features = RingFeatures {
        event_idx,
        indirect: true,
        in_order: true,
        packed,
    };
    let config = QueueConfig {
        size: 256,
        desc: 0,
        avail: 0x1_0000,
        used: 0x2_0000,
        features,
        position: RingPosition::start(features),
    };
    let driver = DriverQueue::new(Arc::clone(&mem), &config).expect("the driver's end");
    let device = DeviceQueue::new(mem, &config).expect("the device's end");
    (driver, device)
}

/// 32 chains: added, popped, completed, reclaimed. Divide by 32 for one chain through both ends.
fn round_trip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round trip of 32 chains");
    group.throughput(Throughput::Elements(u64::from(BURST)));
    for (name, packed, event_idx) in [
        ("split", false, false),
        ("split, event_idx", false, true),
        ("packed", true, false),
        ("packed, event_idx", true, true),
    ] {
        let (mut driver, mut device) = queues(packed, event_idx);
        let mut burst = Burst::new();
        let buffer = DriverBuffer {
            addr: 0x10_0000,
            len: 76,
            writable: false,
        };
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                for token in 0..u64::from(BURST) {
                    let _ = driver.add(&[buffer], token);
                }
                let _ = black_box(driver.publish());
                let _ = device.pop_burst(&mut burst, BURST as usize);
                let _ = black_box(device.publish_all(&burst));
                burst.clear();
                while let Ok(Some(used)) = driver.poll_used() {
                    black_box(used);
                }
            });
        });
    }
    group.finish();
}

/// The payload copy from one guest's buffer into another's; beside the C library's copy where the destination lies so many
/// bytes behind the source within a page.
fn copy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copy guest to guest");
    let cases = [64u32, 512, 1518, 9000, 65536].map(|len| (len, 0));
    for (len, behind) in cases.into_iter().chain([(65536, 12), (65536, 64)]) {
        let (mut driver, mut device) = queues(false, true);
        let mut burst = Burst::new();
        let source = DriverBuffer {
            addr: 0x10_0000,
            len,
            writable: false,
        };
        let target = DriverBuffer {
            addr: 0x80_0000 + behind,
            len,
            writable: true,
        };
        assert!(driver.add(&[source, target], 0));
        let _ = driver.publish();
        assert_eq!(device.pop_burst(&mut burst, 1), Ok(1));
        let chain = burst.chain(0).expect("one chain");
        group.throughput(Throughput::Bytes(u64::from(len)));
        let case = format!("{len}, {behind} behind");
        group.bench_function(BenchmarkId::new("copy_to", &case), |bencher| {
            bencher.iter(|| {
                chain
                    .readable()
                    .copy_to(0, &chain.writable(), 0, black_box(len))
            });
        });
        let [source, target] = [source, target].map(|buffer| buffer.addr);
        c_library(&mut group, &case, source, target, len);
    }
    group.finish();
}

/// The same copy within an allocation whose start is aligned like the guest's memory.
fn c_library(
    group: &mut BenchmarkGroup<'_, WallTime>,
    case: &str,
    source: u64,
    target: u64,
    len: u32,
) {
    let at = |addr: u64| usize::try_from(addr).expect("it fits");
    let (from, len) = (at(source), at(len.into()));
    let mut memory = vec![1u8; 16 << 20];
    let aligned = memory.as_ptr().align_offset(4096);
    let memory = &mut memory[aligned..];
    // Pages are of no interest: only where both lie within them.
    let to = at(target);
    let (low, high) = memory.split_at_mut(to);
    group.bench_function(BenchmarkId::new("C library", case), |bencher| {
        bencher.iter(|| high[..len].copy_from_slice(black_box(&low[from..from + len])));
    });
}

criterion_group!(benches, round_trip, copy);
criterion_main!(benches);
