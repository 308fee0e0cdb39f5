//! The transmit ring: descriptors in, packets out, descriptors reported in order (SDM 3.3, 3.4).
use super::{
    descriptor::{Context, Data, Descriptor, Kind},
    spec,
};
use crate::net::{
    nic::{Flights, Frames, Packet, Sender},
    wire::{Offloads, Wire},
};
use serde::{Deserialize, Serialize};
use virtqueue::MemoryMap;

/// Descriptors fetched for one event at most.
const DESCRIPTOR_BUDGET: u32 = 512;
/// Descriptors of one packet at most: what goes on and on is cut off and dropped.
const MAX_DESCRIPTORS: u32 = 256;
/// Bytes of a small packet: acknowledgements, and datagrams of a question or a voice.
const SMALL: u64 = 256;
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
    /// Bytes of the packet.
    len: u64,
    /// The contexts before them: from there they can be read again.
    contexts: [Context; 2],
}

/// The transmit side as a snapshot carries it: where descriptors are not reported yet, all is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct SavedTransmitter {
    head: u32,
    contexts: [Context; 2],
    /// Segments of the first packet that are sent.
    sent: u16,
}

/// What reporting brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reported {
    /// Some descriptor was written back that wants an interrupt now.
    pub(super) now: bool,
    /// Some that wants it delayed.
    pub(super) delayed: bool,
    /// How many of small packets do.
    pub(super) small: u32,
    /// The new head.
    pub(super) head: Option<u32>,
}

/// What one step of the ring came to.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing left, or the budget is spent.
    Idle,
    /// The wire is full.
    Full,
    /// It was given to the wire.
    Sent(Sent),
    /// It was refused, or there is no link.
    Dropped,
    /// In loopback mode: a frame of it comes back; all of it was sent with the last one.
    Looped(Option<Sent>),
}

/// A packet that has left, for statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) frames: Frames,
    pub(super) destination: Option<[u8; 6]>,
    /// By a context for segmentation.
    pub(super) segmented: bool,
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
    /// There is a link; without one, frames go nowhere.
    pub(super) link: bool,
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
    /// What its first data descriptor asks for.
    options: Option<Data>,
    sender: Sender,
    /// Descriptors of the packet so far.
    flight: Option<Flight>,
    /// The packet is prepared and waits for room in the wire.
    waiting: bool,
    flights: Flights<Flight>,
    spent: u32,
}

impl Transmitter {
    /// Forgets everything; `head`: where to go on. True: the wire still reads packets of the past life.
    pub(super) fn restart(&mut self, head: u32) -> bool {
        self.packet.clear();
        self.options = None;
        self.sender.restart();
        self.flight = None;
        self.waiting = false;
        self.fetch = head;
        self.head = head;
        self.flights.clear()
    }

    /// Goes on behind what it has fetched, of which nothing is reported. True: the wire still reads packets of that.
    pub(super) fn abandon(&mut self) -> bool {
        self.restart(self.fetch)
    }

    /// TDH.
    pub(super) fn head(&self) -> u32 {
        self.head
    }

    /// For a snapshot.
    pub(super) fn save(&self) -> SavedTransmitter {
        let oldest = self.flights.iter().next().or(self.flight.as_ref());
        SavedTransmitter {
            head: self.head,
            contexts: oldest.map_or(self.contexts, |flight| flight.contexts),
            sent: self.flights.returned(),
        }
    }

    /// Goes on from a snapshot.
    pub(super) fn restore(&mut self, saved: SavedTransmitter) -> bool {
        let flying = self.restart(saved.head);
        self.contexts = saved.contexts;
        self.sender.resume(saved.sent);
        self.flights.resume(saved.sent);
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
        self.flights.reap(wire);
        let mut reported = Reported::default();
        while let Some(flight) = self.flights.pop() {
            for index in 0..flight.count {
                let last = index + 1 == flight.count;
                if flight.reports > 0 && (last || flight.reports > 1 || !flight.last_reports) {
                    write_back(ring.at(self.head), memory);
                }
                self.head = ring.next(self.head);
            }
            reported.now |= flight.reports > 0 && !flight.delayed;
            if flight.reports > 0 && flight.delayed {
                if flight.len <= SMALL {
                    reported.small = reported.small.saturating_add(flight.count);
                } else {
                    reported.delayed = true;
                }
            }
            reported.head = Some(self.head);
        }
        reported
    }

    /// Fetches descriptors up to the end of a packet, and sends it. `frame`: for what comes back.
    pub(super) fn step(
        &mut self,
        settings: &Settings,
        wire: &mut dyn Wire,
        frame: &mut Vec<u8>,
        memory: &MemoryMap,
    ) -> Step {
        if !self.waiting {
            if !self.fetch_packet(settings, memory) {
                return Step::Idle;
            }
            let mut offloads = wire.offloads();
            if settings.loopback {
                // What loops never meets a back-end.
                offloads = Offloads::default();
            }
            if !self.prepare(settings.tags, offloads, memory) {
                self.finish();
                return Step::Dropped;
            }
        }
        if settings.loopback {
            return self.loop_back(frame, memory);
        }
        if !settings.link {
            self.finish();
            return Step::Dropped;
        }
        let sent = self
            .sender
            .send(&self.packet, &mut self.flights, wire, memory);
        self.waiting = !sent;
        if !sent {
            return Step::Full;
        }
        let sent = self.describe(memory);
        self.finish();
        Step::Sent(sent)
    }

    /// One frame of the packet; there may be as many as it has bytes.
    fn loop_back(&mut self, frame: &mut Vec<u8>, memory: &MemoryMap) -> Step {
        let gathered = self.sender.gather(&self.packet, memory, frame);
        self.waiting = gathered == Some(false);
        if self.waiting {
            return Step::Looped(None);
        }
        let sent = self.describe(memory);
        self.finish();
        gathered.map_or(Step::Dropped, |_| Step::Looped(Some(sent)))
    }

    fn describe(&self, memory: &MemoryMap) -> Sent {
        Sent {
            frames: self.packet.frames(),
            destination: self.packet.destination(memory),
            segmented: self.options.is_some_and(|data| data.tse),
        }
    }

    /// Applies what the descriptors ask for; false: the packet must not be sent.
    fn prepare(&mut self, tags: Option<u16>, offloads: Offloads, memory: &MemoryMap) -> bool {
        let options = self.options.unwrap_or_default();
        let request = options.request(&self.contexts, tags);
        request.is_some_and(|request| self.packet.apply(&request, offloads, memory))
    }

    fn finish(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.flights.close(flight);
        }
        self.waiting = false;
        self.sender.restart();
    }

    /// Fetches until a packet is complete; false: it is not.
    fn fetch_packet(&mut self, settings: &Settings, memory: &MemoryMap) -> bool {
        let ring = settings.ring;
        if settings.tail >= ring.len || self.fetch >= ring.len {
            return false;
        }
        if self.flight.is_none() {
            self.packet.clear();
            self.options = None;
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
            len: 0,
            contexts: self.contexts,
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
                let options = self.options.get_or_insert(*data);
                options.vlan = data.vlan.or(options.vlan);
                options.legacy = data.legacy.or(options.legacy);
                flight.len = flight.len.saturating_add(u64::from(data.len));
                self.packet.push(data.addr, data.len, memory);
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

fn write_back(at: u64, memory: &MemoryMap) {
    // The driver may have put its ring where no memory is; then nobody hears of it.
    let _ = memory.write(at.wrapping_add(12), &[spec::TXD_DD]);
}
