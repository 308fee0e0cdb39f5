//! The transmit ring: descriptors in, packets out, descriptors reported in order (SDM 3.3, 3.4).
use super::{
    descriptor::{Context, Descriptor, Kind},
    packet::Packet,
    segment::Segmenter,
    spec,
};
use crate::net::wire::{Offloads, Outgoing, Wire};
use std::collections::VecDeque;
use virtqueue::MemoryMap;

/// Descriptors fetched for one event at most.
const DESCRIPTOR_BUDGET: u32 = 512;
/// Descriptors of one packet at most: what goes on and on is cut off and dropped.
const MAX_DESCRIPTORS: u32 = 256;
/// Packets on their way at most.
const MAX_FLIGHTS: usize = 512;

/// The ring as the registers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ring {
    /// Guest physical address.
    pub(super) base: u64,
    /// Descriptors.
    pub(super) len: u32,
}

impl Ring {
    /// Where descriptor `index` lies.
    pub(super) fn at(&self, index: u32) -> u64 {
        self.base
            .wrapping_add(u64::from(index) * spec::DESCRIPTOR_LEN)
    }

    /// The descriptor after `index`.
    pub(super) fn next(&self, index: u32) -> u32 {
        if index + 1 >= self.len { 0 } else { index + 1 }
    }
}

/// Descriptors of one packet (or of a context), to be reported when it is sent.
#[derive(Debug, Clone, Copy)]
struct Flight {
    count: u32,
    /// How many want a report.
    reports: u32,
    /// The last one does.
    last_reports: bool,
    /// Their interrupt may be delayed.
    delayed: bool,
    /// Frames of it that the wire still reads.
    outstanding: u32,
}

/// What reporting brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reported {
    /// Some descriptor was written back that wants an interrupt now.
    pub(super) now: bool,
    /// Some that wants it delayed.
    pub(super) delayed: bool,
    /// The new head.
    pub(super) head: Option<u32>,
}

/// What one step of the ring came to.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Nothing left, or the budget is spent.
    Idle,
    /// The wire is full.
    Full,
    /// It was given to the wire.
    Sent {
        /// Bytes.
        len: usize,
        /// The back-end segments it.
        segmented: bool,
    },
    /// It was refused.
    Dropped,
    /// In loopback mode: it comes back.
    Loop(&'a Packet),
}

/// Settings from registers, for one burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// The ring.
    pub(super) ring: Ring,
    /// TDT.
    pub(super) tail: u32,
    /// Ethertype of inserted tags, if tags are inserted.
    pub(super) tags: Option<u16>,
    /// Frames come back.
    pub(super) loopback: bool,
}

/// The transmit side.
#[derive(Debug, Default)]
pub(super) struct Transmitter {
    /// Next descriptor to fetch.
    fetch: u32,
    /// Next descriptor to report: TDH.
    head: u32,
    contexts: [Context; 2],
    packet: Packet,
    segmenter: Segmenter,
    /// Descriptors of the packet so far.
    flight: Option<Flight>,
    /// The packet is prepared and waits for room in the wire.
    waiting: bool,
    flights: VecDeque<Flight>,
    /// Number of the first of `flights`.
    first: u32,
    /// Tokens of past lives are recognized by it.
    epoch: u32,
    spent: u32,
}

impl Transmitter {
    /// Forgets everything; `head`: where to go on. True: the wire still reads packets of the past life.
    pub(super) fn restart(&mut self, head: u32) -> bool {
        let mut flights = self.flights.iter().chain(&self.flight);
        let flying = flights.any(|flight| flight.outstanding > 0);
        self.packet.clear();
        self.segmenter.restart();
        self.flight = None;
        self.waiting = false;
        self.flights.clear();
        self.first = 0;
        self.epoch = self.epoch.wrapping_add(1);
        self.fetch = head;
        self.head = head;
        flying
    }

    /// A reset also forgets contexts.
    pub(super) fn reset(&mut self) -> bool {
        self.contexts = [Context::default(); 2];
        self.restart(0)
    }

    /// Starts a burst.
    pub(super) fn refill(&mut self) {
        self.spent = 0;
    }

    /// Takes back what the wire has sent and reports it in order.
    pub(super) fn reap(&mut self, wire: &mut dyn Wire, ring: Ring, memory: &MemoryMap) -> Reported {
        while let Some(token) = wire.sent() {
            let number = u32::try_from(token & 0xffff_ffff).unwrap_or(0);
            let index = usize::try_from(number.wrapping_sub(self.first)).unwrap_or(usize::MAX);
            let ours = token >> 32 == u64::from(self.epoch);
            // A packet whose segments did not all find room comes after the others.
            let flight = match self.flights.len() {
                count if count == index => self.flight.as_mut(),
                _ => self.flights.get_mut(index),
            };
            if let Some(flight) = flight.filter(|_| ours) {
                flight.outstanding = flight.outstanding.saturating_sub(1);
            }
        }
        self.report(ring, memory)
    }

