//! The registers as a driver sees them, with their side effects.
use super::{
    doorbells::Doorbells,
    receive::Held,
    reminder::Reminder,
    ring::Transmitter,
    spec::{self, Chip},
    state::{Saved, State},
    timer::Timer,
};
use crate::{
    net::nic::{Parts, eeprom::Pins, mii},
    pci::Intx,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};
use virtqueue::MemoryMap;

/// An RTL8139 behind its bus interface.
#[derive(Debug)]
pub struct Device {
    // Runtime glue
    pub(super) memory: Arc<MemoryMap>,
    pub(super) doorbells: Arc<Doorbells>,
    intx: Arc<Intx>,
    // Volatile state
    pub(super) state: State,
    pub(super) timer: Timer,
    pub(super) transmitter: Transmitter,
    pub(super) held: Held,
    pub(super) reminder: Reminder,
    /// The frame that comes in.
    pub(super) frame: Vec<u8>,
    /// One that goes out as a copy.
    pub(super) scratch: Vec<u8>,
    /// The driver lets the device access memory.
    pub(super) bus_master: bool,
    /// Packets of a past life are on the wire: it must be restarted before anything else.
    pub(super) stale: bool,
}

impl Device {
    /// After power-on.
    pub fn new(chip: Chip, parts: Parts, now: Instant) -> Self {
        Self {
            memory: parts.memory,
            doorbells: Arc::default(),
            intx: parts.intx,
            state: State::new(chip, parts.mac, parts.link),
            timer: Timer::new(now),
            transmitter: Transmitter::default(),
            held: Held::default(),
            reminder: Reminder::default(),
            frame: Vec::new(),
            scratch: Vec::new(),
            bus_master: false,
            stale: false,
        }
    }

    pub(super) fn raise(&mut self, causes: u16) {
        self.state.isr |= causes;
    }

    pub(super) fn update_pin(&mut self) {
        self.intx
            .set_pending(self.state.isr & self.state.imr & spec::ISR_MASK != 0);
    }

    /// The cable was plugged in or pulled.
    pub(super) fn change_link(&mut self, up: bool) {
        if up != self.state.mii.link() {
            self.state.mii.set_link(up);
            self.state.cscr |= spec::CSCR_LINK_CHANGED;
            self.raise(spec::ISR_PUN);
            self.update_pin();
        }
    }

    /// Without bus mastering nothing of the driver's memory is touched, descriptors of packets on their way included.
    pub(super) fn change_bus_master(&mut self, on: bool) {
        if self.bus_master && !on {
            self.stale |= self.transmitter.abandon();
        }
        self.bus_master = on;
    }

    fn reset(&mut self, now: Instant) {
        self.stale |= self.transmitter.restart(0);
        self.state.reset();
        self.doorbells.reset();
        self.timer = Timer::new(now);
        self.held = Held::default();
        if self.stale {
            // It reads as 1 until the wire has let go of the driver's memory.
            self.state.cr |= spec::CR_RST;
        }
    }

    /// The wire was restarted.
    pub(super) fn let_go(&mut self) {
        self.stale = false;
        self.state.cr &= !spec::CR_RST;
    }

