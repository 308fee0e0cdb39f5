//! Which frames the NIC takes, and how they get into the ring (D 7.0, "Packet Reception").
use super::{spec, state::State};
use crate::net::nic::fcs;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the ring.
    Stored,
    /// It is not for us, or can never be stored.
    Refused,
    /// There is no room now.
    NoRoom,
}

/// A frame that arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    /// FCS not counted.
    pub(super) frame: &'a [u8],
    /// As it is behind the frame.
    pub(super) fcs: [u8; 4],
    /// It is right.
    pub(super) intact: bool,
}

impl<'a> Arrival<'a> {
    /// A frame with its FCS.
    pub(super) fn intact(frame: &'a [u8]) -> Self {
        Self {
            frame,
            fcs: fcs::of(frame),
            intact: true,
        }
    }

    /// Bytes of frame and FCS.
    pub(super) fn len(&self) -> usize {
        self.frame.len() + spec::FCS_LEN
    }
}

impl State {
    /// RCR and the address registers: RSR.PHY, which says whether a group is addressed; `None`: it is not for us.
    pub(super) fn accepts(&self, frame: &[u8]) -> Option<u8> {
        let destination = <[u8; 6]>::try_from(frame.get(..6)?).ok()?;
        let [first, ..] = destination;
        let allows = |bit| self.rcr & bit != 0;
        if first & 1 == 0 {
            let ours = destination == self.physical || allows(spec::RCR_PRO);
            return ours.then_some(0);
        }
        let wanted = if destination == [0xff; 6] {
            allows(spec::RCR_AB)
        } else {
            let hash = fcs::hash_msb_first(destination);
            let filter = u64::from_le_bytes(self.multicast);
            allows(spec::RCR_AM) && filter >> hash & 1 != 0
        };
        wanted.then_some(spec::RSR_PHY)
    }

    /// Filters and stores what arrives.
    pub(super) fn store(&mut self, arrival: &Arrival<'_>) -> Outcome {
        let Some(group) = self.accepts(arrival.frame) else {
            return Outcome::Refused;
        };
        if self.rcr & spec::RCR_MON != 0 {
            self.miss(group | spec::RSR_DIS);
            return Outcome::Refused;
        }
        let runt = arrival.frame.len() < spec::MIN_FRAME && self.rcr & spec::RCR_AR == 0;
        if runt || arrival.frame.len() > spec::MAX_RECEIVE {
            return Outcome::Refused;
        }
        let wanted = arrival.intact || self.rcr & spec::RCR_SEP != 0;
        let outcome = if wanted {
            self.enter(arrival, group)
        } else {
            Outcome::Refused
        };
        if outcome == Outcome::NoRoom {
            return outcome;
        }
        if arrival.intact {
            if outcome == Outcome::Stored {
                self.isr |= spec::ISR_PRX;
            }
        } else {
            self.rsr = spec::RSR_CRC | group;
            self.count(1);
            self.isr |= spec::ISR_RXE;
        }
        outcome
    }

    /// Puts a frame into the ring: a header, the frame, its FCS.
    fn enter(&mut self, arrival: &Arrival<'_>, group: u8) -> Outcome {
        let Ok(pages) = u8::try_from(pages(arrival.frame.len())) else {
            return Outcome::Refused;
        };
        match self.has_room(pages) {
            None => {
                self.miss(group);
                return Outcome::Refused;
            }
            Some(false) => return Outcome::NoRoom,
            Some(true) => {}
        }
        let left = self.pstop - self.curr;
        let next = if pages < left {
            self.curr + pages
        } else {
            self.pstart + (pages - left)
        };
        let status = group
            | if arrival.intact {
                spec::RSR_PRX
            } else {
                spec::RSR_CRC
            };
        let [low, high] = u16::try_from(arrival.len()).unwrap_or(0).to_le_bytes();
        let at = u16::from_be_bytes([self.curr, 0]);
        let at = self.write_ring(at, &[status, next, low, high]);
        let at = self.write_ring(at, arrival.frame);
        self.clda = self.write_ring(at, &arrival.fcs);
        self.rsr = status;
        self.curr = next;
        Outcome::Stored
    }

    /// Whether the ring has room for so many pages; `None`: it never will.
    fn has_room(&self, pages: u8) -> Option<bool> {
        // A driver that leaves its ring so cannot have frames.
        let ring = self.pstart..self.pstop;
        let total = self.pstop.saturating_sub(self.pstart);
        // A full ring would look empty.
        (ring.contains(&self.curr) && pages < total).then(|| pages < self.free_pages(total))
    }

    /// The ring is right, but a frame of `len` bytes is to wait: for room, and until half of the ring is free, so that not every frame
    /// that is read costs a wake-up of the thread.
    pub(super) fn is_full_for(&self, len: usize) -> bool {
        let half = self.pstop.saturating_sub(self.pstart) / 2;
        let pages = u8::try_from(pages(len)).map(|pages| pages.max(half));
        pages.is_ok_and(|pages| self.has_room(pages) == Some(false))
    }

    /// Pages from CURR to the boundary. Drivers also keep the boundary one page before the ring's start.
    fn free_pages(&self, total: u8) -> u8 {
        match self.bnry.checked_sub(self.curr) {
            None | Some(0) => total.saturating_sub(self.curr - self.bnry),
            Some(free) => free.min(total),
        }
    }

    /// Writes at `at`, a place in the ring, and goes on at its start behind its end; returns where that ended.
    fn write_ring(&mut self, at: u16, bytes: &[u8]) -> u16 {
        let stop = u16::from_be_bytes([self.pstop, 0]);
        let start = u16::from_be_bytes([self.pstart, 0]);
        let len = bytes.len().min(usize::from(stop.saturating_sub(at)));
        let (first, rest) = bytes.split_at(len);
        self.memory.write(at, first);
        self.memory.write(start, rest);
        let advance = |at: u16, len: usize| at.saturating_add(u16::try_from(len).unwrap_or(0));
        let end = advance(at, first.len());
        if end < stop {
            end
        } else {
            advance(start, rest.len())
        }
    }

    /// A frame for us is not stored.
    fn miss(&mut self, status: u8) {
        self.rsr = spec::RSR_MPA | status;
        self.count(2);
    }

    /// The ring is full and stays so (D 7.0, "Buffer Ring Overflow").
    pub(super) fn overflow(&mut self) {
        self.overflowed = true;
        self.miss(0);
        self.isr |= spec::ISR_OVW | spec::ISR_RST;
    }

    /// The driver has read frames: BNRY.
    pub(super) fn move_boundary(&mut self, page: u8) {
        self.bnry = page;
        if self.overflowed {
            self.overflowed = false;
            if self.started() {
                self.isr &= !spec::ISR_RST;
            }
        }
    }
}

/// Pages of a frame of `len` bytes, its header and its FCS.
fn pages(len: usize) -> usize {
    (spec::HEADER_LEN + len + spec::FCS_LEN).div_ceil(spec::PAGE_LEN)
}
