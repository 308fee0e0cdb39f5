//! Which frames the NIC takes, and how they get into the receive ring (SDM 3.2, 13.5).
use super::{
    spec,
    state::{State, address_registers},
    transmit::Ring,
};
use crate::net::{nic::fcs, wire::Sum};
use std::sync::atomic::{Ordering, fence};
use virtqueue::MemoryMap;

/// Bytes of a VLAN tag.
const TAG_LEN: usize = 4;
const ADDRESSES_LEN: usize = 12;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the ring.
    Stored {
        /// Few descriptors are left (RCTL.RDMTS).
        low: bool,
    },
    /// No filter wanted it, or it is too long.
    Refused,
    /// Descriptors are missing.
    NoRoom,
}

/// The receive ring of this moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceiveRing {
    /// Where it is.
    pub(super) ring: Ring,
    /// RDH.
    pub(super) head: u32,
    /// RDT.
    pub(super) tail: u32,
}

impl ReceiveRing {
    /// Descriptors that the driver gave us.
    pub(super) fn free(&self) -> u32 {
        if self.head >= self.ring.len || self.tail >= self.ring.len {
            0
        } else if self.tail >= self.head {
            self.tail - self.head
        } else {
            self.ring.len - self.head + self.tail
        }
    }
}

/// The 802.1Q tag of a frame, if it has one with the ethertype of VET.
fn tag_of(frame: &[u8], state: &State) -> Option<u16> {
    let ethertype = u16_at(frame, ADDRESSES_LEN)?;
    let vet = state.get(spec::VET);
    if u32::from(ethertype) != vet & 0xffff {
        return None;
    }
    u16_at(frame, ADDRESSES_LEN + 2)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

/// Counts a good frame of `len` bytes with its FCS (13.7).
fn count(state: &mut State, frame: &[u8], len: usize) {
    state.count(spec::GPRC, 1);
    state.count64(spec::GORCL, len as u64);
    state.count_size(spec::PRC64, len, 1);
    match frame.get(..6) {
        Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => state.count(spec::BPRC, 1),
        Some([first, ..]) if first & 1 != 0 => state.count(spec::MPRC, 1),
        _ => {}
    }
}

/// Length, address and VLAN filters.
pub(super) fn accepts(state: &mut State, frame: &[u8]) -> bool {
    let len = frame.len().max(spec::MIN_FRAME) + spec::FCS_LEN;
    state.count(spec::TPR, 1);
    state.count64(spec::TORL, len as u64);
    let tag = tag_of(frame, state);
    let tagged = if tag.is_some() { TAG_LEN } else { 0 };
    let standard = frame.len() <= spec::MAX_STANDARD + tagged;
    if len > spec::MAX_FRAME || !standard && !state.has(spec::RCTL, spec::RCTL_LPE) {
        state.count(spec::ROC, 1);
        return false;
    }
    let Some(Ok(destination)) = frame.get(..6).map(<[u8; 6]>::try_from) else {
        return false;
    };
    accepts_address(state, destination) && tag.is_none_or(|tag| accepts_tag(state, tag))
}

/// 13.5.1 to 13.5.3, RCTL.
fn accepts_address(state: &State, destination: [u8; 6]) -> bool {
    let [first, .., e, f] = destination;
    let exact = || {
        let (low, high) = address_registers(destination);
        (spec::RA..spec::RA_END)
            .step_by(8)
            .any(|at| state.get(at) == low && state.get(at + 4) & 0x8000_ffff == high)
    };
    if first & 1 == 0 {
        return state.has(spec::RCTL, spec::RCTL_UPE) || exact();
    }
    let broadcast = destination == [0xff; 6];
    broadcast && state.has(spec::RCTL, spec::RCTL_BAM)
        || state.has(spec::RCTL, spec::RCTL_MPE)
        || in_multicast_table(state, u32::from(u16::from_le_bytes([e, f])))
        || exact()
}

/// `last`: the last two bytes of the address, of which RCTL.MO picks twelve bits.
fn in_multicast_table(state: &State, last: u32) -> bool {
    let shift = match state.get(spec::RCTL) >> 12 & 3 {
        0 => 4,
        1 => 3,
        2 => 2,
        _ => 0,
    };
    let hash = last >> shift & 0xfff;
    state.get(spec::MTA + 4 * (hash >> 5)) >> (hash & 31) & 1 != 0
}

/// 13.5.4.
fn accepts_tag(state: &State, tag: u16) -> bool {
    if !state.has(spec::RCTL, spec::RCTL_VFE) {
        return true;
    }
    let id = u32::from(tag & 0xfff);
    state.get(spec::VFTA + 4 * (id >> 5)) >> (id & 31) & 1 != 0
}

/// Bytes of a receive buffer (RCTL.BSIZE, BSEX).
fn buffer_size(rctl: u32) -> usize {
    match (rctl & spec::RCTL_BSEX != 0, rctl >> 16 & 3) {
        (true, 1) => 16384,
        (true, 2) => 8192,
        (true, 3) => 4096,
        (_, 1) => 1024,
        (_, 2) => 512,
        (false, 3) => 256,
        _ => 2048,
    }
}

/// Status and errors of a frame whose TCP or UDP checksum is known to be right, or of which nothing is known (3.2.3.1, 3.2.9).
fn checksum_status(state: &State, frame: &[u8], checked: bool) -> (u8, u8) {
    let (mut status, mut errors) = (0, 0);
    let ethertype = u16_at(frame, ADDRESSES_LEN);
    let ip = ethertype.is_some_and(|e| e == ETHERTYPE_IPV4 || e == ETHERTYPE_IPV6);
    if ethertype == Some(ETHERTYPE_IPV4)
        && state.has(spec::RXCSUM, spec::RXCSUM_IPOFLD)
        && let Some(good) = ip_header_is_good(frame)
    {
        status |= spec::RXD_IPCS;
        if !good {
            // IPE.
            errors |= 1 << 6;
        }
    }
    if checked && ip && state.has(spec::RXCSUM, spec::RXCSUM_TUOFLD) {
        status |= spec::RXD_TCPCS;
    }
    if status == 0 {
        status = spec::RXD_IXSM;
    }
    (status, errors)
}

fn ip_header_is_good(frame: &[u8]) -> Option<bool> {
    let start = ADDRESSES_LEN + 2;
    let len = usize::from(frame.get(start)? & 0xf) * 4;
    if len < 20 {
        return None;
    }
    let mut sum = Sum::default();
    sum.add(frame.get(start..start + len)?);
    Some(sum.fold() == 0xffff)
}

/// Stores a frame that was accepted; `checked`: its TCP or UDP checksum is right. `frame` may be changed: its tag goes, padding comes.
pub(super) fn store(
    state: &mut State,
    at: &mut ReceiveRing,
    frame: &mut Vec<u8>,
    checked: bool,
    memory: &MemoryMap,
) -> Outcome {
    let rctl = state.get(spec::RCTL);
    let size = buffer_size(rctl);
    let strip = tag_of(frame, state).filter(|_| state.has(spec::CTRL, spec::CTRL_VME));
    let removed = if strip.is_some() { TAG_LEN } else { 0 };
    let keep_fcs = rctl & spec::RCTL_SECRC == 0;
    let fcs_len = if keep_fcs { spec::FCS_LEN } else { 0 };
    let len = frame.len().max(spec::MIN_FRAME) - removed + fcs_len;
    let free = at.free();
    let needed = u32::try_from(len.div_ceil(size)).unwrap_or(u32::MAX);
    if needed > free {
        return Outcome::NoRoom;
    }
    frame.resize(frame.len().max(spec::MIN_FRAME), 0);
    count(state, frame, frame.len() + spec::FCS_LEN);
    if keep_fcs {
        let fcs = fcs::of(frame);
        frame.extend_from_slice(&fcs);
    }
    if strip.is_some() {
        frame.drain(ADDRESSES_LEN..ADDRESSES_LEN + TAG_LEN);
    }
    let (status, errors) = checksum_status(state, frame, checked);
    let mut parts = frame.chunks(size).peekable();
    while let Some(part) = parts.next() {
        let mut done = Done {
            len: u16::try_from(part.len()).unwrap_or(u16::MAX),
            status: status | spec::RXD_DD,
            errors,
            special: 0,
        };
        if parts.peek().is_none() {
            done.status |= spec::RXD_EOP;
            if let Some(tag) = strip {
                done.status |= spec::RXD_VP;
                done.special = tag;
            }
        }
        done.write(at.ring.at(at.head), part, memory);
        at.head = at.ring.next(at.head);
    }
    let left = free - needed;
    Outcome::Stored {
        low: left <= at.ring.len >> (1 + (rctl >> 8 & 3)),
    }
}

/// A receive descriptor as the NIC writes it back.
struct Done {
    len: u16,
    status: u8,
    errors: u8,
    special: u16,
}

impl Done {
    fn write(mut self, at: u64, part: &[u8], memory: &MemoryMap) {
        let mut addr = [0; 8];
        if !memory.read(at, &mut addr) {
            return;
        }
        let addr = u64::from_le_bytes(addr);
        // A null buffer takes nothing (3.2.4). One outside of RAM is an error of its frame.
        if addr != 0 && !memory.write(addr, part) {
            self.errors |= 1 << 7;
        }
        let [l0, l1] = self.len.to_le_bytes();
        let [s0, s1] = self.special.to_le_bytes();
        let rest = [l0, l1, 0, 0, 0, self.errors, s0, s1];
        let _ = memory.write(at.wrapping_add(8), &rest);
        // The driver looks at DD first: everything else must be there before it.
        fence(Ordering::Release);
        let _ = memory.write(at.wrapping_add(12), &[self.status]);
    }
}
