//! Target `e1000`: any register accesses on any memory, between an honest bus and an arbitrary wire.
use crate::input::Input;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use virtqueue::{MemoryMap, NetHeader};
use vm_memory::{GuestAddress, GuestMemoryMmap};
use vmm::{
    interrupt::IntxLine,
    net::{
        MacAddress,
        e1000::{device::Device, spec},
        wire::{MAX_BUFFERS, MAX_HEAD, Offloads, Outgoing, Wire},
    },
    pci::Intx,
};

const RAM: usize = 1 << 16;
/// Frames that the wire takes before it is full.
const WIRE: usize = 64;
/// Frames moved in one burst at most: segments until the wire is full, and what it receives.
const BURST: usize = 256;

struct Line;

impl IntxLine for Line {
    fn set(&self, _level: bool) {}
}

#[derive(Default)]
struct AnyWire {
    offloads: Offloads,
    flying: VecDeque<u64>,
    incoming: VecDeque<(NetHeader, Vec<u8>)>,
    /// Frames moved since the burst began.
    moved: usize,
}

impl Wire for AnyWire {
    fn offloads(&self) -> Offloads {
        self.offloads
    }
    fn send(&mut self, frame: &Outgoing<'_>) -> bool {
        if self.flying.len() == WIRE {
            return false;
        }
        self.moved += 1;
        assert!(frame.head.len() <= MAX_HEAD && frame.body.len() <= MAX_BUFFERS);
        for buffer in frame.body {
            let end = buffer.addr.checked_add(buffer.len.into()).unwrap();
            assert!(end <= RAM as u64 && !buffer.writable, "not guest RAM");
        }
        if frame.header.needs_csum {
            let len: usize = frame.body.iter().map(|buffer| buffer.len as usize).sum();
            let at = usize::from(frame.header.csum_start) + usize::from(frame.header.csum_offset);
            assert!(
                at + 2 <= len + frame.head.len(),
                "checksum beyond the frame"
            );
        }
        self.flying.push_back(frame.token);
        true
    }
    fn flush(&mut self) {}
    fn sent(&mut self) -> Option<u64> {
        self.flying.pop_front()
    }
    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<NetHeader> {
        self.moved += 1;
        let (header, bytes) = self.incoming.pop_front()?;
        frame.clone_from(&bytes);
        Some(header)
    }
    fn restart(&mut self) {
        self.flying.clear();
    }
}

/// The registers that matter most, so that inputs find them.
const REGISTERS: [u32; 24] = [
    spec::CTRL,
    spec::EECD,
    spec::EERD,
    spec::MDIC,
    spec::VET,
    spec::ICR,
    spec::ITR,
    spec::ICS,
    spec::IMS,
    spec::IMC,
    spec::RCTL,
    spec::TCTL,
    spec::RDBAL,
    spec::RDLEN,
    spec::RDH,
    spec::RDT,
    spec::RDTR,
    spec::TDBAL,
    spec::TDLEN,
    spec::TDH,
    spec::TDT,
    spec::TIDV,
    spec::RXCSUM,
    spec::VFTA,
];

/// Plays the input as what a driver, a switch and time do.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let ram = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), RAM)]).unwrap();
    let memory = MemoryMap::from_guest_memory(1, &ram).unwrap();
    let intx = Arc::new(Intx::new(Arc::new(Line)));
    let mut device = Device::new(MacAddress([2; 6]), true, Arc::clone(&memory), intx);
    device.set_bus_master(true);
    let bits = input.u8();
    let mut wire = AnyWire {
        offloads: Offloads {
            checksum: bits & 1 != 0,
            tso4: bits & 2 != 0,
            tso6: bits & 4 != 0,
        },
        ..AnyWire::default()
    };
    let mut now = Instant::now();
    while !input.is_empty() {
        event(&mut input, &mut device, &mut wire, &memory, &mut now);
        wire.moved = 0;
        let burst = device.burst(&mut wire, now);
        assert!(wire.moved <= BURST, "a burst without bounds");
        if burst.restart {
            wire.restart();
            device.restarted();
        }
    }
}

fn event(
    input: &mut Input<'_>,
    device: &mut Device,
    wire: &mut AnyWire,
    memory: &MemoryMap,
    now: &mut Instant,
) {
    match input.u8() % 16 {
        0 => {
            let offset = u32::from(input.u16()) << 2;
            device.write(offset, input.u32(), *now);
        }
        1 => {
            device.read(u32::from(input.u16()) << 2, *now);
        }
        2 => *now += Duration::from_micros(input.u16().into()),
        3 => device.set_link(input.u8() & 1 != 0, *now),
        4 => device.set_bus_master(input.u8() & 7 != 0),
        5..=7 => {
            let at = u64::from(input.u16());
            let len = usize::from(input.u8());
            let _ = memory.write(at, input.take(len));
        }
        8 | 9 => {
            let header = NetHeader {
                needs_csum: input.u8() & 1 != 0,
                csum_start: input.u16(),
                csum_offset: input.u8().into(),
                ..NetHeader::default()
            };
            let mut frame = vec![0xff; usize::from(input.u16() % 0x4100)];
            let len = usize::from(input.u8()).min(frame.len());
            let bytes = input.take(len);
            frame[..bytes.len()].copy_from_slice(bytes);
            wire.incoming.push_back((header, frame));
        }
        n => {
            let register = REGISTERS[usize::from(input.u8()) % REGISTERS.len()];
            // Small values are what lengths, heads and tails are made of.
            let value = if n & 1 == 0 {
                input.u32()
            } else {
                u32::from(input.u8()) << 4
            };
            device.write(register, value, *now);
        }
    }
}
