//! For tests of models: memory, an interrupt line, and a wire that remembers.
use super::{Model, Parts};
use crate::{
    interrupt::IntxLine,
    net::{
        MacAddress,
        wire::{Offloads, Outgoing, Wire},
    },
    pci::Intx,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use virtqueue::{DriverBuffer, MemoryMap, NetHeader};
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// The NIC's address in tests.
pub(crate) const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 1, 2, 3]);
/// Bytes of guest RAM in tests.
pub(crate) const RAM: u64 = 1 << 20;

/// An interrupt line.
#[derive(Default)]
pub(crate) struct Line(AtomicBool);

impl Line {
    pub(crate) fn is_high(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl IntxLine for Line {
    fn set(&self, level: bool) {
        self.0.store(level, Ordering::SeqCst);
    }
}

/// What a model is built from, and its line.
pub(crate) fn parts() -> (Parts, Arc<Line>) {
    let len = usize::try_from(RAM).unwrap();
    let ram = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), len)]).unwrap();
    let line = Arc::new(Line::default());
    let parts = Parts {
        mac: MAC,
        link: true,
        memory: MemoryMap::from_guest_memory(1, &ram).unwrap(),
        intx: Arc::new(Intx::new(Arc::clone(&line) as _)),
    };
    (parts, line)
}

/// What was sent: header, head, buffers.
pub(crate) type Frame = (NetHeader, Vec<u8>, Vec<DriverBuffer>);

/// A wire that remembers.
#[derive(Default)]
pub(crate) struct FakeWire {
    pub(crate) offloads: Offloads,
    pub(crate) sent: Vec<Frame>,
    pub(crate) flying: VecDeque<u64>,
    /// Tokens go to `flying` and stay there until this is set.
    pub(crate) done: bool,
    pub(crate) full: bool,
    /// It is full after this many frames more.
    pub(crate) room: Option<usize>,
    pub(crate) incoming: VecDeque<(NetHeader, Vec<u8>)>,
    pub(crate) restarts: usize,
}

impl FakeWire {
    /// One with all offloads, where frames are sent at once.
    pub(crate) fn able() -> Self {
        Self {
            done: true,
            offloads: Offloads {
                checksum: true,
                tso4: true,
                tso6: true,
                ecn: true,
            },
            ..Self::default()
        }
    }

    /// A frame comes in.
    pub(crate) fn bring(&mut self, frame: Vec<u8>) {
        self.incoming.push_back((NetHeader::default(), frame));
    }

    /// The bytes of frame `index` that was sent.
    pub(crate) fn bytes(&self, index: usize, memory: &MemoryMap) -> Vec<u8> {
        let (_, head, body) = &self.sent[index];
        let mut frame = head.clone();
        for buffer in body {
            let mut bytes = vec![0; buffer.len as usize];
            assert!(memory.read(buffer.addr, &mut bytes));
            frame.extend(bytes);
        }
        frame
    }
}

impl Wire for FakeWire {
    fn offloads(&self) -> Offloads {
        self.offloads
    }
    fn send(&mut self, frame: &Outgoing<'_>) -> bool {
        if self.full || self.room == Some(0) {
            return false;
        }
        self.room = self.room.map(|room| room - 1);
        self.sent
            .push((*frame.header, frame.head.to_vec(), frame.body.to_vec()));
        self.flying.push_back(frame.token);
        true
    }
    fn flush(&mut self) {}
    fn sent(&mut self) -> Option<u64> {
        self.flying.pop_front_if(|_| self.done)
    }
    fn has_received(&self) -> bool {
        !self.incoming.is_empty()
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

/// A frame of another protocol, for us.
pub(crate) fn frame(len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
    frame[..6].copy_from_slice(&MAC.0);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

/// A TCP/IPv4 header as a driver leaves it for segmentation: the pseudo-header's sum has no length.
pub(crate) fn tcp_header() -> Vec<u8> {
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

/// What bus_master tests need to know of a bench.
pub(crate) struct BusTest<B, M> {
    pub(crate) parts: fn(&mut B) -> (&mut M, &mut FakeWire),
    pub(crate) settle: fn(&mut B),
    /// Has the device send one packet more.
    pub(crate) send: fn(&mut B),
    /// Neither of the first two was reported.
    pub(crate) assert_untold: fn(&mut B),
}

impl<B, M: Model> BusTest<B, M> {
    /// The bus is taken away from a NIC with two packets on their way; with the bus again it sends a third.
    pub(crate) fn run(&self, bench: &mut B) {
        (self.parts)(bench).1.done = false;
        (self.send)(bench);
        (self.send)(bench);
        let flying = (self.parts)(bench).1.flying.clone();
        assert_eq!(flying.len(), 2);
        let (device, wire) = (self.parts)(bench);
        device.set_bus_master(false);
        wire.done = true;
        (self.settle)(bench);
        let restarts = (self.parts)(bench).1.restarts;
        assert_eq!(restarts, 1, "their buffers are read no more");
        // What the wire tells late is of a past life, with and without the bus.
        for on in [false, true] {
            let (device, wire) = (self.parts)(bench);
            device.set_bus_master(on);
            wire.flying.clone_from(&flying);
            (self.settle)(bench);
            (self.assert_untold)(bench);
        }
        (self.send)(bench);
        assert_eq!((self.parts)(bench).1.sent.len(), 3);
    }
}
