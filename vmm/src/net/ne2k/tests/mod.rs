//! Register traces as drivers make them, and hostile ones, against a wire that remembers.
#![allow(
    clippy::cast_possible_truncation,
    reason = "registers are put together from small numbers"
)]
mod bad_inputs;
mod loopback;
mod receive;
mod registers;
mod remote;
mod snapshot;
mod transmit;

use super::{Device, spec};
use crate::net::nic::{
    Access, Model, Width, fcs,
    testing::{FakeWire, Line, MAC, frame, parts},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use virtqueue::{MemoryMap, NetHeader};

/// Pages of the ring that Linux's driver makes.
const START: u8 = 0x4c;
const STOP: u8 = 0x80;
/// And its transmit buffer.
const BUFFER: u16 = 0x4000;
/// Commands that leave the NIC running: page 0, no remote DMA.
const RUN: u8 = spec::CR_STA | spec::CR_RD_ABORT;

struct Bench {
    device: Device,
    wire: FakeWire,
    memory: Arc<MemoryMap>,
    line: Arc<Line>,
    now: Instant,
    /// The page that the driver reads next.
    read: u8,
}

impl Bench {
    /// After power-on.
    fn new() -> Self {
        let (parts, line) = parts();
        let memory = Arc::clone(&parts.memory);
        Self {
            device: Device::new(parts),
            wire: FakeWire::able(),
            memory,
            line,
            now: Instant::now(),
            read: START + 1,
        }
    }

    /// As Linux's ne2k-pci sets it up.
    fn running() -> Self {
        let mut bench = Self::new();
        bench.write8(spec::CR, spec::CR_STP | spec::CR_RD_ABORT);
        for (register, value) in [
            (spec::DCR, 0x49),
            (spec::RBCR0, 0),
            (spec::RBCR1, 0),
            (spec::RCR, spec::RCR_MON),
            (spec::TCR, spec::TCR_LB_INTERNAL),
            (spec::PSTART, START),
            (spec::BNRY, START),
            (spec::PSTOP, STOP),
            (spec::ISR, 0xff),
        ] {
            bench.write8(register, value);
        }
        for (register, byte) in (spec::PAR0..).zip(MAC.0) {
            bench.set(1, register, byte);
        }
        bench.set(1, spec::CURR, START + 1);
        bench.write8(spec::CR, RUN);
        bench.write8(spec::TCR, 0);
        bench.write8(spec::RCR, spec::RCR_AB);
        bench.write8(spec::IMR, 0x3f);
        bench
    }

    fn access(offset: u32, width: Width) -> Access {
        Access {
            bar: spec::IO_BAR,
            offset,
            width,
        }
    }

    fn write(&mut self, offset: u32, width: Width, value: u32) -> bool {
        self.device
            .write(Self::access(offset, width), value, self.now)
    }

    fn write8(&mut self, offset: u32, value: u8) -> bool {
        self.write(offset, Width::Byte, value.into())
    }

    fn read(&mut self, offset: u32, width: Width) -> u32 {
        let value = self.device.read(Self::access(offset, width), self.now);
        let bits = 8 * width.bytes();
        (u64::from(value) & ((1 << bits) - 1)) as u32
    }

    fn read8(&mut self, offset: u32) -> u8 {
        self.read(offset, Width::Byte) as u8
    }

    /// Reads a register of another page; page 0 is selected after it.
    fn get(&mut self, page: u8, register: u32) -> u8 {
        self.write8(spec::CR, page << 6 | spec::CR_RD_ABORT);
        let value = self.read8(register);
        self.write8(spec::CR, spec::CR_RD_ABORT);
        value
    }

    /// Writes a register of another page; page 0 is selected after it.
    fn set(&mut self, page: u8, register: u32, value: u8) {
        self.write8(spec::CR, page << 6 | spec::CR_RD_ABORT);
        self.write8(register, value);
        self.write8(spec::CR, spec::CR_RD_ABORT);
    }

    /// Sets remote DMA up and starts it.
    fn remote(&mut self, at: u16, len: u16, command: u8) {
        let [at0, at1] = at.to_le_bytes();
        let [len0, len1] = len.to_le_bytes();
        self.write8(spec::RBCR0, len0);
        self.write8(spec::RBCR1, len1);
        self.write8(spec::RSAR0, at0);
        self.write8(spec::RSAR1, at1);
        self.write8(spec::CR, command);
    }

    /// Reads packet memory, as wide as can be.
    fn fetch(&mut self, at: u16, len: usize) -> Vec<u8> {
        self.remote(at, len as u16, spec::CR_RD_READ | spec::CR_STA);
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let value = self.read(spec::DATA_PORT, Width::Dword);
            bytes.extend(value.to_le_bytes());
        }
        bytes.truncate(len);
        self.write8(spec::ISR, spec::ISR_RDC);
        bytes
    }

    /// Writes packet memory.
    fn store(&mut self, at: u16, bytes: &[u8]) {
        let len = bytes.len().next_multiple_of(4) as u16;
        self.remote(at, len, spec::CR_RD_WRITE | spec::CR_STA);
        for part in bytes.chunks(4) {
            let mut dword = [0; 4];
            dword[..part.len()].copy_from_slice(part);
            let value = u32::from_le_bytes(dword);
            self.write(spec::DATA_PORT, Width::Dword, value);
        }
        assert_ne!(self.read8(spec::ISR) & spec::ISR_RDC, 0);
        self.write8(spec::ISR, spec::ISR_RDC);
    }

    /// Has a frame sent, as Linux does; it is not sent before a burst.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.store(BUFFER, bytes);
        self.transmit(BUFFER, bytes.len())
    }

    fn transmit(&mut self, at: u16, len: usize) -> bool {
        let [low, high] = (len as u16).to_le_bytes();
        self.write8(spec::TBCR0, low);
        self.write8(spec::TBCR1, high);
        self.write8(spec::TPSR, at.to_be_bytes()[0]);
        self.write8(spec::CR, RUN | spec::CR_TXP)
    }

    fn burst(&mut self) -> bool {
        let burst = self.device.burst(&mut self.wire, self.now);
        assert!(!burst.restart, "nothing of the driver's is on the wire");
        burst.busy
    }

    fn settle(&mut self) {
        for _ in 0..1000 {
            if !self.burst() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// The next frame in the ring as Linux reads it: status and bytes without FCS, which is checked. The boundary follows.
    fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        if self.get(1, spec::CURR) == self.read {
            return None;
        }
        let at = u16::from(self.read) << 8;
        let header = self.fetch(at, 4);
        let len = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let mut bytes = self.fetch(at + 4, len);
        let sequence = bytes.split_off(len - 4);
        if header[0] & spec::RSR_PRX != 0 {
            assert_eq!(sequence, fcs::of(&bytes));
        }
        let pages = u8::try_from((len + 4).div_ceil(256)).unwrap();
        let next = if self.read + pages >= STOP {
            self.read + pages - (STOP - START)
        } else {
            self.read + pages
        };
        assert_eq!(header[1], next);
        self.read = next;
        self.write8(spec::BNRY, next - 1);
        Some((header[0], bytes))
    }

    /// Frames come in and are read one by one.
    fn receive(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<(u8, Vec<u8>)> {
        self.wire.incoming.extend(
            frames
                .into_iter()
                .map(|frame| (NetHeader::default(), frame)),
        );
        let mut received = Vec::new();
        loop {
            let busy = self.burst();
            match self.next_frame() {
                Some(frame) => received.push(frame),
                None if busy => {}
                None => return received,
            }
        }
    }

    /// All that left.
    fn sent(&self) -> Vec<Vec<u8>> {
        (0..self.wire.sent.len())
            .map(|index| self.wire.bytes(index, &self.memory))
            .collect()
    }
}

/// Our frame, to somebody else.
fn to(destination: [u8; 6], len: usize) -> Vec<u8> {
    let mut bytes = frame(len);
    bytes[..6].copy_from_slice(&destination);
    bytes
}
