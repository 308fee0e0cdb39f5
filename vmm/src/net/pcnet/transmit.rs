//! The transmit ring: descriptors in, frames out, descriptors given back in order ("Transmit Descriptor Table Entry").
use super::{
    descriptor::{Descriptor, Ring, Style},
    spec,
};
use crate::net::{
    nic::{Flights, Packet, fcs},
    wire::{MAX_BUFFERS, MAX_HEAD, Outgoing, Wire},
};
use std::time::{Duration, Instant};
use virtqueue::{MemoryMap, NetHeader};

/// Descriptors fetched for one event at most, but for the end of a frame.
const DESCRIPTOR_BUDGET: u32 = 512;
/// Descriptors of one frame at most: what goes on and on is cut off and fails.
const MAX_CHAIN: u32 = 128;
const _: () = assert!(MAX_CHAIN as usize <= MAX_BUFFERS);
/// Frames on their way at most.
const MAX_FLIGHTS: usize = 512;
/// How long the end of a frame may be missing. The chip would fail at once, but it takes its time to get there.
const PATIENCE: Duration = Duration::from_millis(10);

/// Descriptors of one frame, to be given back when it is sent.
#[derive(Debug, Clone, Copy)]
struct Flight {
    /// The first one.
    start: u32,
    count: u32,
    /// The one after the last.
    end: u32,
    /// Bits of TMD2.
    errors: u16,
    /// TINT is due.
    interrupt: bool,
}

/// What giving back brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reported {
    /// Something was given back.
    pub(super) any: bool,
    pub(super) interrupt: bool,
    /// Errors of all frames.
    pub(super) errors: u16,
}

/// Settings from registers, for one burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) ring: Ring,
    /// Frames come back.
    pub(super) loopback: bool,
    /// There is a cable.
    pub(super) link: bool,
    /// CSR15.DXMTFCS: the driver brings the FCS.
    pub(super) no_fcs: bool,
    /// CSR4.APAD_XMT.
    pub(super) pads: bool,
    /// CSR5.TOKINTD.
    pub(super) quiet: bool,
    /// CSR5.LTINTEN.
    pub(super) marked: bool,
}

impl Settings {
    /// ADD_FCS, NO_FCS, DXMTFCS: whether the chip appends one.
    fn appends_fcs(&self, first: u16) -> bool {
        let bit = first & spec::T_ADD_NO_FCS != 0;
        match self.ring.style {
            Style::Ilacc => !bit && !self.no_fcs,
            _ => bit || !self.no_fcs,
        }
    }

    /// TOKINTD, LTINTEN, LTINT: whether TINT tells of a frame.
    fn interrupts(&self, last: u16, errors: u16) -> bool {
        errors != 0
            || if self.marked {
                last & spec::T_LTINT != 0
            } else {
                !self.quiet
            }
    }
}

/// A frame as its descriptors say.
#[derive(Debug, Clone, Copy, Default)]
struct Chain {
    count: u32,
    end: u32,
    /// Flags of the first and of the last descriptor.
    first: u16,
    last: u16,
    len: usize,
    /// Some of it is not in memory.
    lost: bool,
}

enum Fetched {
    /// The next descriptor is the driver's.
    Nothing,
    /// The ring is not in memory.
    Fault,
    /// A frame whose end is not there.
    Open(Chain),
    /// It has no end.
    Endless(Chain),
    Whole(Chain),
}

/// What one step of the ring came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing to do.
    Idle,
    /// The budget is spent.
    Spent,
    /// The wire is full.
    Full,
    /// The ring is not in memory.
    Fault,
    /// It failed, or was no frame.
    Done,
    /// It left; bytes with FCS.
    Sent(usize),
    /// It is in the scratch buffer, with its FCS, and comes back.
    Looped(usize),
}

/// The transmit side.
#[derive(Debug, Default)]
pub(super) struct Transmitter {
    /// Next descriptor to fetch.
    fetch: u32,
    /// Next descriptor to give back.
    head: u32,
    /// Descriptors between them.
    outstanding: u32,
    packet: Packet,
    flights: Flights<Flight>,
    /// A frame waits for room in the wire, or for frames before it.
    waiting: bool,
    /// Since when the end of a frame is missing.
    open_since: Option<Instant>,
    /// A frame underflowed and is not given back yet: after it transmission may be off.
    broken: bool,
    spent: u32,
}

