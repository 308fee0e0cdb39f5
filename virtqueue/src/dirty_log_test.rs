use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    Burst, DeviceQueue, DriverBuffer, DriverQueue, MapError, MemoryMap, RingFeatures,
    testing::{config, memfd, memory, packed_config, region},
};

fn log(size: u64) -> (Arc<DirtyLog>, File) {
    let file = memfd(size.max(1));
    let log = DirtyLog::map(file.try_clone().unwrap(), 0, size).unwrap();
    (Arc::new(log), file)
}

/// The marked pages, which are taken out of the log.
fn take(file: &File) -> Vec<u64> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    file.write_all_at(&vec![0; bytes.len()], 0).unwrap();
    (0..bytes.len() as u64 * 8)
        .filter(|page| bytes[usize::try_from(page / 8).unwrap()] >> (page % 8) & 1 != 0)
        .collect()
}

#[test]
fn a_log_of_no_bytes_wrapping_or_beyond_its_file_is_refused() {
    let map = |offset, size| DirtyLog::map(memfd(4096), offset, size).map(drop);
    assert!(matches!(map(0, 0), Err(LogError::Empty)));
    assert!(matches!(map(u64::MAX, 2), Err(LogError::Overflow)));
    assert!(matches!(
        map(4096, 1),
        Err(LogError::FileTooShort {
            needed: 4097,
            actual: 4096
        })
    ));
    assert!(matches!(map(0, 4097), Err(LogError::FileTooShort { .. })));
    assert!(
        matches!(map(100, 8), Err(LogError::Mmap(_))),
        "offset in a page"
    );
    assert!(map(0, 4096).is_ok());
}

#[test]
fn a_log_that_is_too_small_for_memory_is_refused() {
    let mem = memory(64 * LOG_PAGE);
    let (small, _) = log(7);
    assert!(matches!(
        mem.with_log(Some(small)),
        Err(MapError::LogTooSmall { needed, .. }) if needed == 64 * LOG_PAGE
    ));
    let (large, _) = log(8);
    let logged = mem.with_log(Some(large)).unwrap();
    // Memory that comes later must fit as well.
    let more = logged.with_region(
        region(64 * LOG_PAGE, LOG_PAGE),
        crate::SealPolicy::AllowUnsealed,
    );
    assert!(matches!(more, Err(MapError::LogTooSmall { .. })));
}

#[test]
fn marks_cover_each_page_that_a_range_touches_and_none_beyond_the_log() {
    let (log, file) = log(2);
    log.mark(4095, 1);
    assert_eq!(take(&file), [0]);
    log.mark(4095, 2);
    assert_eq!(take(&file), [0, 1]);
    log.mark(3 * LOG_PAGE, 2 * LOG_PAGE);
    assert_eq!(take(&file), [3, 4]);
    log.mark(0, 0);
    log.mark(16 * LOG_PAGE, 1);
    log.mark(u64::MAX, u64::MAX);
    assert_eq!(take(&file), [0u64; 0]);
    log.mark(15 * LOG_PAGE, u64::MAX);
    assert_eq!(take(&file), [15]);
}

#[test]
fn writes_through_the_map_are_marked_while_it_logs() {
    let mem = memory(16 * LOG_PAGE);
    let (log, file) = log(2);
    for _ in 0..3 {
        assert!(mem.write(5000, &[1; 5000]));
        assert_eq!(take(&file), [0u64; 0], "off");
        let logged = mem.with_log(Some(Arc::clone(&log))).unwrap();
        assert!(logged.generation() > mem.generation());
        assert!(logged.write(5000, &[1; 5000]));
        assert_eq!(take(&file), [1, 2], "on");
    }
}

const SIZE: u64 = 64 * LOG_PAGE;

fn contents(mem: &MemoryMap) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(SIZE).unwrap()];
    assert!(mem.read(0, &mut bytes));
    bytes
}