    /// Reads the four bytes from `offset` on, a multiple of four.
    pub(super) fn read_dword(&self, offset: u32, now: Instant) -> u32 {
        let state = &self.state;
        let [i0, i1, i2, i3, i4, i5] = state.id;
        let pair = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
        let bytes = |bytes: [u8; 4]| u32::from_le_bytes(bytes);
        let phy = |register| state.mii.read(register);
        match offset {
            spec::IDR0 => bytes([i0, i1, i2, i3]),
            spec::IDR4 => bytes([i4, i5, 0, 0]),
            spec::MAR0 => half(state.multicast, 0),
            spec::MAR4 => half(state.multicast, 1),
            spec::DTCCR if state.is_plus() => half(state.dtccr, 0),
            spec::DTCCR_HIGH if state.is_plus() => half(state.dtccr, 1),
            spec::TSD0..=spec::TSD3 => self.transmit_status(offset),
            spec::TNPDS if state.is_plus() => half(state.tnpds, 0),
            spec::TNPDS_HIGH if state.is_plus() => half(state.tnpds, 1),
            spec::TSAD0..=spec::TSAD3 => address_at(&state.transmit_addresses, offset),
            spec::RBSTART => state.rbstart,
            spec::ERBCR => bytes([0, 0, 0, self.read_cr()]),
            spec::CAPR => pair(self.doorbells.capr.load(Ordering::SeqCst), state.cbr),
            spec::IMR => pair(state.imr, state.isr),
            spec::TCR => state.tcr & spec::TCR_WRITABLE | state.chip.version,
            spec::RCR => state.rcr,
            spec::TCTR => self.timer.count(now),
            spec::MPC => state.mpc,
            spec::CR9346 => bytes([self.read_cr9346(), 0, state.config1, 0]),
            spec::TIMER_INT => state.timer_int,
            spec::MSR => {
                let media = if state.mii.link() { 0 } else { spec::MSR_LINKB };
                bytes([media, state.config3, state.config4, 0])
            }
            spec::MULINT => pair(state.mulint, 0x0010),
            spec::TSAD_ALL => pair(self.all_transmit_status(), phy(mii::BMCR)),
            spec::BMSR => pair(phy(mii::BMSR), phy(mii::ANAR)),
            spec::ANLPAR => pair(phy(mii::ANLPAR), phy(mii::ANER)),
            spec::CSCR => pair(self.read_cscr(), 0),
            spec::CONFIG5 => bytes([state.config5, self.read_tppoll(), 0, 0]),
            spec::CPCR => state.cpcr.into(),
            spec::RDSAR => half(state.rdsar, 0),
            spec::RDSAR_HIGH => half(state.rdsar, 1),
            spec::ETTHR => state.etthr.into(),
            _ => 0,
        }
    }

    fn transmit_status(&self, offset: u32) -> u32 {
        let status = self.doorbells.status_at(offset);
        status.map_or(0, |status| status.load(Ordering::SeqCst))
    }

    /// TSAD of all four: OWN, TABT, TUN, TOK (C 5.17).
    fn all_transmit_status(&self) -> u16 {
        let flags = [
            (spec::TSD_OWN, 0),
            (spec::TSD_TABT, 4),
            (spec::TSD_TUN, 8),
            (spec::TSD_TOK, 12),
        ];
        let mut all = 0;
        for (status, index) in self.doorbells.status.iter().zip(0..) {
            let status = status.load(Ordering::SeqCst);
            for (flag, shift) in flags {
                all |= u16::from(status & flag != 0) << (shift + index);
            }
        }
        all
    }

    fn read_cr(&self) -> u8 {
        let empty = if self.ring_is_empty() {
            spec::CR_BUFE
        } else {
            0
        };
        self.state.cr | empty
    }

    fn read_cr9346(&self) -> u8 {
        let out = if self.state.eeprom.output() {
            spec::CR9346_EEDO
        } else {
            0
        };
        self.state.cr9346 | out
    }

    fn read_cscr(&self) -> u16 {
        let link = if self.state.mii.link() {
            spec::CSCR_LINK_OK
        } else {
            0
        };
        self.state.cscr | link
    }

    fn read_tppoll(&self) -> u8 {
        if self.doorbells.poll.load(Ordering::SeqCst) {
            spec::TPPOLL_NPQ
        } else {
            0
        }
    }

    /// Configuration registers take writes.
    fn unlocked(&self) -> bool {
        self.state.cr9346 & spec::CR9346_EEM == spec::CR9346_UNLOCK
    }

