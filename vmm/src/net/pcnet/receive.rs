//! Which frames the chip takes ("Address Matching"), and how they get into the receive ring ("Receive Descriptor Table Entry").
use super::{descriptor::Descriptor, device::Device, spec, transmit::fcs_is_good};
use crate::net::nic::{Retry, fcs};
use std::time::{Duration, Instant};

const ADDRESSES_LEN: usize = 12;
const HEADER_LEN: usize = 14;
/// The shortest payload that is not padded, as a length field says it.
const MIN_PAYLOAD: u16 = 46;
/// Descriptors of one frame at most.
const MAX_CHAIN: u32 = 64;
/// How long a frame without room waits for another try, at first.
const FIRST_RETRY: Duration = Duration::from_micros(100);
/// For how long it is tried. The chip's own buffer would hold some frames; ours is on the wire, and a vCPU that does not run for a
/// while should lose none.
const PATIENCE: Duration = Duration::from_millis(250);

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the ring.
    Stored,
    /// It can never be.
    Refused,
    /// There is no room now.
    NoRoom,
}

/// A frame from the wire that has no room: when to try again, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    holding: bool,
    retry: Retry,
    since: Option<Instant>,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            holding: false,
            retry: Retry::new(FIRST_RETRY),
            since: None,
        }
    }
}

impl Held {
    /// True: there is one, for another try.
    pub(super) fn take(&mut self) -> bool {
        std::mem::take(&mut self.holding)
    }

    /// It had no room.
    pub(super) fn keep(&mut self, now: Instant) {
        self.holding = true;
        self.retry.failed(now);
        self.since.get_or_insert(now);
    }

    /// It was tried long enough.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE)
    }

    /// Frames find room again, or are not held any more.
    pub(super) fn relieved(&mut self) {
        *self = Self::default();
    }

    /// There is one.
    pub(super) fn is_some(&self) -> bool {
        self.holding
    }

    /// When to try again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry.due().filter(|_| self.holding)
    }

    /// From a snapshot.
    pub(super) fn restore(holding: bool) -> Self {
        Self {
            holding,
            ..Self::default()
        }
    }
}

/// Which descriptors a frame gets.
enum Room {
    Fits(u32),
    /// There are so many, and it needs more; `last`: there never will be more.
    Short {
        count: u32,
        last: bool,
    },
    /// The ring is not in memory.
    Fault,
}

impl Device {
    /// CSR15, PADR, LADRF; as a flag of the descriptor that the frame ends in.
    fn accepts(&self, frame: &[u8]) -> Option<u16> {
        let destination = <[u8; 6]>::try_from(frame.get(..6)?).ok()?;
        let [first, ..] = destination;
        let matched = if first & 1 == 0 {
            let ours = !self.state.mode(spec::MODE_DRCVPA) && destination == self.physical();
            ours.then_some(spec::R_PAM)
        } else if destination == [0xff; 6] && !self.state.mode(spec::MODE_DRCVBC) {
            Some(spec::R_BAM)
        } else {
            let hash = fcs::hash_lsb_first(destination);
            let index = spec::CSR_LADRF + u16::try_from(hash >> 4).unwrap_or(0);
            let listed = self.state.get(index) >> (hash & 0xf) & 1 != 0;
            listed.then_some(spec::R_LAFM)
        };
        let promiscuous = self.state.mode(spec::MODE_PROM).then_some(0);
        matched.or(promiscuous)
    }

    fn physical(&self) -> [u8; 6] {
        let mut address = [0; 6];
        for (bytes, index) in address.chunks_exact_mut(2).zip(spec::CSR_PADR..) {
            bytes.copy_from_slice(&self.state.get(index).to_le_bytes());
        }
        address
    }

