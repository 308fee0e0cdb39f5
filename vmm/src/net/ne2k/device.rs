//! The registers as a driver sees them, with their side effects.
use super::{
    datapath::PATIENCE,
    spec,
    state::{Saved, State},
};
use crate::{
    net::nic::{Parts, eeprom::Pins},
    pci::Intx,
};
use std::{sync::Arc, time::Instant};

/// An RTL8029AS behind its bus interface.
#[derive(Debug)]
pub struct Device {
    // Runtime glue
    intx: Arc<Intx>,
    // Volatile state
    pub(super) state: State,
    /// A frame from the wire has no room, and waits until then.
    pub(super) held: Option<Instant>,
    /// That frame, or the one that comes in.
    pub(super) frame: Vec<u8>,
    /// One that is looped back.
    pub(super) scratch: Vec<u8>,
}

impl Device {
    /// After power-on.
    pub fn new(parts: Parts) -> Self {
        Self {
            intx: parts.intx,
            state: State::new(parts.mac, parts.link),
            held: None,
            frame: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(super) fn update_pin(&mut self) {
        let causes = self.state.isr & self.state.imr & !spec::ISR_RST;
        self.intx.set_pending(causes != 0);
    }

    /// What a snapshot must carry.
    pub(super) fn snapshot(&self, now: Instant) -> Saved {
        let held = self.held.map(|until| {
            let left = until.saturating_duration_since(now);
            (left, self.frame.clone())
        });
        Saved {
            state: self.state.clone(),
            held,
        }
    }

    /// Goes on from a snapshot.
    pub(super) fn resume(&mut self, saved: Saved, now: Instant) {
        let Saved { state, held } = saved;
        self.state = state;
        self.state.memory.repair();
        self.held = held.as_ref().map(|(left, _)| now + *left.min(&PATIENCE));
        self.frame = held.map(|(_, frame)| frame).unwrap_or_default();
        self.update_pin();
    }
}

impl State {
    /// Reads the register at `offset` of the page that is selected.
    pub(super) fn read_register(&mut self, offset: u32) -> u8 {
        match (self.page(), offset) {
            (_, spec::CR) => self.cr,
            (0, _) => self.read_page0(offset),
            (1, spec::PAR0..=spec::PAR5) => at(&self.physical, offset - spec::PAR0),
            (1, spec::CURR) => self.curr,
            (1, spec::MAR0..=spec::MAR7) => at(&self.multicast, offset - spec::MAR0),
            (2, spec::PSTART) => self.pstart,
            (2, spec::PSTOP) => self.pstop,
            (2, spec::TPSR) => self.tpsr,
            (2, spec::RCR) => self.rcr | spec::RCR_FIXED,
            (2, spec::TCR) => self.tcr | spec::TCR_FIXED,
            (2, spec::DCR) => self.dcr | spec::DCR_FIXED,
            (2, spec::IMR) => self.imr,
            (3, spec::CR9346) => self.read_cr9346(),
            (3, spec::CONFIG0) => self.config0(),
            (3, spec::CONFIG2) => self.config2,
            (3, spec::CONFIG3) => self.config3,
            (3, spec::ASID0..=spec::ASID1) => at(&spec::ASID, offset - spec::ASID0),
            _ => 0,
        }
    }

    fn read_page0(&mut self, offset: u32) -> u8 {
        let [clda0, clda1] = self.clda.to_le_bytes();
        let [crda0, crda1] = self.remote.address.to_le_bytes();
        match offset {
            spec::CLDA0 => clda0,
            spec::CLDA1 => clda1,
            spec::BNRY => self.bnry,
            spec::TSR => self.tsr | spec::TSR_FIXED,
            spec::FIFO => self.read_fifo(),
            spec::ISR => self.isr,
            spec::CRDA0 => crda0,
            spec::CRDA1 => crda1,
            spec::ID0..=spec::ID1 => at(&spec::ID, offset - spec::ID0),
            spec::RSR => self.rsr,
            spec::CNTR0..=spec::CNTR2 => {
                let counter = usize::try_from(offset - spec::CNTR0).unwrap_or(0);
                self.tally.get_mut(counter).map_or(0, std::mem::take)
            }
            // NCR among them: nothing collides here.
            _ => 0,
        }
    }

    /// One byte after the other.
    fn read_fifo(&mut self) -> u8 {
        let (bytes, next) = &mut self.fifo;
        let byte = at(bytes, u32::from(*next & 7));
        *next = (*next + 1) & 7;
        byte
    }

    fn read_cr9346(&self) -> u8 {
        let out = if self.eeprom.output() {
            spec::CR9346_EEDO
        } else {
            0
        };
        self.cr9346 | out
    }

    /// Writes the register at `offset` of the page that is selected.
    pub(super) fn write_register(&mut self, offset: u32, value: u8) {
        match (self.page(), offset) {
            (_, spec::CR) => self.write_cr(value),
            (0, _) => self.write_page0(offset, value),
            (1, spec::PAR0..=spec::PAR5) => set(&mut self.physical, offset - spec::PAR0, value),
            (1, spec::CURR) => self.curr = value,
            (1, spec::MAR0..=spec::MAR7) => set(&mut self.multicast, offset - spec::MAR0, value),
            (3, spec::CR9346) => self.write_cr9346(value),
            (3, spec::CONFIG2) if self.unlocked() => {
                replace(&mut self.config2, value, spec::CONFIG2_WRITABLE);
            }
            (3, spec::CONFIG3) if self.unlocked() => {
                replace(&mut self.config3, value, spec::CONFIG3_WRITABLE);
            }
            _ => {}
        }
    }

    fn write_page0(&mut self, offset: u32, value: u8) {
        match offset {
            spec::PSTART => self.pstart = value,
            spec::PSTOP => self.pstop = value,
            spec::BNRY => self.move_boundary(value),
            spec::TPSR => self.tpsr = value,
            spec::TBCR0 => self.tbcr = low(self.tbcr, value),
            spec::TBCR1 => self.tbcr = high(self.tbcr, value),
            spec::ISR => self.isr &= !value | spec::ISR_RST,
            spec::RSAR0 => self.remote.address = low(self.remote.address, value),
            spec::RSAR1 => self.remote.address = high(self.remote.address, value),
            spec::RBCR0 => self.remote.count = low(self.remote.count, value),
            spec::RBCR1 => self.remote.count = high(self.remote.count, value),
            spec::RCR => self.rcr = value & !spec::RCR_FIXED,
            spec::TCR => self.tcr = value & !spec::TCR_FIXED,
            spec::DCR => self.dcr = value & !spec::DCR_FIXED,
            spec::IMR => self.imr = value & !spec::ISR_RST,
            _ => {}
        }
    }

    fn write_cr(&mut self, value: u8) {
        let kept = spec::CR_STP | spec::CR_STA | spec::CR_TXP;
        replace(&mut self.cr, value, !kept);
        // A write with neither bit leaves the NIC as it is; what is being sent when it is stopped is still sent.
        if value & spec::CR_STP != 0 {
            replace(&mut self.cr, spec::CR_STP, spec::CR_STP | spec::CR_STA);
            self.isr |= spec::ISR_RST;
        } else if value & spec::CR_STA != 0 && !self.started() {
            replace(&mut self.cr, spec::CR_STA, spec::CR_STP | spec::CR_STA);
            self.isr &= !spec::ISR_RST;
            self.overflowed = false;
        }
        if self.started() {
            self.cr |= value & spec::CR_TXP;
        }
        self.remote_command(value & spec::CR_RD);
    }

    /// CONFIG2 and CONFIG3 take writes.
    fn unlocked(&self) -> bool {
        self.cr9346 & spec::CR9346_EEM == spec::CR9346_UNLOCK
    }

    fn write_cr9346(&mut self, value: u8) {
        let pins = spec::CR9346_EECS | spec::CR9346_EESK | spec::CR9346_EEDI;
        match value & spec::CR9346_EEM {
            spec::CR9346_AUTO_LOAD => {
                // Done at once, and back to normal operation.
                self.auto_load();
                self.cr9346 = 0;
                return;
            }
            spec::CR9346_PROGRAMMING => self.eeprom.drive(Pins {
                select: value & spec::CR9346_EECS != 0,
                clock: value & spec::CR9346_EESK != 0,
                data: value & spec::CR9346_EEDI != 0,
            }),
            _ => self.eeprom.drive(Pins::default()),
        }
        self.cr9346 = value & (spec::CR9346_EEM | pins);
    }
}

fn at(bytes: &[u8], index: u32) -> u8 {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    bytes.get(index).copied().unwrap_or(0)
}

fn set(bytes: &mut [u8], index: u32, value: u8) {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    if let Some(byte) = bytes.get_mut(index) {
        *byte = value;
    }
}

/// Replaces the bits of `mask`.
fn replace(register: &mut u8, value: u8, mask: u8) {
    *register = *register & !mask | value & mask;
}

fn low(word: u16, value: u8) -> u16 {
    let [_, high] = word.to_le_bytes();
    u16::from_le_bytes([value, high])
}

fn high(word: u16, value: u8) -> u16 {
    let [low, _] = word.to_le_bytes();
    u16::from_le_bytes([low, value])
}
