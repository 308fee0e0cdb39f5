//! Register traces and rings, honest and hostile, against a wire that remembers.
#![allow(
    clippy::cast_possible_truncation,
    clippy::decimal_bitwise_operands,
    reason = "descriptors are put together from small numbers"
)]
mod bad_inputs;
mod bus_master;
mod c_mode;
mod link;
mod plus;
mod registers;
mod snapshot;

use super::{Device, spec};
use crate::net::{
    nic::{
        Access, Doorbells, Model, Width,
        testing::{FakeWire, Line, MAC, frame, parts, tcp_header},
    },
    wire::{Offloads, Sum, Wire, replace_partial},
};
use std::{sync::Arc, time::Instant};
use virtqueue::{MemoryMap, NetHeader};

const TX_RING: u64 = 0x1000;
const RX_RING: u64 = 0x2000;
/// Receive buffers of C+, 2 KiB apart.
const BUFFERS: u64 = 0x1_0000;
/// The ring of C mode.
const RX_BYTES: u64 = 0x4_0000;
/// Descriptors of each C+ ring.
const COUNT: u32 = 8;
/// First and last descriptor of a packet.
const WHOLE: u32 = spec::D_FS | spec::D_LS;

struct Bench {
    device: Device,
    wire: FakeWire,
    memory: Arc<MemoryMap>,
    line: Arc<Line>,
    now: Instant,
    /// Where the next C+ transmit descriptor goes.
    tail: u32,
}

impl Bench {
    fn new(chip: spec::Chip) -> Self {
        let (parts, line) = parts();
        let memory = Arc::clone(&parts.memory);
        let now = Instant::now();
        let mut device = Device::new(chip, parts, now);
        device.set_bus_master(true);
        Self {
            device,
            wire: FakeWire::able(),
            memory,
            line,
            now,
            tail: 0,
        }
    }

    /// C mode as 8139too sets it up: a ring of 32 KiB without wrap.
    fn c() -> Self {
        let mut bench = Self::new(spec::C);
        bench.write32(spec::RBSTART, RX_BYTES as u32);
        bench.write8(spec::CR, spec::CR_TE | spec::CR_RE);
        let accept = spec::RCR_APM | spec::RCR_AB;
        bench.write32(spec::RCR, accept | spec::RCR_WRAP | 2 << 11);
        for index in 0..4 {
            bench.write32(spec::TSAD0 + 4 * index, 0x8000 + 0x800 * index);
        }
        bench.write16(spec::IMR, u16::MAX);
        bench
    }

    /// C+ as 8139cp sets it up.
    fn plus() -> Self {
        let mut bench = Self::new(spec::C_PLUS);
        for index in 0..COUNT {
            bench.give_buffer(index, 0x600);
        }
        let cpcr = spec::CPCR_TX | spec::CPCR_RX | spec::CPCR_RX_CHKSUM;
        bench.write16(spec::CPCR, cpcr);
        for (register, value) in [
            (spec::TNPDS, TX_RING),
            (spec::TNPDS_HIGH, 0),
            (spec::RDSAR, RX_RING),
            (spec::RDSAR_HIGH, 0),
        ] {
            bench.write32(register, value as u32);
        }
        bench.write8(spec::CR, spec::CR_TE | spec::CR_RE);
        bench.write32(spec::RCR, spec::RCR_APM | spec::RCR_AB);
        bench.write16(spec::IMR, u16::MAX);
        bench
    }

    fn write(&mut self, offset: u32, width: Width, value: u32) {
        let at = Access {
            bar: spec::MEMORY_BAR,
            offset,
            width,
        };
        if self.device.doorbells().ring(at, value).is_none() {
            self.device.write(at, value, self.now);
        }
    }

    fn write8(&mut self, offset: u32, value: u8) {
        self.write(offset, Width::Byte, value.into());
    }

    fn write16(&mut self, offset: u32, value: u16) {
        self.write(offset, Width::Word, value.into());
    }

    fn write32(&mut self, offset: u32, value: u32) {
        self.write(offset, Width::Dword, value);
    }

    fn read(&mut self, offset: u32, width: Width) -> u32 {
        let at = Access {
            bar: spec::IO_BAR,
            offset,
            width,
        };
        let bits = 8 * width.bytes();
        let value = u64::from(self.device.read(at, self.now)) & ((1 << bits) - 1);
        value as u32
    }

    fn read8(&mut self, offset: u32) -> u8 {
        self.read(offset, Width::Byte) as u8
    }

    fn read16(&mut self, offset: u32) -> u16 {
        self.read(offset, Width::Word) as u16
    }

    fn read32(&mut self, offset: u32) -> u32 {
        self.read(offset, Width::Dword)
    }

    fn burst(&mut self) -> bool {
        let burst = self.device.burst(&mut self.wire, self.now);
        if burst.restart {
            self.wire.restart();
            self.device.restarted();
        }
        burst.busy
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            if !self.burst() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        assert!(self.memory.read(at, &mut bytes));
        bytes
    }

    fn dword(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    /// Gives C+ receive descriptor `index` to the device.
    fn give_buffer(&mut self, index: u32, size: u32) {
        let end = if index + 1 == COUNT { spec::D_EOR } else { 0 };
        let buffer = BUFFERS + u64::from(index) * 0x800;
        self.descriptor(RX_RING, index, spec::D_OWN | end | size, 0, buffer);
    }

    fn descriptor(&mut self, ring: u64, index: u32, options: u32, tag: u32, addr: u64) {
        let at = ring + 16 * u64::from(index);
        assert!(self.memory.write(at + 4, &tag.to_le_bytes()));
        assert!(self.memory.write(at + 8, &addr.to_le_bytes()));
        assert!(self.memory.write(at, &options.to_le_bytes()));
    }

    /// Puts a C+ transmit descriptor at the tail.
    fn push(&mut self, options: u32, tag: u32, addr: u64, len: u32) {
        let end = if self.tail + 1 == COUNT {
            spec::D_EOR
        } else {
            0
        };
        let options = spec::D_OWN | end | options | len;
        self.descriptor(TX_RING, self.tail, options, tag, addr);
        self.tail = (self.tail + 1) % COUNT;
    }

    fn poll(&mut self) {
        self.write8(spec::TPPOLL, spec::TPPOLL_NPQ);
        self.settle();
    }

    /// Has C-mode descriptor `index` sent.
    fn send(&mut self, index: u32, len: u32) {
        self.write32(spec::TSD0 + 4 * index, len);
        self.settle();
    }

    /// All that left.
    fn sent(&self) -> Vec<Vec<u8>> {
        (0..self.wire.sent.len())
            .map(|index| self.wire.bytes(index, &self.memory))
            .collect()
    }
}

/// A TCP or UDP packet over IPv4 with a payload and no checksums.
fn packet(protocol: u8, payload: usize) -> Vec<u8> {
    let mut bytes = tcp_header();
    bytes[23] = protocol;
    bytes[50..52].fill(0);
    bytes.extend((0..payload).map(|i| (i % 249) as u8));
    let total = (bytes.len() - 14) as u16;
    bytes[16..18].copy_from_slice(&total.to_be_bytes());
    bytes
}

/// Folded sums of IP header and of transport with pseudo-header: all ones where they are right.
fn sums(frame: &[u8]) -> (u16, u16) {
    let mut ip = Sum::default();
    ip.add(&frame[14..34]);
    let mut transport = Sum::default();
    transport.add(&frame[26..34]);
    transport.add(&[0, frame[23]]);
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    transport.add(&(total as u16 - 20).to_be_bytes());
    transport.add(&frame[34..14 + total]);
    (ip.fold(), transport.fold())
}
