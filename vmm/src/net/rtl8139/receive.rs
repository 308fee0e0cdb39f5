//! Which frames the NIC takes, and how they get into the ring of C mode (C 5.5) or that of C+ (C+ 8.2.3).
use super::{
    device::Device,
    ring::{Descriptor, descriptor_at, next},
    spec,
};
use crate::net::{
    nic::{Retry, fcs},
    wire::Sum,
};
use std::{
    sync::atomic::{Ordering, fence},
    time::{Duration, Instant},
};

const TAG_LEN: usize = 4;
const ADDRESSES_LEN: usize = 12;
const FCS_LEN: usize = 4;
/// How long a frame without room waits for another try, at first.
const FIRST_RETRY: Duration = Duration::from_micros(200);

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

/// A frame from the wire that has no room: whether its checksum is right, and when to try again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    checked: Option<bool>,
    retry: Retry,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            checked: None,
            retry: Retry::new(FIRST_RETRY),
        }
    }
}

impl Held {
    /// The frame, for another try.
    pub(super) fn take(&mut self) -> Option<bool> {
        self.checked.take()
    }

    /// It had no room.
    pub(super) fn keep(&mut self, checked: bool, now: Instant) {
        self.checked = Some(checked);
        self.retry.failed(now);
    }

    /// Frames find room again.
    pub(super) fn relieved(&mut self) {
        self.retry.succeeded();
    }

    /// There is one.
    pub(super) fn is_some(&self) -> bool {
        self.checked.is_some()
    }

    /// When to try again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry.due().filter(|_| self.checked.is_some())
    }

    /// For a snapshot.
    pub(super) fn save(&self, frame: &[u8]) -> Option<(bool, Vec<u8>)> {
        self.checked.map(|checked| (checked, frame.to_vec()))
    }

    /// From a snapshot.
    pub(super) fn restore(saved: Option<(bool, Vec<u8>)>) -> (Self, Vec<u8>) {
        let checked = saved.as_ref().map(|(checked, _)| *checked);
        let frame = saved.map(|(_, frame)| frame).unwrap_or_default();
        let held = Self {
            checked,
            ..Self::default()
        };
        (held, frame)
    }
}

/// How an address was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Physical,
    Multicast,
    Broadcast,
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

impl Device {
    /// RCR (C 5.10).
    fn accepts(&self, frame: &[u8]) -> Option<Match> {
        let destination = <[u8; 6]>::try_from(frame.get(..6)?).ok()?;
        let [first, ..] = destination;
        let allows = |bit| self.state.rcr & bit != 0;
        if first & 1 == 0 {
            let ours = allows(spec::RCR_APM) && destination == self.state.id;
            return (ours || allows(spec::RCR_AAP)).then_some(Match::Physical);
        }
        if destination == [0xff; 6] {
            return allows(spec::RCR_AB).then_some(Match::Broadcast);
        }
        let hash = fcs::hash_msb_first(destination);
        let listed = allows(spec::RCR_AM) && self.state.multicast >> hash & 1 != 0;
        listed.then_some(Match::Multicast)
    }

    /// The driver has read all there is in the ring of C mode (CR.BUFE).
    pub(super) fn ring_is_empty(&self) -> bool {
        self.ring_used() == 0
    }

    fn ring_used(&self) -> u32 {
        let capr = u32::from(self.doorbells.capr.load(Ordering::SeqCst));
        let mask = self.state.ring_len() - 1;
        u32::from(self.state.cbr).wrapping_sub(capr + 16) & mask
    }