    /// Filters and stores a frame. `looped`: it ends with an FCS. `last`: it does not wait for room. `frame` is changed unless there
    /// is no room.
    pub(super) fn store(&mut self, frame: &mut Vec<u8>, looped: bool, last: bool) -> Outcome {
        let Some(mut flags) = self.accepts(frame) else {
            return Outcome::Refused;
        };
        // What comes from a guest may be short, as nothing pads it. In loopback runts are received as they are.
        let whole = if looped {
            frame.len()
        } else {
            frame.len().max(spec::MIN_FRAME) + spec::FCS_LEN
        };
        if whole > spec::MAX_FRAME {
            return Outcome::Refused;
        }
        let stripped = self.stripped(frame).filter(|len| *len < whole);
        let len = stripped.unwrap_or(whole);
        let count = match self.room_for(len) {
            Room::Fits(count) => count,
            Room::Short { count, last: never } if count > 0 && (last || never) => {
                flags = spec::D_ERR | spec::R_BUFF;
                count
            }
            Room::Short { .. } => return Outcome::NoRoom,
            Room::Fault => {
                self.receive_fault();
                return Outcome::Refused;
            }
        };
        if looped {
            if !fcs_is_good(frame) {
                flags |= spec::D_ERR | spec::R_CRC;
            }
        } else {
            frame.resize(frame.len().max(spec::MIN_FRAME), 0);
            if stripped.is_none() {
                let fcs = fcs::of(frame);
                frame.extend_from_slice(&fcs);
            }
        }
        frame.truncate(len);
        self.fill(frame, count, flags);
        self.raise(spec::CSR0_RINT);
        Outcome::Stored
    }

    /// CSR4.ASTRP_RCV: the length of a frame without pad and FCS, if its length field says that it has a pad.
    fn stripped(&self, frame: &[u8]) -> Option<usize> {
        if !self.state.has(spec::CSR_FEATURES, spec::CSR4_ASTRP_RCV) {
            return None;
        }
        let field = frame.get(ADDRESSES_LEN..HEADER_LEN)?;
        let length = u16::from_be_bytes(field.try_into().ok()?);
        (length < MIN_PAYLOAD).then_some(HEADER_LEN + usize::from(length))
    }

    fn room_for(&self, len: usize) -> Room {
        let ring = self.state.receive_ring();
        let most = ring.len.min(MAX_CHAIN);
        let mut index = self.state.receive_next;
        let mut room = 0;
        for count in 0..most {
            let Some(descriptor) = ring.read(index, &self.memory) else {
                return Room::Fault;
            };
            if !descriptor.has(spec::D_OWN) {
                return Room::Short { count, last: false };
            }
            room += usize::try_from(descriptor.len).unwrap_or(0);
            if room >= len {
                return Room::Fits(count + 1);
            }
            index = ring.next(index);
        }
        Room::Short {
            count: most,
            last: true,
        }
    }

    /// Puts a frame into `count` descriptors; `flags`: those of the last one.
    fn fill(&mut self, frame: &[u8], count: u32, flags: u16) {
        let ring = self.state.receive_ring();
        let truncated = flags & spec::R_BUFF != 0;
        let mut rest = frame;
        let mut lost = 0;
        for number in 1..=count {
            let index = self.state.receive_next;
            let Some(Descriptor { addr, len, .. }) = ring.read(index, &self.memory) else {
                self.receive_fault();
                return;
            };
            let size = usize::try_from(len).unwrap_or(0).min(rest.len());
            let (part, later) = rest.split_at(size);
            rest = later;
            // A buffer outside of RAM takes nothing: to the driver that is a FIFO that overflowed.
            if !self.memory.write(addr, part) {
                lost = spec::D_ERR | spec::R_OFLO;
            }
            let mut done = if number == 1 { spec::D_STP } else { 0 };
            let mut bytes = None;
            if number == count {
                done |= flags | lost;
                if !truncated {
                    done |= spec::D_ENP;
                    bytes = u16::try_from(frame.len()).ok();
                }
            }
            ring.give_received(index, done, bytes, &self.memory);
            self.state.receive_next = ring.next(index);
        }
    }

    /// The ring is not in memory: a bus error, after which the receiver is off.
    fn receive_fault(&mut self) {
        self.state.clear(spec::CSR_STATUS, spec::CSR0_RXON);
        self.raise(spec::CSR0_MERR);
    }

    /// A frame was lost for want of descriptors (CSR112).
    pub(super) fn miss(&mut self) {
        let count = self.state.get(spec::CSR_MFC).wrapping_add(1);
        self.state.set(spec::CSR_MFC, count);
        if count == 0 {
            self.state.raise(spec::CSR_FEATURES, spec::CSR4_MFCO);
        }
        self.raise(spec::CSR0_MISS);
    }
}
