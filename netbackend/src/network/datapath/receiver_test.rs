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
    DriverBuffer, DriverQueue, MemoryMap, NetHeader, QueueConfig, RegionSpec, RingFeatures,
    RingPosition, SealPolicy,
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
    wants_source: false,
    waited_for: false,
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
    let mut receiver = Receiver::new(&mut ring, &mut burst, &shared, (MERGEABLE, PortId(0)), 32);
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

#[test]
fn the_gateway_learns_where_a_frame_came_in_and_nobody_else_does() {
    for wants_source in [false, true] {
        let memory = memory();
        let mut driver = DriverQueue::new(Arc::clone(&memory), &config()).unwrap();
        let start = RingStart {
            memory: Arc::clone(&memory),
            config: config(),
            kick: Kick::Polled,
            call: None,
            err: None,
            enabled: true,
        };
        let mut ring = Ring::new(start, Arc::default()).unwrap();
        let shared = PortShared::new("a".into(), Carrier::VhostUser, Role::Guest, None, 1);
        let mut burst = Burst::new();
        post(&mut driver, 4);
        let offloads = PortOffloads {
            wants_source,
            ..MERGEABLE
        };
        let told = (offloads, PortId(0x1234));
        let mut receiver = Receiver::new(&mut ring, &mut burst, &shared, told, 2);
        // As a packet with its header, and as any frame.
        let start = [0; 12 + 60];
        let packet = Packet::new(&start, 60, || None).unwrap();
        assert!(receiver.put_packet(&packet));
        assert!(receiver.put(&Outgoing::plain(&[0; 60], &[])));
        receiver.finish(&Tally::default());
        for buffer in 0..2 {
            let mut header = [0; 12];
            let at = BUFFERS_AT + buffer * u64::from(BUFFER);
            assert!(memory.read(at, &mut header));
            let expected = if wants_source { 0x1234 } else { 0 };
            let header = NetHeader::decode(&header).unwrap();
            assert_eq!(header.hdr_len, expected, "buffer {buffer}");
        }
    }
}