    /// Filters and stores a frame; `checked`: its TCP or UDP checksum is right. `frame` is changed unless there is no room.
    pub(super) fn store(&mut self, frame: &mut Vec<u8>, checked: bool) -> Outcome {
        let Some(kind) = self.accepts(frame) else {
            return Outcome::Refused;
        };
        let len = frame.len().max(spec::MIN_FRAME) + FCS_LEN;
        let most = if self.state.plus_receives() {
            spec::MAX_RECEIVE
        } else {
            spec::MAX_RECEIVE_C
        };
        if len > most {
            self.state.tally.rx_err = self.state.tally.rx_err.saturating_add(1);
            return Outcome::Refused;
        }
        let outcome = if self.state.plus_receives() {
            self.store_plus(frame, len, checked, kind)
        } else {
            self.store_c(frame, len, kind)
        };
        if outcome == Outcome::Stored {
            let tally = &mut self.state.tally;
            tally.rx_ok += 1;
            match kind {
                Match::Physical => tally.rx_ok_physical += 1,
                Match::Broadcast => tally.rx_ok_broadcast += 1,
                Match::Multicast => {
                    tally.rx_ok_multicast = tally.rx_ok_multicast.saturating_add(1);
                }
            }
            self.raise(spec::ISR_ROK);
        }
        outcome
    }

    /// A header, the frame and its FCS, padded to double words.
    fn store_c(&mut self, frame: &mut Vec<u8>, len: usize, kind: Match) -> Outcome {
        let size = self.state.ring_len();
        let total = u32::try_from((4 + len).next_multiple_of(4)).unwrap_or(u32::MAX);
        if total >= size {
            self.state.tally.missed();
            self.raise(spec::ISR_RXOVW);
            return Outcome::Refused;
        }
        // A full ring would look empty.
        if total >= size - self.ring_used() {
            return Outcome::NoRoom;
        }
        append_fcs(frame);
        let status = spec::RX_ROK
            | match kind {
                Match::Physical => spec::RX_PAM,
                Match::Multicast => spec::RX_MAR,
                Match::Broadcast => spec::RX_BAR,
            };
        let [s0, s1] = status.to_le_bytes();
        let [l0, l1] = u16::try_from(len).unwrap_or(0).to_le_bytes();
        let at = u32::from(self.state.cbr) & (size - 1);
        let linear = self.state.rcr & spec::RCR_WRAP != 0 && size < 1 << 16;
        let stored =
            self.write_ring(at, &[s0, s1, l0, l1], false) && self.write_ring(at + 4, frame, linear);
        if !stored {
            // The driver put its ring where no memory is.
            self.state.tally.missed();
            self.raise(spec::ISR_RER);
            return Outcome::Refused;
        }
        self.state.cbr = u16::try_from((at + total) & (size - 1)).unwrap_or(0);
        Outcome::Stored
    }

    /// Writes into the ring of C mode; `linear`: beyond its end rather than from its start.
    fn write_ring(&self, at: u32, bytes: &[u8], linear: bool) -> bool {
        let base = u64::from(self.state.rbstart);
        let size = self.state.ring_len();
        if linear {
            return self.memory.write(base + u64::from(at), bytes);
        }
        let at = at & (size - 1);
        let until_end = usize::try_from(size - at).unwrap_or(0).min(bytes.len());
        let (first, rest) = bytes.split_at(until_end);
        self.memory.write(base + u64::from(at), first)
            && (rest.is_empty() || self.memory.write(base, rest))
    }

    /// One or more descriptors.
    fn store_plus(
        &mut self,
        frame: &mut Vec<u8>,
        len: usize,
        checked: bool,
        kind: Match,
    ) -> Outcome {
        let tag = word(frame, ADDRESSES_LEN + 2).filter(|_| {
            self.state.cpcr & spec::CPCR_RX_VLAN != 0
                && word(frame, ADDRESSES_LEN) == Some(spec::VLAN_ETHERTYPE)
        });
        let len = len - if tag.is_some() { TAG_LEN } else { 0 };
        let Some(count) = self.descriptors_for(len) else {
            return Outcome::NoRoom;
        };
        append_fcs(frame);
        if tag.is_some() {
            frame.drain(ADDRESSES_LEN..ADDRESSES_LEN + TAG_LEN);
        }
        let status = self.plus_status(frame, checked)
            | match kind {
                Match::Physical => spec::RXD_PAM,
                Match::Multicast => spec::RXD_MAR,
                Match::Broadcast => spec::RXD_BAR,
            }
            | u32::try_from(len).unwrap_or(0);
        let vlan = tag.map_or(0, |tag| {
            let [high, low] = tag.to_be_bytes();
            spec::RXD_TAVA | u32::from(u16::from_le_bytes([high, low]))
        });
        self.fill_descriptors(frame, count, status, vlan)
    }

