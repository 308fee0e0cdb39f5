//! Register traces and rings, honest and hostile, against a wire that remembers.
#![allow(
    clippy::cast_possible_truncation,
    reason = "descriptors are put together from small numbers"
)]
mod bad_inputs;
mod bus_master;
mod initialization;
mod link;
mod loopback;
mod receive;
mod registers;
mod snapshot;
mod stock_driver;
mod transmit;

use super::{Device, spec};
use crate::net::{
    nic::{
        Access, Doorbells, Model, Width, fcs,
        testing::{FakeWire, Line, MAC, frame, parts},
    },
    wire::Wire,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use virtqueue::MemoryMap;

const INIT_BLOCK: u64 = 0x400;
const TX_RING: u64 = 0x1000;
const RX_RING: u64 = 0x2000;
/// Where frames to send lie.
const DATA: u64 = 0x8000;
/// Receive buffers, 2 KiB apart.
const BUFFERS: u64 = 0x1_0000;
/// Descriptors of each ring, as a power of two.
const LOG_COUNT: u16 = 3;
const COUNT: u32 = 1 << LOG_COUNT;
/// Bytes of a receive buffer, but for tests that say otherwise.
const SIZE: u32 = 0x600;
const WHOLE: u16 = spec::D_STP | spec::D_ENP;

/// Every software style in both access modes.
const SETUPS: [(u16, bool); 8] = [
    (0, false),
    (1, false),
    (2, false),
    (3, false),
    (0, true),
    (1, true),
    (2, true),
    (3, true),
];

struct Bench {
    device: Device,
    wire: FakeWire,
    memory: Arc<MemoryMap>,
    line: Arc<Line>,
    now: Instant,
    style: u16,
    dwio: bool,
    /// Where the next transmit descriptor goes.
    tail: u32,
}

impl Bench {
    /// As after power-on.
    fn cold(chip: spec::Chip) -> Self {
        let (parts, line) = parts();
        let memory = Arc::clone(&parts.memory);
        let mut device = Device::new(chip, parts);
        device.set_bus_master(true);
        Self {
            device,
            wire: FakeWire::able(),
            memory,
            line,
            now: Instant::now(),
            style: 0,
            dwio: false,
            tail: 0,
        }
    }

    /// Running, in this style and access mode, with `mode` in CSR15.
    fn with_mode(style: u16, dwio: bool, mode: u16) -> Self {
        let mut bench = Self::cold(spec::AM79C970A);
        if dwio {
            bench.go_dwio();
        }
        bench.set_up(style, mode);
        bench.set_csr(0, spec::CSR0_STRT | spec::CSR0_IENA | spec::CSR0_IDON);
        bench
    }

    fn new(style: u16, dwio: bool) -> Self {
        Self::with_mode(style, dwio, 0)
    }

    /// As Linux's driver has it.
    fn pci() -> Self {
        Self::new(2, false)
    }

    fn go_dwio(&mut self) {
        self.write(spec::DWIO_RDP, Width::Dword, 0);
        self.dwio = true;
    }

    /// Style, rings and initialization block; not started.
    fn set_up(&mut self, style: u16, mode: u16) {
        self.style = style;
        self.set_bcr(spec::BCR_SWS, style);
        for index in 0..COUNT {
            self.give_buffer(index, SIZE);
        }
        self.put_block(mode, 0);
        self.set_csr(spec::CSR_IADR_LOW, INIT_BLOCK as u16);
        self.set_csr(spec::CSR_IADR_HIGH, 0);
        self.set_csr(0, spec::CSR0_INIT);
        assert_ne!(self.csr(0) & spec::CSR0_IDON, 0);
    }

    fn put_block(&mut self, mode: u16, ladrf: u64) {
        let mut block = Vec::new();
        let code = LOG_COUNT;
        block.extend(mode.to_le_bytes());
        if self.style == 0 {
            block.extend(MAC.0);
            block.extend(ladrf.to_le_bytes());
            for ring in [RX_RING, TX_RING] {
                let field = ring as u32 | u32::from(code) << 29;
                block.extend(field.to_le_bytes());
            }
            assert_eq!(block.len(), 24);
        } else {
            block.extend((code << 12 | code << 4).to_le_bytes());
            block.extend(MAC.0);
            block.extend([0; 2]);
            block.extend(ladrf.to_le_bytes());
            for ring in [RX_RING, TX_RING] {
                block.extend((ring as u32).to_le_bytes());
            }
            assert_eq!(block.len(), 28);
        }
        self.put(INIT_BLOCK, &block);
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        assert!(self.memory.write(at, bytes));
    }

    fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        assert!(self.memory.read(at, &mut bytes));
        bytes
    }

    fn access(offset: u32, width: Width) -> Access {
        Access {
            bar: spec::IO_BAR,
            offset,
            width,
        }
    }

    fn write(&mut self, offset: u32, width: Width, value: u32) {
        let at = Self::access(offset, width);
        if self.device.doorbells().ring(at, value).is_none() {
            self.device.write(at, value, self.now);
        }
    }

    fn read(&mut self, offset: u32, width: Width) -> u32 {
        let at = Self::access(offset, width);
        let value = u64::from(self.device.read(at, self.now));
        (value & ((1 << (8 * width.bytes())) - 1)) as u32
    }

    /// Selects a register; where its data port is.
    fn select(&mut self, index: u16, wide: u32, narrow: u32) -> (u32, Width) {
        if self.dwio {
            self.write(spec::DWIO_RAP, Width::Dword, index.into());
            (wide, Width::Dword)
        } else {
            self.write(spec::WIO_RAP, Width::Word, index.into());
            (narrow, Width::Word)
        }
    }

    fn csr(&mut self, index: u16) -> u16 {
        let (port, width) = self.select(index, spec::DWIO_RDP, spec::WIO_RDP);
        self.read(port, width) as u16
    }

    fn set_csr(&mut self, index: u16, value: u16) {
        let (port, width) = self.select(index, spec::DWIO_RDP, spec::WIO_RDP);
        self.write(port, width, value.into());
    }

    fn bcr(&mut self, index: u16) -> u16 {
        let (port, width) = self.select(index, spec::DWIO_BDP, spec::WIO_BDP);
        self.read(port, width) as u16
    }

    fn set_bcr(&mut self, index: u16, value: u16) {
        let (port, width) = self.select(index, spec::DWIO_BDP, spec::WIO_BDP);
        self.write(port, width, value.into());
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
        for _ in 0..2000 {
            if !self.burst() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Lets time pass until the device wants to act by itself, and lets it.
    fn wait(&mut self) -> Duration {
        let deadline = self.device.burst(&mut self.wire, self.now).deadline;
        let pause = deadline.unwrap().saturating_duration_since(self.now);
        self.now += pause;
        self.settle();
        pause
    }

    fn descriptor_at(&self, ring: u64, index: u32) -> u64 {
        ring + u64::from(index) * if self.style == 0 { 8 } else { 16 }
    }

    /// A descriptor as its style has it, OWN last.
    fn put_descriptor(&mut self, ring: u64, index: u32, addr: u64, len: u32, flags: u16) {
        let at = self.descriptor_at(ring, index);
        let [.., count0, count1] = len.wrapping_neg().to_be_bytes();
        let count = [count1, count0 | 0xf0];
        let addr = (addr as u32).to_le_bytes();
        let [low, high] = flags.to_le_bytes();
        match self.style {
            0 => {
                self.put(at, &addr[..3]);
                self.put(at + 4, &count);
                self.put(at + 6, &[0; 2]);
                self.put(at + 3, &[high]);
            }
            1 | 2 => {
                self.put(at, &addr);
                self.put(at + 4, &count);
                self.put(at + 8, &[0; 8]);
                self.put(at + 6, &[low, high]);
            }
            _ => {
                self.put(at, &[0; 4]);
                self.put(at + 8, &addr);
                self.put(at + 4, &count);
                self.put(at + 6, &[low, high]);
            }
        }
    }

    /// Upper half of RMD1 or TMD1.
    fn flags(&self, ring: u64, index: u32) -> u16 {
        let at = self.descriptor_at(ring, index);
        let bytes = match self.style {
            0 => vec![0, self.bytes(at + 3, 1)[0]],
            _ => self.bytes(at + 6, 2),
        };
        u16::from_le_bytes(bytes.try_into().unwrap())
    }

    /// RMD2 or TMD2 (16 bits of it in style 0).
    fn result(&self, ring: u64, index: u32) -> u32 {
        let at = self.descriptor_at(ring, index);
        let bytes = match self.style {
            0 => [self.bytes(at + 6, 2), vec![0; 2]].concat(),
            1 | 2 => self.bytes(at + 8, 4),
            _ => self.bytes(at, 4),
        };
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    /// Errors of a frame that was sent.
    fn errors(&self, index: u32) -> u16 {
        let result = self.result(TX_RING, index);
        if self.style == 0 {
            result as u16
        } else {
            (result >> 16) as u16
        }
    }

    /// Gives receive descriptor `index` to the device.
    fn give_buffer(&mut self, index: u32, size: u32) {
        let buffer = BUFFERS + 0x800 * u64::from(index);
        self.put_descriptor(RX_RING, index, buffer, size, spec::D_OWN);
    }

    /// Puts a transmit descriptor at the tail; returns which one.
    fn push(&mut self, addr: u64, len: u32, flags: u16) -> u32 {
        let index = self.tail;
        self.put_descriptor(TX_RING, index, addr, len, spec::D_OWN | flags);
        self.tail = (self.tail + 1) % COUNT;
        index
    }

    /// CSR0.TDMD.
    fn demand(&mut self) {
        self.set_csr(0, spec::CSR0_TDMD | spec::CSR0_IENA);
        self.settle();
    }

    /// A frame in one descriptor, and sends it; returns which one.
    fn send(&mut self, bytes: &[u8]) -> u32 {
        self.put(DATA, bytes);
        let index = self.push(DATA, bytes.len() as u32, WHOLE);
        self.demand();
        index
    }

    /// A frame comes in.
    fn bring(&mut self, frame: Vec<u8>) {
        self.wire.bring(frame);
        self.settle();
    }

    /// The frame that begins in descriptor `index` and ends in its buffer: flags and bytes, FCS included.
    fn received(&self, index: u32) -> (u16, Vec<u8>) {
        let flags = self.flags(RX_RING, index);
        let len = self.result(RX_RING, index) as usize;
        let buffer = BUFFERS + 0x800 * u64::from(index);
        (flags, self.bytes(buffer, len))
    }

    /// All that left.
    fn sent(&self) -> Vec<Vec<u8>> {
        (0..self.wire.sent.len())
            .map(|index| self.wire.bytes(index, &self.memory))
            .collect()
    }
}

/// A frame and its FCS.
fn with_fcs(bytes: &[u8]) -> Vec<u8> {
    [bytes, &fcs::of(bytes)].concat()
}

/// A frame for another address.
fn frame_to(destination: [u8; 6], len: usize) -> Vec<u8> {
    let mut bytes = frame(len);
    bytes[..6].copy_from_slice(&destination);
    bytes
}