    fn report(&mut self, ring: Ring, memory: &MemoryMap) -> Reported {
        let mut reported = Reported::default();
        while let Some(flight) = self.flights.pop_front_if(|flight| flight.outstanding == 0) {
            self.first = self.first.wrapping_add(1);
            for index in 0..flight.count {
                let last = index + 1 == flight.count;
                if flight.reports > 0 && (last || flight.reports > 1 || !flight.last_reports) {
                    write_back(ring.at(self.head), memory);
                }
                self.head = ring.next(self.head);
            }
            reported.now |= flight.reports > 0 && !flight.delayed;
            reported.delayed |= flight.reports > 0 && flight.delayed;
            reported.head = Some(self.head);
        }
        reported
    }

    /// Fetches descriptors up to the end of a packet, and sends it.
    pub(super) fn step<'a>(
        &'a mut self,
        settings: &Settings,
        wire: &mut dyn Wire,
        memory: &MemoryMap,
    ) -> Step<'a> {
        if !self.waiting {
            if !self.fetch_packet(settings, memory) {
                return Step::Idle;
            }
            let [plain, segmenting] = &self.contexts;
            let mut offloads = wire.offloads();
            if settings.loopback {
                // What loops never meets a back-end.
                offloads = Offloads::default();
            }
            if !self
                .packet
                .prepare([plain, segmenting], offloads, settings.tags, memory)
            {
                self.finish();
                return Step::Dropped;
            }
        }
        if settings.loopback {
            self.finish();
            return Step::Loop(&self.packet);
        }
        let sent = self.send(wire, memory);
        self.waiting = !sent;
        if !sent {
            return Step::Full;
        }
        let sent = Step::Sent {
            len: self.packet.len(),
            segmented: self.packet.segmented(),
        };
        self.finish();
        sent
    }

    /// Gives the packet to the wire, whole or in segments; false: the wire is full.
    fn send(&mut self, wire: &mut dyn Wire, memory: &MemoryMap) -> bool {
        let number = u32::try_from(self.flights.len())
            .map_or(self.first, |count| self.first.wrapping_add(count));
        let token = u64::from(self.epoch) << 32 | u64::from(number);
        let Some(flight) = &mut self.flight else {
            return true;
        };
        if let Some(cut) = self.packet.cut() {
            loop {
                let step = self.segmenter.step(&self.packet, &cut, token, wire, memory);
                let Some(last) = step else {
                    return false;
                };
                flight.outstanding += 1;
                if last {
                    return true;
                }
            }
        }
        let outgoing = Outgoing {
            header: &self.packet.header,
            head: self.packet.head(),
            body: &self.packet.buffers,
            token,
        };
        let sent = wire.send(&outgoing);
        flight.outstanding += u32::from(sent);
        sent
    }

    fn finish(&mut self) {
        self.flights.extend(self.flight.take());
        self.waiting = false;
        self.segmenter.restart();
    }

    /// Fetches until a packet is complete; false: it is not.
    fn fetch_packet(&mut self, settings: &Settings, memory: &MemoryMap) -> bool {
        let ring = settings.ring;
        if settings.tail >= ring.len || self.fetch >= ring.len {
            return false;
        }
        if self.flight.is_none() {
            self.packet.clear();
        }
        while self.fetch != settings.tail
            && self.spent < DESCRIPTOR_BUDGET
            && self.flights.len() < MAX_FLIGHTS
        {
            let mut bytes = [0; 16];
            if !memory.read(ring.at(self.fetch), &mut bytes) {
                return false;
            }
            self.spent += 1;
            self.fetch = ring.next(self.fetch);
            if self.take(&Descriptor::decode(bytes), memory) {
                return true;
            }
        }
        false
    }

    /// Takes one descriptor in; true: it ends a packet.
    fn take(&mut self, descriptor: &Descriptor, memory: &MemoryMap) -> bool {
        let reports = descriptor.reports();
        let flight = self.flight.get_or_insert(Flight {
            count: 0,
            reports: 0,
            last_reports: false,
            delayed: false,
            outstanding: 0,
        });
        flight.count += 1;
        flight.reports += u32::from(reports);
        flight.last_reports = reports;
        flight.delayed = descriptor.command & spec::TXD_IDE != 0;
        let endless = flight.count >= MAX_DESCRIPTORS;
        match &descriptor.kind {
            Kind::Context { context, tse } => {
                let [plain, segmenting] = &mut self.contexts;
                *if *tse { segmenting } else { plain } = *context;
                endless
            }
            Kind::Data(data) => {
                let mapped = |addr, len| is_mapped(memory, addr, len);
                self.packet.push(data, &mapped);
                if endless && !data.eop {
                    self.packet.spoil();
                }
                data.eop || endless
            }
        }
    }

    /// Whether descriptors wait that the next burst may take.
    pub(super) fn has_more(&self) -> bool {
        self.spent >= DESCRIPTOR_BUDGET
    }
}

/// All of a buffer is guest RAM: device registers and our rings are not in this map.
fn is_mapped(memory: &MemoryMap, addr: u64, len: u64) -> bool {
    memory.contains(addr, len)
}

fn write_back(at: u64, memory: &MemoryMap) {
    // The driver may have put its ring where no memory is; then nobody hears of it.
    let _ = memory.write(at.wrapping_add(12), &[spec::TXD_DD]);
}
