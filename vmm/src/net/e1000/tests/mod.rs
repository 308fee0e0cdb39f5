//! Register traces and rings, honest and hostile, against a wire that remembers.
#![allow(
    clippy::cast_possible_truncation,
    clippy::decimal_bitwise_operands,
    reason = "descriptors are put together from small numbers"
)]
mod access;
mod bad_inputs;
mod bus_master;
mod filters;
mod link;
mod loopback;
mod receive;
mod registers;
mod snapshot;
mod statistics;
mod timers;
mod transmit;

use super::*;
use crate::net::{
    e1000::Device,
    nic::{
        Burst, Model,
        testing::{FakeWire, Line, MAC, RAM, frame, parts, tcp_header},
    },
    wire::{Offloads, Wire},
};
use virtqueue::NetHeader;

const TX_RING: u64 = 0x1000;
const RX_RING: u64 = 0x2000;
const BUFFERS: u64 = 0x1_0000;
/// Descriptors of each ring.
const COUNT: u32 = 16;

struct Bench {
    device: Device,
    wire: FakeWire,
    memory: Arc<MemoryMap>,
    line: Arc<Line>,
    now: Instant,
    tail: u32,
}

impl Bench {
    fn new() -> Self {
        let (parts, line) = parts();
        let memory = Arc::clone(&parts.memory);
        let mut device = Device::new(spec::I82540EM, parts);
        device.set_bus_master(true);
        Self {
            device,
            wire: FakeWire::able(),
            memory,
            line,
            now: Instant::now(),
            tail: 0,
        }
    }

    /// Rings of `COUNT` descriptors; all but one receive descriptor given away.
    fn running() -> Self {
        let mut bench = Self::new();
        bench.program();
        bench
    }

    fn program(&mut self) {
        self.tail = 0;
        for index in 0..u64::from(COUNT) {
            let mut descriptor = [0; 16];
            let buffer = BUFFERS + index * 0x1000;
            descriptor[..8].copy_from_slice(&buffer.to_le_bytes());
            assert!(self.memory.write(RX_RING + 16 * index, &descriptor));
        }
        for (register, value) in [
            (spec::TDBAL, TX_RING as u32),
            (spec::TDLEN, COUNT * 16),
            (spec::TDH, 0),
            (spec::TDT, 0),
            (spec::TCTL, spec::TCTL_EN),
            (spec::RDBAL, RX_RING as u32),
            (spec::RDLEN, COUNT * 16),
            (spec::RDH, 0),
            (spec::RDT, COUNT - 1),
            (spec::VET, 0x8100),
            (spec::RXCSUM, spec::RXCSUM_IPOFLD | spec::RXCSUM_TUOFLD),
            (spec::RCTL, spec::RCTL_EN | spec::RCTL_BAM),
            (spec::IMS, u32::MAX),
        ] {
            self.write(register, value);
        }
    }

    fn read(&mut self, register: u32) -> u32 {
        self.device.read_register(register, self.now)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.device.write_register(register, value, self.now);
    }

    fn burst(&mut self) -> Burst {
        let burst = self.device.burst(&mut self.wire, self.now);
        if burst.restart {
            self.wire.restart();
            self.device.restarted();
        }
        burst
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            if !self.burst().busy {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Puts a transmit descriptor at the tail.
    fn push(&mut self, low: u64, high: u64) {
        let at = TX_RING + u64::from(self.tail) * 16;
        assert!(self.memory.write(at, &low.to_le_bytes()));
        assert!(self.memory.write(at + 8, &high.to_le_bytes()));
        self.tail = (self.tail + 1) % COUNT;
    }

    fn ring_doorbell(&mut self) {
        let tail = self.tail;
        self.write(spec::TDT, tail);
    }

    /// A legacy descriptor that reports.
    fn push_legacy(&mut self, addr: u64, len: u64, command: u8) {
        self.push(addr, len | u64::from(command | spec::TXD_RS) << 24);
    }

    fn tx_status(&self, index: u64) -> u8 {
        self.byte(TX_RING + 16 * index + 12)
    }

    fn byte(&self, at: u64) -> u8 {
        let mut byte = [0];
        assert!(self.memory.read(at, &mut byte));
        byte[0]
    }

    fn rx(&self, index: u64) -> (u16, u8, u8, u16) {
        let mut bytes = [0; 8];
        assert!(self.memory.read(RX_RING + 16 * index + 8, &mut bytes));
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        (half(0), bytes[4], bytes[5], half(6))
    }

    fn mdic(&mut self, op: u32, register: u32, data: u32) -> u32 {
        self.write(
            spec::MDIC,
            op << 26 | spec::PHY_ADDRESS << 21 | register << 16 | data,
        );
        self.read(spec::MDIC)
    }
}

/// Context descriptor for a TCP/IPv4 packet with 54 bytes of headers.
fn push_context(bench: &mut Bench, mss: u64, hdrlen: u64) {
    let low = 14 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40;
    let command = u64::from(spec::TXD_DEXT | spec::TXD_TSE | spec::TUCMD_IP | spec::TUCMD_TCP);
    bench.push(low, command << 24 | hdrlen << 40 | mss << 48);
}

fn push_tso_data(bench: &mut Bench, addr: u64, len: u64) {
    let command = spec::TXD_DEXT | spec::TXD_TSE | spec::TXD_EOP | spec::TXD_RS;
    let options = u64::from(spec::POPTS_IXSM | spec::POPTS_TXSM);
    bench.push(
        addr,
        len | 1 << 20 | u64::from(command) << 24 | options << 40,
    );
}