    /// Writes the register at `offset`, which is as wide as [`spec::register_at`] says.
    pub(super) fn write_register(&mut self, offset: u32, value: u32, now: Instant) {
        let [b0, b1, b2, b3] = value.to_le_bytes();
        let word = u16::from_le_bytes([b0, b1]);
        let plus = self.state.is_plus();
        let state = &mut self.state;
        let [_, _, _, _, i4, i5] = state.id;
        match offset {
            spec::IDR0 => state.id = [b0, b1, b2, b3, i4, i5],
            spec::IDR4 => {
                let [i0, i1, i2, i3, ..] = state.id;
                state.id = [i0, i1, i2, i3, b0, b1];
            }
            spec::MAR0 => set_half(&mut state.multicast, 0, value),
            spec::MAR4 => set_half(&mut state.multicast, 1, value),
            spec::DTCCR if plus => self.dump_tally(value),
            spec::DTCCR_HIGH if plus => set_half(&mut state.dtccr, 1, value),
            spec::TSD0..=spec::TSD3 if !plus => {
                if let Some(status) = self.doorbells.status_at(offset) {
                    status.store(value & spec::TSD_STARTABLE, Ordering::SeqCst);
                }
            }
            spec::TNPDS if plus => self.move_transmit_ring(0, value & !0xff),
            spec::TNPDS_HIGH if plus => self.move_transmit_ring(1, value),
            spec::TSAD0..=spec::TSAD3 if !plus => {
                let index = usize::try_from((offset - spec::TSAD0) / 4).unwrap_or(0);
                if let Some(address) = state.transmit_addresses.get_mut(index) {
                    *address = value;
                }
            }
            spec::RBSTART => {
                state.rbstart = value;
                state.cbr = 0;
                self.doorbells.capr.store(0xfff0, Ordering::SeqCst);
            }
            spec::CR => self.write_cr(b0, now),
            spec::CAPR => self.doorbells.capr.store(word, Ordering::SeqCst),
            spec::IMR => state.imr = word & spec::ISR_MASK,
            spec::ISR => state.isr &= !word,
            spec::TCR => state.tcr = value & spec::TCR_WRITABLE & !spec::TCR_CLRABT,
            spec::RCR => self.write_rcr(value & spec::RCR_WRITABLE),
            spec::TCTR => self.timer.clear(now, state.timer_int),
            spec::MPC => state.mpc = 0,
            spec::CR9346 => self.write_cr9346(b0),
            spec::TIMER_INT => {
                state.timer_int = value;
                self.timer.program(now, value);
            }
            spec::MULINT => state.mulint = word,
            spec::BMCR => self.write_bmcr(word),
            spec::ANAR => {
                state.mii.write(mii::ANAR, word);
            }
            spec::CSCR => state.cscr &= !(word & spec::CSCR_LINK_CHANGED),
            _ => self.write_configuration(offset, b0, word, value),
        }
    }

    /// What the EEPROM command locks, and what only C+ has.
    fn write_configuration(&mut self, offset: u32, byte: u8, word: u16, value: u32) {
        let unlocked = self.unlocked();
        let plus = self.state.chip.plus;
        let state = &mut self.state;
        match offset {
            spec::CONFIG1 if unlocked => state.config1 = byte | spec::CONFIG1_FIXED,
            spec::CONFIG3 if unlocked => state.config3 = byte | spec::CONFIG3_FIXED,
            spec::CONFIG4 if unlocked => state.config4 = byte,
            spec::CONFIG5 => state.config5 = byte,
            spec::TPPOLL if plus => {
                if byte & spec::TPPOLL_NPQ != 0 {
                    self.doorbells.poll.store(true, Ordering::SeqCst);
                }
                if byte & spec::TPPOLL_FSWINT != 0 {
                    self.raise(spec::ISR_SWINT);
                }
            }
            spec::CPCR if plus => {
                state.cpcr = word & spec::CPCR_WRITABLE;
                let plus = state.is_plus();
                self.doorbells.plus.store(plus, Ordering::SeqCst);
            }
            spec::RDSAR if plus => {
                set_half(&mut state.rdsar, 0, value & !0xff);
                state.receive_next = 0;
            }
            spec::RDSAR_HIGH if plus => {
                set_half(&mut state.rdsar, 1, value);
                state.receive_next = 0;
            }
            spec::ETTHR if plus => state.etthr = byte,
            _ => {}
        }
    }

    /// Packets on their way belong to the old ring.
    fn move_transmit_ring(&mut self, index: u32, value: u32) {
        set_half(&mut self.state.tnpds, index, value);
        self.stale |= self.transmitter.restart(0);
    }

    fn write_cr(&mut self, value: u8, now: Instant) {
        if value & spec::CR_RST != 0 {
            self.reset(now);
            return;
        }
        let enables = spec::CR_TE | spec::CR_RE;
        if value & !self.state.cr & spec::CR_TE != 0 {
            // A transmitter that is enabled begins with the first descriptor.
            self.state.transmit_next = 0;
            self.stale |= self.transmitter.restart(0);
        }
        if value & !self.state.cr & spec::CR_RE != 0 {
            // A receiver that is enabled begins at the start: drivers that switch it off and on after an error rely on that.
            self.state.receive_next = 0;
            self.rewind_ring();
        }
        self.state.cr = value & enables | self.state.cr & spec::CR_RST;
    }

