//! Register traces and rings, honest and hostile, against a wire that remembers.
#![allow(
    clippy::cast_possible_truncation,
    clippy::decimal_bitwise_operands,
    reason = "descriptors are put together from small numbers"
)]
mod bad_inputs;
mod receive;
mod registers;
mod transmit;

use super::*;
use crate::{
    interrupt::IntxLine,
    net::{
        e1000::datapath::Burst,
        wire::{Offloads, Outgoing, Wire},
    },
};
use std::{collections::VecDeque, sync::atomic::AtomicBool};
use virtqueue::{DriverBuffer, NetHeader};
use vm_memory::{GuestAddress, GuestMemoryMmap};

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 1, 2, 3]);
const RAM: u64 = 1 << 20;
const TX_RING: u64 = 0x1000;
const RX_RING: u64 = 0x2000;
const BUFFERS: u64 = 0x1_0000;
/// Descriptors of each ring.
const COUNT: u32 = 16;

#[derive(Default)]
struct Line(AtomicBool);

impl IntxLine for Line {
    fn set(&self, level: bool) {
        self.0.store(level, Ordering::SeqCst);
    }
}

/// What was sent: header, head, buffers.
type Frame = (NetHeader, Vec<u8>, Vec<DriverBuffer>);

#[derive(Default)]
struct FakeWire {
    offloads: Offloads,
    sent: Vec<Frame>,
    flying: VecDeque<u64>,
    /// Tokens go to `flying` and stay there until this is set.
    done: bool,
    full: bool,
    incoming: VecDeque<(NetHeader, Vec<u8>)>,
    restarts: usize,
}

impl Wire for FakeWire {
    fn offloads(&self) -> Offloads {
        self.offloads
    }
    fn send(&mut self, frame: &Outgoing<'_>) -> bool {
        if self.full {
            return false;
        }
        self.sent
            .push((*frame.header, frame.head.to_vec(), frame.body.to_vec()));
        self.flying.push_back(frame.token);
        true
    }
    fn flush(&mut self) {}
    fn sent(&mut self) -> Option<u64> {
        self.flying.pop_front_if(|_| self.done)
    }
    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<NetHeader> {
        let (header, bytes) = self.incoming.pop_front()?;
        frame.clone_from(&bytes);
        Some(header)
    }
    fn restart(&mut self) {
        self.restarts += 1;
        self.flying.clear();
    }
}

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
        let ram = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let memory = MemoryMap::from_guest_memory(1, &ram).unwrap();
        let line = Arc::new(Line::default());
        let intx = Arc::new(Intx::new(Arc::clone(&line) as _));
        let mut device = Device::new(MAC, true, Arc::clone(&memory), intx);
        device.set_bus_master(true);
        Self {
            device,
            wire: FakeWire {
                done: true,
                offloads: Offloads {
                    checksum: true,
                    tso4: true,
                    tso6: true,
                },
                ..FakeWire::default()
            },
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
        self.device.read(register, self.now)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.device.write(register, value, self.now);
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

fn frame(len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
    frame[..6].copy_from_slice(&MAC.0);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
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

/// A TCP/IPv4 header as a driver leaves it for segmentation.
fn tcp_header() -> Vec<u8> {
    let mut header = vec![0; 54];
    header[12..14].copy_from_slice(&[8, 0]);
    header[14] = 0x45;
    header[23] = 6;
    header[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    header[46] = 0x50;
    let mut sum = crate::net::wire::Sum::default();
    sum.add(&header[26..34]);
    sum.add(&[0, 6]);
    header[50..52].copy_from_slice(&sum.fold().to_be_bytes());
    header
}
