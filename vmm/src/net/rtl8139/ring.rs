//! The transmit ring of C+: descriptors in, packets out, descriptors given back in order (C+ 8.2.1).
use super::{offload, spec};
use crate::net::{
    nic::{Flights, Packet, Sender},
    wire::{Offloads, Wire},
};
use virtqueue::MemoryMap;

/// Descriptors fetched for one event at most.
const DESCRIPTOR_BUDGET: u32 = 512;

/// Descriptors of one packet, to be given back when it is sent.
#[derive(Debug, Clone, Copy)]
struct Flight {
    /// The first one.
    start: u32,
    count: u32,
    /// The one after the last.
    end: u32,
    /// Status bits; none: it was given to the wire.
    errors: u32,
}

/// What giving back brought about: packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reported {
    pub(super) good: u32,
    pub(super) bad: u32,
}

/// Where frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cable {
    Connected,
    /// Nowhere.
    Missing,
    /// They come back.
    Loopback,
}

/// What one step of the ring came to.
#[derive(Debug)]
pub(super) enum Step {
    /// The next descriptor is the driver's.
    Idle,
    /// The budget is spent.
    Spent,
    /// The wire is full.
    Full,
    /// A packet was dealt with.
    Done,
    /// In loopback mode: a frame of it comes back.
    Looped,
}

/// The transmit side of C+.
#[derive(Debug, Default)]
pub(super) struct Transmitter {
    /// Next descriptor to fetch.
    fetch: u32,
    /// Next descriptor to give back.
    head: u32,
    /// Descriptors between them.
    outstanding: u32,
    /// Those of the packet that is put together, and its first one.
    open: u32,
    start: u32,
    /// What its first descriptor asks for: both double words of options.
    options: Option<(u32, u32)>,
    packet: Packet,
    sender: Sender,
    flights: Flights<Flight>,
    /// The packet is prepared and waits for room in the wire.
    waiting: bool,
    spent: u32,
}

impl Transmitter {
    /// Forgets everything; `head`: where to go on. True: the wire still reads packets of the past life.
    pub(super) fn restart(&mut self, head: u32) -> bool {
        self.fetch = head;
        self.head = head;
        self.outstanding = 0;
        self.open = 0;
        self.options = None;
        self.packet.clear();
        self.sender.restart();
        self.waiting = false;
        self.flights.clear()
    }

    /// Goes on behind what it has fetched, of which nothing is given back. True: the wire still reads packets of that.
    pub(super) fn abandon(&mut self) -> bool {
        self.restart(self.fetch)
    }

    /// Goes on from a snapshot.
    pub(super) fn resume(&mut self, head: u32, sent: u16) -> bool {
        let flying = self.restart(head % spec::MAX_RING);
        self.sender.resume(sent);
        self.flights.resume(sent);
        flying
    }

    /// The first descriptor that is not given back.
    pub(super) fn head(&self) -> u32 {
        self.head
    }

    /// Segments of its packet that are sent.
    pub(super) fn sent(&self) -> u16 {
        self.flights.returned()
    }

    /// Descriptors were fetched and are not given back.
    pub(super) fn has_flights(&self) -> bool {
        self.outstanding > 0
    }

    /// A packet waits for room in the wire.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Starts a burst.
    pub(super) fn refill(&mut self) {
        self.spent = 0;
    }

    /// Takes back what the wire has sent and gives its descriptors back.
    pub(super) fn reap(&mut self, wire: &mut dyn Wire, ring: u64, memory: &MemoryMap) -> Reported {
        self.flights.reap(wire);
        let mut reported = Reported::default();
        while let Some(flight) = self.flights.pop() {
            let mut at = flight.start;
            for _ in 0..flight.count {
                at = give_back(ring, at, flight.errors, memory);
            }
            // Whatever the driver did to its ring meanwhile, we go on behind what we read.
            self.head = flight.end;
            self.outstanding = self.outstanding.saturating_sub(flight.count);
            let good = flight.errors == 0;
            reported.good += u32::from(good);
            reported.bad += u32::from(!good);
        }
        reported
    }

    /// Fetches descriptors up to the end of a packet, and sends it. `frame`: for what comes back.
    pub(super) fn step(
        &mut self,
        ring: u64,
        cable: Cable,
        wire: &mut dyn Wire,
        frame: &mut Vec<u8>,
        memory: &MemoryMap,
    ) -> Step {
        if !self.waiting {
            if !self.fetch_packet(ring, memory) {
                let spent = self.spent >= DESCRIPTOR_BUDGET;
                return if spent { Step::Spent } else { Step::Idle };
            }
            let mut offloads = wire.offloads();
            if cable == Cable::Loopback {
                // What loops never meets a back-end.
                offloads = Offloads::default();
            }
            if !self.prepare(offloads, memory) {
                self.finish(spec::TXD_TES);
                return Step::Done;
            }
        }
        match cable {
            Cable::Connected => {}
            Cable::Loopback => return self.loop_back(frame, memory),
            Cable::Missing => {
                self.finish(spec::TXD_TES | spec::TXD_LNKF);
                return Step::Done;
            }
        }
        let sent = self
            .sender
            .send(&self.packet, &mut self.flights, wire, memory);
        self.waiting = !sent;
        if !sent {
            return Step::Full;
        }
        self.finish(0);
        Step::Done
    }