impl Transmitter {
    /// Forgets everything; `head`: where to go on. True: the wire still reads frames of the past life.
    pub(super) fn restart(&mut self, head: u32) -> bool {
        self.fetch = head;
        self.head = head;
        self.outstanding = 0;
        self.packet.clear();
        self.waiting = false;
        self.open_since = None;
        self.broken = false;
        self.flights.clear()
    }

    /// Goes on behind what it has fetched, of which nothing is given back. True: the wire still reads frames of that.
    pub(super) fn abandon(&mut self) -> bool {
        self.restart(self.fetch)
    }

    /// The first descriptor that is not given back.
    pub(super) fn head(&self) -> u32 {
        self.head
    }

    /// Descriptors were fetched and are not given back.
    pub(super) fn has_flights(&self) -> bool {
        self.outstanding > 0
    }

    /// A frame waits for room in the wire, or for frames before it.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// When the end of a frame is missing for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open_since.map(|since| since + PATIENCE)
    }

    /// Nothing is sent now: a frame without end has time.
    pub(super) fn pause(&mut self) {
        self.open_since = None;
    }

    /// Starts a burst.
    pub(super) fn refill(&mut self) {
        self.spent = 0;
    }

    /// Takes back what the wire has sent and gives its descriptors back.
    pub(super) fn reap(
        &mut self,
        wire: &mut dyn Wire,
        ring: &Ring,
        memory: &MemoryMap,
    ) -> Reported {
        self.flights.reap(wire);
        let mut reported = Reported::default();
        while let Some(flight) = self.flights.pop() {
            let mut at = flight.start;
            for number in 1..=flight.count {
                let errors = if number == flight.count {
                    flight.errors
                } else {
                    0
                };
                ring.give_sent(at, errors, memory);
                at = ring.next(at);
            }
            self.head = flight.end;
            self.outstanding = self.outstanding.saturating_sub(flight.count);
            if flight.errors & spec::T_UFLO != 0 {
                self.broken = false;
            }
            reported.any = true;
            reported.interrupt |= flight.interrupt;
            reported.errors |= flight.errors;
        }
        reported
    }

    /// Fetches the descriptors of a frame, and sends it.
    pub(super) fn step(
        &mut self,
        settings: &Settings,
        scratch: &mut Vec<u8>,
        wire: &mut dyn Wire,
        memory: &MemoryMap,
        now: Instant,
    ) -> Step {
        // What is on its way must come back first.
        self.waiting = self.broken || self.flights.len() >= MAX_FLIGHTS;
        if self.waiting {
            return Step::Full;
        }
        if self.spent >= DESCRIPTOR_BUDGET {
            return Step::Spent;
        }
        let truncated = spec::T_BUFF | spec::T_UFLO;
        let chain = match self.fetch_chain(&settings.ring, memory) {
            Fetched::Nothing => {
                self.open_since = None;
                return Step::Idle;
            }
            Fetched::Fault => return Step::Fault,
            Fetched::Open(chain) => {
                let since = *self.open_since.get_or_insert(now);
                if now.saturating_duration_since(since) < PATIENCE {
                    return Step::Idle;
                }
                self.open_since = None;
                return self.fail(settings, &chain, truncated);
            }
            Fetched::Endless(chain) => return self.fail(settings, &chain, truncated),
            Fetched::Whole(chain) => chain,
        };
        self.open_since = None;
        if chain.first & spec::D_STP == 0 {
            // The rest of a frame that failed: skipped in silence.
            self.close(&chain, 0, false);
            return Step::Done;
        }
        if chain.lost {
            return self.fail(settings, &chain, spec::T_UFLO);
        }
        if settings.loopback {
            return self.loop_back(settings, &chain, scratch, memory);
        }
        if !settings.link {
            return self.fail(settings, &chain, spec::T_LCAR);
        }
        self.send(settings, &chain, scratch, wire, memory)
    }

    /// Reads up to the end of a frame. Nothing is taken yet.
    fn fetch_chain(&mut self, ring: &Ring, memory: &MemoryMap) -> Fetched {
        self.packet.clear();
        let mut chain = Chain {
            end: self.fetch,
            ..Chain::default()
        };
        loop {
            // What is given back comes round again; what is not must not.
            if self.outstanding + chain.count >= ring.len {
                return match chain.count {
                    0 => Fetched::Nothing,
                    count if count >= ring.len => Fetched::Endless(chain),
                    _ => Fetched::Open(chain),
                };
            }
            if chain.count >= MAX_CHAIN {
                return Fetched::Endless(chain);
            }
            let Some(descriptor) = ring.read(chain.end, memory) else {
                return Fetched::Fault;
            };
            if !descriptor.has(spec::D_OWN) {
                return match chain.count {
                    0 => Fetched::Nothing,
                    _ => Fetched::Open(chain),
                };
            }
            self.take(&mut chain, &descriptor, memory);
            chain.end = ring.next(chain.end);
            if descriptor.has(spec::D_ENP) || chain.first & spec::D_STP == 0 {
                return Fetched::Whole(chain);
            }
        }
    }

    fn take(&mut self, chain: &mut Chain, descriptor: &Descriptor, memory: &MemoryMap) {
        let Descriptor { addr, len, flags } = *descriptor;
        self.spent += 1;
        if chain.count == 0 {
            chain.first = flags;
        }
        chain.count += 1;
        chain.last = flags;
        chain.len += usize::try_from(len).unwrap_or(0);
        chain.lost |= !memory.contains(addr, len.into());
        if chain.len <= spec::MAX_FRAME {
            self.packet.push(addr, len, memory);
        }
    }

    fn fail(&mut self, settings: &Settings, chain: &Chain, errors: u16) -> Step {
        self.broken |= errors & spec::T_UFLO != 0;
        self.close(chain, errors, settings.interrupts(chain.last, errors));
        Step::Done
    }

    fn close(&mut self, chain: &Chain, errors: u16, interrupt: bool) {
        self.flights.close(Flight {
            start: self.fetch,
            count: chain.count,
            end: chain.end,
            errors,
            interrupt,
        });
        self.outstanding += chain.count;
        self.fetch = chain.end;
        self.waiting = false;
    }

    fn loop_back(
        &mut self,
        settings: &Settings,
        chain: &Chain,
        frame: &mut Vec<u8>,
        memory: &MemoryMap,
    ) -> Step {
        let mut appends = settings.appends_fcs(chain.first);
        let mut len = chain.len;
        if len > spec::MAX_FRAME || !self.packet.gather(memory, frame) {
            frame.clear();
        } else {
            if settings.pads && frame.len() < spec::MIN_FRAME {
                frame.resize(spec::MIN_FRAME, 0);
                // Padding comes with an FCS, whatever was asked for.
                appends = true;
            }
            if appends {
                let fcs = fcs::of(frame);
                frame.extend_from_slice(&fcs);
            }
            len = frame.len();
        }
        self.close(chain, 0, settings.interrupts(chain.last, 0));
        Step::Looped(len)
    }

    fn send(
        &mut self,
        settings: &Settings,
        chain: &Chain,
        scratch: &mut Vec<u8>,
        wire: &mut dyn Wire,
        memory: &MemoryMap,
    ) -> Step {
        let appends =
            settings.appends_fcs(chain.first) || settings.pads && chain.len < spec::MIN_FRAME;
        let len = chain.len + if appends { spec::FCS_LEN } else { 0 };
        // Nobody takes what is shorter than a header, or longer than a frame can be.
        let sendable = self.packet.is_good() && len <= spec::MAX_FRAME;
        let plain = NetHeader::default();
        let outgoing = if appends {
            self.packet.outgoing(self.flights.token())
        } else {
            // It is what a cable carries; our wire carries it without FCS.
            let checked = self.packet.gather(memory, scratch) && strip_fcs(scratch);
            if !checked || scratch.len() > MAX_HEAD {
                self.close(chain, 0, settings.interrupts(chain.last, 0));
                return Step::Sent(len);
            }
            Outgoing {
                header: &plain,
                head: scratch,
                body: &[],
                token: self.flights.token(),
            }
        };
        if sendable {
            if !wire.send(&outgoing) {
                self.waiting = true;
                return Step::Full;
            }
            self.flights.launched();
        }
        self.close(chain, 0, settings.interrupts(chain.last, 0));
        Step::Sent(len)
    }
}

/// Takes the FCS away; false: it is wrong, and who would receive the frame drops it.
fn strip_fcs(frame: &mut Vec<u8>) -> bool {
    let good = fcs_is_good(frame);
    frame.truncate(frame.len().saturating_sub(spec::FCS_LEN));
    good
}

/// Whether a frame ends with its FCS.
pub(super) fn fcs_is_good(frame: &[u8]) -> bool {
    let (rest, sequence) = frame.split_at(frame.len().saturating_sub(spec::FCS_LEN));
    sequence == fcs::of(rest)
}
