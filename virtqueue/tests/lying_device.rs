//! The driver side does not believe its device.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking; its numbers are its own"
)]

use std::sync::Arc;

use virtqueue::{DriverBuffer, DriverQueue, MemoryMap, QueueConfig, QueueFault};
use vm_memory::{GuestAddress, GuestMemoryMmap};

const USED: u64 = 0x2000;

fn driver() -> (Arc<MemoryMap>, DriverQueue) {
    let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1_0000)]).unwrap();
    let mem = MemoryMap::from_guest_memory(1, &ram).unwrap();
    let config = QueueConfig {
        size: 8,
        desc: 0,
        avail: 0x1000,
        used: USED,
        ..QueueConfig::default()
    };
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

fn use_one(mem: &MemoryMap, index: u16, id: u32) {
    assert!(mem.write(USED + 4, &id.to_le_bytes()));
    assert!(mem.write(USED + 2, &index.to_le_bytes()));
}

#[test]
fn ids_that_were_never_given_latch() {
    for id in [1, 7, 8, 0x1_0000, u32::MAX] {
        let (mem, mut driver) = driver();
        use_one(&mem, 1, id);
        assert_eq!(driver.poll_used(), Err(QueueFault::Used(id)));
        use_one(&mem, 1, 0);
        assert_eq!(
            driver.poll_used(),
            Err(QueueFault::Used(id)),
            "the first fault stays"
        );
    }
}

#[test]
fn an_index_beyond_what_was_given_latches() {
    let (mem, mut driver) = driver();
    use_one(&mem, 3, 0);
    assert_eq!(driver.poll_used(), Err(QueueFault::Used(3)));
}

#[test]
fn a_chain_used_twice_latches() {
    let (mem, mut driver) = driver();
    let buffer = DriverBuffer {
        addr: 0x8000,
        len: 64,
        writable: true,
    };
    assert!(driver.add(&[buffer], 2));
    use_one(&mem, 1, 0);
    assert_eq!(driver.poll_used().unwrap().unwrap().token, 1);
    assert!(mem.write(USED + 12, &0u32.to_le_bytes()));
    assert!(mem.write(USED + 2, &2u16.to_le_bytes()));
    assert_eq!(driver.poll_used(), Err(QueueFault::Used(0)));
}

#[test]
fn a_full_table_refuses_and_keeps_what_it_has() {
    let (_mem, mut driver) = driver();
    let buffer = DriverBuffer {
        addr: 0x8000,
        len: 64,
        writable: true,
    };
    assert!(!driver.add(&[buffer; 7], 2), "six are free");
    assert!(driver.add(&[buffer; 6], 2));
    assert!(!driver.add(&[buffer], 3) && !driver.add_indirect(0x9000, &[buffer], 3));
    assert!(!driver.add(&[], 4));
    assert_eq!(driver.free(), 0);
}
