//! Any register accesses on any memory, between an honest bus and an arbitrary wire: what the targets of all emulated NICs have in
//! common.
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
        nic::{Access, Doorbells, Model, Parts, Width},
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
    fn has_received(&self) -> bool {
        !self.incoming.is_empty()
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

/// A NIC under test.
struct Bench<'a, M: Model> {
    model: M,
    doorbells: Arc<M::Doorbells>,
    /// The registers that matter most, so that inputs find them.
    registers: &'a [Access],
    wire: AnyWire,
    memory: Arc<MemoryMap>,
    now: Instant,
}

/// Plays the input as what a driver, a switch and time do to the NIC that `build` makes.
pub(crate) fn run<M: Model>(bytes: &[u8], registers: &[Access], build: impl FnOnce(Parts) -> M) {
    let mut input = Input::new(bytes);
    let ram = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), RAM)]).unwrap();
    let memory = MemoryMap::from_guest_memory(1, &ram).unwrap();
    let mut model = build(Parts {
        mac: MacAddress([2; 6]),
        link: true,
        memory: Arc::clone(&memory),
        intx: Arc::new(Intx::new(Arc::new(Line))),
    });
    model.set_bus_master(true);
    let bits = input.u8();
    let mut bench = Bench {
        doorbells: model.doorbells(),
        model,
        registers,
        wire: AnyWire {
            offloads: Offloads {
                checksum: bits & 1 != 0,
                tso4: bits & 2 != 0,
                tso6: bits & 4 != 0,
                ecn: bits & 8 != 0,
            },
            ..AnyWire::default()
        },
        memory,
        now: Instant::now(),
    };
    while !input.is_empty() {
        bench.event(&mut input);
        bench.burst();
    }
}

impl<M: Model> Bench<'_, M> {
    fn burst(&mut self) {
        self.wire.moved = 0;
        let burst = self.model.burst(&mut self.wire, self.now);
        assert!(self.wire.moved <= BURST, "a burst without bounds");
        if burst.restart {
            self.wire.restart();
            self.model.restarted();
        }
    }

    fn write(&mut self, at: Access, value: u32) {
        if self.doorbells.ring(at, value).is_none() {
            self.model.write(at, value, self.now);
        }
    }

    fn event(&mut self, input: &mut Input<'_>) {
        match input.u8() % 16 {
            0 => {
                let at = first_bar(input.u16());
                self.write(at, input.u32());
            }
            1 => {
                self.model.read(first_bar(input.u16()), self.now);
            }
            2 => self.now += Duration::from_micros(input.u16().into()),
            3 => self.model.set_link(input.u8() & 1 != 0, self.now),
            4 => self.model.set_bus_master(input.u8() & 7 != 0),
            5..=7 => {
                let at = u64::from(input.u16());
                let len = usize::from(input.u8());
                let _ = self.memory.write(at, input.take(len));
            }
            8 | 9 => self.frame_comes(input),
            14 => self.migrate(),
            15 => {
                let at = any(input);
                self.model.read(at, self.now);
                self.write(at, input.u32());
            }
            n => {
                let at = self.registers[usize::from(input.u8()) % self.registers.len()];
                // Small values are what lengths, heads and tails are made of.
                let value = if n & 1 == 0 {
                    input.u32()
                } else {
                    u32::from(input.u8()) << 4
                };
                self.write(at, value);
            }
        }
    }

    fn frame_comes(&mut self, input: &mut Input<'_>) {
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
        self.wire.incoming.push_back((header, frame));
    }

    /// A snapshot is the same after it was restored.
    fn migrate(&mut self) {
        let saved = self.model.save(self.now);
        self.wire.restart();
        self.model.restore(saved.clone(), self.now);
        self.model.restarted();
        assert_eq!(self.model.save(self.now), saved);
    }
}

/// A double word of the first BAR.
fn first_bar(index: u16) -> Access {
    Access {
        bar: 0,
        offset: u32::from(index) << 2,
        width: Width::Dword,
    }
}

/// Any access that the bus lets through.
fn any(input: &mut Input<'_>) -> Access {
    let bits = input.u8();
    let offset = u32::from(input.u16());
    let (width, mask) = match bits & 3 {
        0 => (Width::Byte, 0),
        1 => (Width::Word, 1),
        _ => (Width::Dword, 3),
    };
    Access {
        bar: bits >> 2 & 1,
        offset: offset & !mask,
        width,
    }
}