    /// A ring of another length is another ring.
    fn write_rcr(&mut self, value: u32) {
        let old = self.state.ring_len();
        self.state.rcr = value;
        if self.state.ring_len() != old {
            self.rewind_ring();
        }
    }

    fn rewind_ring(&mut self) {
        self.state.cbr = 0;
        self.doorbells.capr.store(0xfff0, Ordering::SeqCst);
    }

    fn write_cr9346(&mut self, value: u8) {
        let pins = spec::CR9346_EECS | spec::CR9346_EESK | spec::CR9346_EEDI;
        match value & spec::CR9346_EEM {
            spec::CR9346_AUTO_LOAD => {
                // Done at once, and back to normal operation.
                self.state.auto_load();
                self.state.cr9346 = 0;
                return;
            }
            spec::CR9346_PROGRAMMING => self.state.eeprom.drive(Pins {
                select: value & spec::CR9346_EECS != 0,
                clock: value & spec::CR9346_EESK != 0,
                data: value & spec::CR9346_EEDI != 0,
            }),
            _ => self.state.eeprom.drive(Pins::default()),
        }
        self.state.cr9346 = value & (spec::CR9346_EEM | pins);
    }

    fn write_bmcr(&mut self, value: u16) {
        let mut value = value;
        if !self.unlocked() {
            let kept = self.state.mii.read(mii::BMCR) & spec::BMCR_LOCKED;
            value = value & !spec::BMCR_LOCKED | kept;
        }
        if self.state.mii.write(mii::BMCR, value) && self.state.mii.link() {
            // Negotiation takes no time here.
            self.state.cscr |= spec::CSCR_LINK_CHANGED;
            self.raise(spec::ISR_PUN);
        }
    }

    /// DTCCR (C+ 6.2): the command bit reads as 0 when it is done, which is at once.
    fn dump_tally(&mut self, value: u32) {
        set_half(&mut self.state.dtccr, 0, value & !0x3f);
        if value & spec::DTCCR_CMD != 0 && self.bus_master {
            // Where no memory is, nobody hears of it.
            let _ = self
                .memory
                .write(self.state.dtccr, &self.state.tally.encode());
        }
    }

    /// What a snapshot must carry.
    pub(super) fn snapshot(&self, now: Instant) -> Saved {
        let status = &self.doorbells.status;
        Saved {
            state: self.state.clone(),
            transmit_status: status.each_ref().map(|s| s.load(Ordering::SeqCst)),
            capr: self.doorbells.capr.load(Ordering::SeqCst),
            poll: self.doorbells.poll.load(Ordering::SeqCst) || self.transmitter.has_flights(),
            transmit_head: self.transmitter.head(),
            transmit_sent: self.transmitter.sent(),
            timer: self.timer.save(now),
            held: self.held.save(&self.frame),
            bus_master: self.bus_master,
        }
    }

    /// Goes on from a snapshot.
    pub(super) fn resume(&mut self, saved: Saved, now: Instant) {
        let Saved {
            state,
            transmit_status,
            capr,
            poll,
            transmit_head,
            transmit_sent,
            timer,
            held,
            bus_master,
        } = saved;
        self.state = state;
        for (status, value) in self.doorbells.status.iter().zip(transmit_status) {
            status.store(value, Ordering::SeqCst);
        }
        self.doorbells.capr.store(capr, Ordering::SeqCst);
        self.doorbells.poll.store(poll, Ordering::SeqCst);
        let plus = self.state.is_plus();
        self.doorbells.plus.store(plus, Ordering::SeqCst);
        self.stale |= self.transmitter.resume(transmit_head, transmit_sent);
        self.timer = Timer::restore(timer, now);
        (self.held, self.frame) = Held::restore(held);
        self.bus_master = bus_master;
        if !self.stale {
            self.let_go();
        }
        self.update_pin();
    }
}

fn half(value: u64, index: u32) -> u32 {
    u32::try_from(value >> (32 * index) & 0xffff_ffff).unwrap_or(0)
}

fn set_half(value: &mut u64, index: u32, half: u32) {
    let shift = 32 * index;
    *value = *value & !(0xffff_ffff << shift) | u64::from(half) << shift;
}

fn address_at(addresses: &[u32; 4], offset: u32) -> u32 {
    let index = usize::try_from((offset - spec::TSAD0) / 4).unwrap_or(0);
    addresses.get(index).copied().unwrap_or(0)
}
