use std::sync::Arc;

use super::*;
use crate::{
    Burst, DeviceQueue, DriverBuffer, DriverQueue, MemoryMap, RingFeatures, SealPolicy,
    testing::{config, memfd, memory},
};

const SIZE: u64 = 1 << 20;

/// A map of a file, which is also returned.
fn map() -> (Arc<MemoryMap>, std::fs::File) {
    let file = memfd(SIZE);
    let region = crate::RegionSpec {
        guest_addr: 0,
        user_addr: 1 << 40,
        size: SIZE,
        mmap_offset: 0,
        file: file.try_clone().unwrap(),
    };
    (
        MemoryMap::map(1, vec![region], SealPolicy::AllowUnsealed).unwrap(),
        file,
    )
}

#[test]
fn an_access_to_truncated_memory_goes_on_with_zeros_and_is_told() {
    survive_truncation().unwrap();
    let (mem, file) = map();
    let other = memory(SIZE);
    assert!(mem.write(SIZE - 4, b"tail"));
    assert!(other.write(0, b"other"));
    let before = truncations();
    file.set_len(4096).unwrap();
    assert!(!mem.is_truncated(), "not touched yet");
    let mut bytes = [1; 4];
    assert!(mem.read(SIZE - 4, &mut bytes));
    assert_eq!(bytes, [0; 4]);
    assert!(mem.is_truncated());
    assert!(truncations() > before);
    assert!(mem.write(SIZE - 4, b"more"), "it goes on, into nowhere");
    assert!(!other.is_truncated());
    assert!(other.read(0, &mut bytes));
    assert_eq!(&bytes, b"othe");
    // A map of the next generation shares the mapping and its fate.
    assert!(mem.with_log(None).unwrap().is_truncated());
}

#[test]
fn a_ring_in_truncated_memory_faults_or_is_empty_and_nothing_else() {
    survive_truncation().unwrap();
    let (mem, file) = map();
    let config = config(16, RingFeatures::default(), 0);
    let mut driver = DriverQueue::new(Arc::clone(&mem), &config).unwrap();
    let mut device = DeviceQueue::new(Arc::clone(&mem), &config).unwrap();
    let buffer = DriverBuffer {
        addr: 0x8000,
        len: 64,
        writable: true,
    };
    assert!(driver.add(&[buffer], 1));
    let _ = driver.publish();
    let mut burst = Burst::new();
    assert_eq!(device.pop_burst(&mut burst, 1).unwrap(), 1);
    file.set_len(0).unwrap();
    let chain = burst.chain(0).unwrap();
    assert_eq!(chain.writable().write_at(0, &[7; 64]), 64);
    device.complete(chain.head(), 64);
    let _ = device.publish();
    burst.clear();
    let _ = device.pop_burst(&mut burst, 16);
    let _ = device.arm_kicks();
    assert!(device.memory_is_truncated());
}

#[test]
fn entries_are_used_again() {
    let count = || entries().count();
    drop((0..50).map(|_| map()).collect::<Vec<_>>());
    let after_first = count();
    for _ in 0..20 {
        drop((0..10).map(|_| map()).collect::<Vec<_>>());
    }
    // Other tests of this process enter some meanwhile.
    assert!(
        count() < after_first + 50,
        "{} after {after_first}",
        count()
    );
}

/// In a process of its own, as it ends it.
#[test]
fn a_fault_elsewhere_ends_the_process_as_ever() {
    const CHILD: &str = "VIRTQUEUE_TEST_FOREIGN_FAULT";
    if std::env::var_os(CHILD).is_none() {
        use std::os::unix::process::ExitStatusExt;
        let name = "truncation::tests::a_fault_elsewhere_ends_the_process_as_ever";
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let status = command
            .args([name, "--exact"])
            .env(CHILD, "1")
            .output()
            .unwrap()
            .status;
        assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
        return;
    }
    survive_truncation().unwrap();
    let file = memfd(4096);
    let length = 4096;
    let mapping = vm_memory::MmapRegion::<()>::from_file(
        vm_memory::FileOffset::new(file.try_clone().unwrap(), 0),
        length,
    )
    .unwrap();
    file.set_len(0).unwrap();
    // SAFETY: mapped; that the access faults is the point.
    unsafe { mapping.as_ptr().read_volatile() };
    unreachable!("SIGBUS was swallowed");
}
