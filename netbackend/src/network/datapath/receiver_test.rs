use super::super::frame::Outgoing;
use super::super::ring::Ring;
use super::*;
use crate::network::{
    command::{Kick, RingStart},
    counters::Carrier,
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{fs::File, sync::Arc};
use switch::Role;
use virtqueue::{
    DriverBuffer, DriverQueue, MemoryMap, QueueConfig, RegionSpec, RingFeatures, RingPosition,
    SealPolicy,
};

const RING: u16 = 256;
/// Bytes of each receive buffer.
const BUFFER: u32 = 1024;
const MEMORY: u64 = 1 << 20;
const BUFFERS_AT: u64 = 1 << 16;

const MERGEABLE: PortOffloads = PortOffloads {
    header_len: 12,
    mergeable: true,
    tx_checksum: false,
    tx_tso4: false,
    tx_tso6: false,
    tx_ecn: false,
    tx_ufo: false,
    tx_uso: false,
    rx_checksum: false,
    rx_tso4: false,
    rx_tso6: false,
    rx_ecn: false,
    rx_ufo: false,
    rx_uso4: false,
    rx_uso6: false,
};

fn memory() -> Arc<MemoryMap> {
    let file = File::from(memfd_create(c"receiver", MFdFlags::empty()).unwrap());
    file.set_len(MEMORY).unwrap();
    let region = RegionSpec {
        guest_addr: 0,
        user_addr: 0,
        size: MEMORY,
        mmap_offset: 0,
        file,
    };
    MemoryMap::map(1, vec![region], SealPolicy::AllowUnsealed).unwrap()
}

fn config() -> QueueConfig {
    QueueConfig {
        size: RING,
        desc: 0,
        avail: 0x2000,
        used: 0x3000,
        features: RingFeatures::default(),
        position: RingPosition::default(),
    }
}

fn post(driver: &mut DriverQueue, count: u64) {
    for index in 0..count {
        let buffer = DriverBuffer {
            addr: BUFFERS_AT + index * u64::from(BUFFER),
            len: BUFFER,
            writable: true,
        };
        assert!(driver.add(&[buffer], index));
    }
    let _ = driver.publish();
}

/// A frame that takes `buffers` buffers.
fn frame(buffers: u32) -> Vec<u8> {
    vec![0x5a; (buffers * BUFFER - 12) as usize]
}

#[test]
fn a_full_burst_looks_again_for_buffers_posted_meanwhile() {
    let memory = memory();
    let mut driver = DriverQueue::new(Arc::clone(&memory), &config()).unwrap();
    let start = RingStart {
        memory,
        config: config(),
        kick: Kick::Polled,
        call: None,
        err: None,
        enabled: true,
    };
    let mut ring = Ring::new(start, Arc::default()).unwrap();
    let shared = PortShared::new("a".into(), Carrier::VhostUser, Role::Guest, None, 1);
    let mut burst = Burst::new();
    // As many as a burst holds, so that the avail index is not loaded while they last.
    post(&mut driver, Burst::MAX as u64);
    let mut receiver = Receiver::new(&mut ring, &mut burst, &shared, MERGEABLE, 32);
    let two = frame(2);
    for _ in 0..31 {
        assert!(receiver.put(&Outgoing::plain(&two, &[])));
    }
    // Two buffers of the burst are left for a frame of five; now the driver adds more.
    post(&mut driver, 64);
    let five = frame(5);
    assert!(receiver.put(&Outgoing::plain(&five, &[])), "there is room");
    receiver.finish(&Tally::default());
    assert_eq!(ring.position().next_used, 31 * 2 + 5);
}