    /// One frame of the packet; there may be as many as it has bytes.
    fn loop_back(&mut self, frame: &mut Vec<u8>, memory: &MemoryMap) -> Step {
        let gathered = self.sender.gather(&self.packet, memory, frame);
        self.waiting = gathered == Some(false);
        if !self.waiting {
            self.finish(0);
        }
        gathered.map_or(Step::Done, |_| Step::Looped)
    }

    fn prepare(&mut self, offloads: Offloads, memory: &MemoryMap) -> bool {
        let Some((first, second)) = self.options else {
            return false;
        };
        let request = offload::request(first, second, &mut self.packet, memory);
        self.packet.apply(&request, offloads, memory)
    }

    fn finish(&mut self, errors: u32) {
        self.flights.close(Flight {
            start: self.start,
            count: self.open,
            end: self.fetch,
            errors,
        });
        self.open = 0;
        self.options = None;
        self.waiting = false;
        self.sender.restart();
    }

    /// Fetches until a packet is complete; false: it is not.
    fn fetch_packet(&mut self, ring: u64, memory: &MemoryMap) -> bool {
        if self.open == 0 {
            self.packet.clear();
            self.start = self.fetch;
        }
        while self.spent < DESCRIPTOR_BUDGET && !self.is_full() {
            let mut bytes = [0; 16];
            if !memory.read(descriptor_at(ring, self.fetch), &mut bytes) {
                return false;
            }
            let descriptor = Descriptor::decode(bytes);
            if descriptor.options & spec::D_OWN == 0 {
                return false;
            }
            self.spent += 1;
            self.outstanding += 1;
            self.open += 1;
            self.fetch = next(self.fetch, descriptor.options);
            if self.take(&descriptor, memory) {
                return true;
            }
        }
        false
    }

    /// All descriptors of the ring are on their way.
    fn is_full(&self) -> bool {
        self.fetch == self.head && self.outstanding > 0
    }

    /// Takes one descriptor in; true: it ends a packet.
    fn take(&mut self, descriptor: &Descriptor, memory: &MemoryMap) -> bool {
        if descriptor.options & spec::D_FS != 0 {
            self.packet.clear();
            self.options = Some((descriptor.options, descriptor.tag));
        } else if self.options.is_none() {
            self.packet.spoil();
        }
        self.packet
            .push(descriptor.addr, descriptor.options & 0xffff, memory);
        let last = descriptor.options & spec::D_LS != 0;
        // A packet that fills the ring and does not end never will.
        let endless = !last && (self.is_full() || self.open >= spec::MAX_RING);
        if endless {
            self.packet.spoil();
        }
        last || endless
    }
}

/// A descriptor as read once from guest memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor {
    /// Flags and length.
    pub(super) options: u32,
    /// VLAN.
    pub(super) tag: u32,
    pub(super) addr: u64,
}

impl Descriptor {
    /// Decodes.
    pub(super) fn decode(bytes: [u8; 16]) -> Self {
        let all = u128::from_le_bytes(bytes);
        let dword = |index: u32| u32::try_from(all >> (32 * index) & 0xffff_ffff).unwrap_or(0);
        Self {
            options: dword(0),
            tag: dword(1),
            addr: u64::from(dword(3)) << 32 | u64::from(dword(2)),
        }
    }
}

/// Where descriptor `index` lies.
pub(super) fn descriptor_at(ring: u64, index: u32) -> u64 {
    ring.wrapping_add(u64::from(index) * spec::DESCRIPTOR_LEN)
}

/// The descriptor after `index`. A ring without end has as many as a ring can have.
pub(super) fn next(index: u32, options: u32) -> u32 {
    if options & spec::D_EOR != 0 || index + 1 >= spec::MAX_RING {
        0
    } else {
        index + 1
    }
}

/// Gives a transmit descriptor back; returns the one after it.
fn give_back(ring: u64, index: u32, errors: u32, memory: &MemoryMap) -> u32 {
    let at = descriptor_at(ring, index);
    let mut bytes = [0; 4];
    if !memory.read(at, &mut bytes) {
        return next(index, 0);
    }
    let old = u32::from_le_bytes(bytes);
    // MSS and checksum bits lie where errors are reported.
    let done = old & (spec::D_EOR | spec::D_FS | spec::D_LS | 0xffff) | errors;
    let _ = memory.write(at, &done.to_le_bytes());
    next(index, old)
}