/// What the device side of a ring does with one chain that it is given.
#[derive(Debug, Clone)]
struct Step {
    /// Of the chain's buffers: page and offset of the start, length.
    buffers: Vec<(u64, u64, u32)>,
    write_offset: u32,
    bytes: Vec<u8>,
    from_guest: bool,
    arm: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let buffer = (8u64..60, 0u64..LOG_PAGE, 1u32..9000);
    (
        prop::collection::vec(buffer, 1..4),
        0u32..3000,
        prop::collection::vec(any::<u8>(), 1..9000),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(buffers, write_offset, bytes, from_guest, arm)| Step {
            buffers,
            write_offset,
            bytes,
            from_guest,
            arm,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The law of migration: a page that differs is a page that is marked, whichever way the device wrote to it, and
    /// however often the log was switched on and off before.
    #[test]
    fn pages_that_the_device_changes_are_marked(
        steps in prop::collection::vec(step(), 1..12),
        event_idx: bool,
        packed: bool,
        toggles in 0usize..4,
    ) {
        let mem = memory(SIZE);
        let features = RingFeatures { event_idx, packed, ..RingFeatures::default() };
        let config = if packed { packed_config(16, features) } else { config(16, features, 0) };
        let mut driver = DriverQueue::new(Arc::clone(&mem), &config).unwrap();
        let (log, file) = log(SIZE / LOG_PAGE / 8);
        let mut map = Arc::clone(&mem);
        for _ in 0..toggles {
            map = map.with_log(Some(Arc::clone(&log))).unwrap();
            map = map.with_log(None).unwrap();
        }
        map = map.with_log(Some(log)).unwrap();
        let mut device = DeviceQueue::new(map, &config).unwrap();
        device.suppress_kicks();
        take(&file);
        for step in steps {
            let buffers: Vec<_> = step
                .buffers
                .iter()
                .map(|(page, at, len)| DriverBuffer { addr: page * LOG_PAGE + at, len: *len, writable: true })
                .collect();
            prop_assert!(driver.add(&buffers, 0));
            let _ = driver.publish();
            let before = contents(&mem);
            let mut burst = Burst::new();
            prop_assert_eq!(device.pop_burst(&mut burst, 1).unwrap(), 1);
            let chain = burst.chain(0).unwrap();
            let writable = chain.writable();
            if step.from_guest {
                copy_from_other_guest(&writable, step.write_offset);
            } else {
                writable.write_at(step.write_offset, &step.bytes);
            }
            device.complete(chain.head(), 1);
            let _ = device.publish();
            if step.arm {
                let _ = device.arm_kicks();
            } else {
                device.suppress_kicks();
            }
            let after = contents(&mem);
            let marked = take(&file);
            for page in 0..SIZE / LOG_PAGE {
                let at = usize::try_from(page * LOG_PAGE).unwrap();
                let range = at..at + usize::try_from(LOG_PAGE).unwrap();
                prop_assert!(before[range.clone()] == after[range] || marked.contains(&page), "page {} is not marked", page);
            }
            while driver.poll_used().unwrap().is_some() {}
        }
    }
}

/// A frame of another guest, in its own ring and memory, copied guest to guest.
fn copy_from_other_guest(to: &crate::Segments<'_>, offset: u32) {
    let config = config(2, RingFeatures::default(), 0);
    let rings = memory(SIZE);
    assert!(rings.write(4 * LOG_PAGE, &[9; 9000]));
    let mut driver = DriverQueue::new(Arc::clone(&rings), &config).unwrap();
    assert!(driver.add(
        &[DriverBuffer {
            addr: 4 * LOG_PAGE,
            len: 9000,
            writable: false
        }],
        0
    ));
    let _ = driver.publish();
    let mut device = DeviceQueue::new(rings, &config).unwrap();
    let mut burst = Burst::new();
    assert_eq!(device.pop_burst(&mut burst, 1).unwrap(), 1);
    let chain = burst.chain(0).unwrap();
    chain.readable().copy_to(0, to, offset, 9000);
}