    /// How many of the driver's descriptors a frame of `len` bytes takes; `None`: more than there are.
    fn descriptors_for(&self, len: usize) -> Option<u32> {
        let mut index = self.state.receive_next;
        let mut room = 0;
        for count in 1..=spec::MAX_RING {
            let mut bytes = [0; 4];
            let at = descriptor_at(self.state.rdsar, index);
            let read = self.memory.read(at, &mut bytes);
            let options = u32::from_le_bytes(bytes);
            if !read || options & spec::D_OWN == 0 {
                return None;
            }
            room += usize::try_from(options & spec::RXD_SIZE).unwrap_or(0);
            if room >= len {
                return Some(count);
            }
            index = next(index, options);
        }
        None
    }

    fn fill_descriptors(&mut self, frame: &[u8], count: u32, status: u32, vlan: u32) -> Outcome {
        let mut rest = frame;
        for number in 1..=count {
            let at = descriptor_at(self.state.rdsar, self.state.receive_next);
            let mut bytes = [0; 16];
            if !self.memory.read(at, &mut bytes) {
                return Outcome::Refused;
            }
            let descriptor = Descriptor::decode(bytes);
            let size = usize::try_from(descriptor.options & spec::RXD_SIZE).unwrap_or(0);
            let (part, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            // A buffer outside of RAM takes nothing.
            let _ = self.memory.write(descriptor.addr, part);
            let mut done = status | descriptor.options & spec::D_EOR;
            if number == 1 {
                done |= spec::D_FS;
            }
            if number == count {
                done |= spec::D_LS;
            }
            let _ = self.memory.write(at + 4, &vlan.to_le_bytes());
            // The driver looks at OWN first: everything else must be there before it.
            fence(Ordering::Release);
            let _ = self.memory.write(at, &done.to_le_bytes());
            self.state.receive_next = next(self.state.receive_next, descriptor.options);
        }
        Outcome::Stored
    }

    /// Protocol and checksums of an IPv4 packet. A protocol is named only if its checksum is known to be right: a driver believes
    /// that, and checks by itself what is not named.
    fn plus_status(&self, frame: &[u8], checked: bool) -> u32 {
        if self.state.cpcr & spec::CPCR_RX_CHKSUM == 0 {
            return 0;
        }
        let start = ADDRESSES_LEN + 2;
        if word(frame, ADDRESSES_LEN) != Some(0x0800) {
            return 0;
        }
        let len = frame
            .get(start)
            .map_or(0, |byte| usize::from(byte & 0xf) * 4);
        let Some(header) = frame.get(start..start + len).filter(|h| h.len() >= 20) else {
            return 0;
        };
        let mut sum = Sum::default();
        sum.add(header);
        let failed = if sum.fold() == 0xffff {
            0
        } else {
            spec::RXD_IPF
        };
        let protocol = match frame.get(start + 9) {
            Some(6) if checked => spec::RXD_PID_TCP,
            Some(17) if checked => spec::RXD_PID_UDP,
            Some(6 | 17) => 0,
            _ => spec::RXD_PID_IP,
        };
        protocol | failed
    }
}

/// Pads a frame and puts its FCS behind it.
fn append_fcs(frame: &mut Vec<u8>) {
    frame.resize(frame.len().max(spec::MIN_FRAME), 0);
    let fcs = fcs::of(frame);
    frame.extend_from_slice(&fcs);
}
