//! The registers as a driver sees them, with their side effects.
use super::{
    interrupts::Interrupts,
    spec::{self, Chip},
    state::{Saved, State},
    transmit::{Ring, Transmitter},
};
use crate::{
    net::nic::{self, Access, Parts, Retry, Width, eeprom::Pins},
    pci::Intx,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use virtqueue::MemoryMap;

/// How long frames wait for another look at RDT, at first.
const FIRST_RETRY: Duration = Duration::from_micros(50);
/// And at last: who has given none for so long may have gone.
const LAST_RETRY: Duration = Duration::from_secs(1);

/// TDT and RDT: written without the device's lock, so that a doorbell never waits for a burst.
#[derive(Debug, Default)]
pub struct Doorbells {
    /// TDT.
    pub transmit: AtomicU32,
    /// RDT.
    pub receive: AtomicU32,
    /// Frames wait for RDT. Set before RDT is looked at for the last time, and read after it was written: one of the two sees the other.
    pub starving: AtomicBool,
}

impl Doorbells {
    /// The doorbell at `offset`, if there is one.
    pub fn at(&self, offset: u32) -> Option<&AtomicU32> {
        match offset {
            spec::TDT => Some(&self.transmit),
            spec::RDT => Some(&self.receive),
            _ => None,
        }
    }
}

impl nic::Doorbells for Doorbells {
    fn ring(&self, at: Access, value: u32) -> Option<bool> {
        if at.bar != spec::MEMORY_BAR {
            return None;
        }
        if at.width != Width::Dword {
            // Only whole registers can be written (13.2.1), and what KVM keeps must be a doorbell: all that follows it waits for it.
            let is_kept = (spec::RDT..spec::RDT + 4).contains(&at.offset);
            return is_kept.then_some(false);
        }
        let doorbell = self.at(at.offset)?;
        doorbell.store(value & 0xffff, Ordering::SeqCst);
        // Buffers that nobody waits for are found when a frame comes.
        Some(at.offset != spec::RDT || self.starving.load(Ordering::SeqCst))
    }
}

/// The chip behind its bus interface.
#[derive(Debug)]
pub struct Device {
    // Runtime glue
    pub(super) memory: Arc<MemoryMap>,
    pub(super) doorbells: Arc<Doorbells>,
    intx: Arc<Intx>,
    // Volatile state
    pub(super) state: State,
    /// IOADDR.
    pub(super) io_address: u32,
    pub(super) interrupts: Interrupts,
    /// When the thread looks at them next.
    pub(super) told: Option<Instant>,
    pub(super) transmitter: Transmitter,
    /// A frame from the wire that has no room in the ring, and whether its checksum is right.
    pub(super) held: Option<bool>,
    pub(super) frame: Vec<u8>,
    /// When to look for buffers again, while frames wait for some: RDT may be among the writes that KVM keeps.
    pub(super) retry: Retry,
    /// The driver lets the device access memory.
    pub(super) bus_master: bool,
    /// Packets of a past life are on the wire: it must be restarted before anything else.
    pub(super) stale: bool,
    pub(super) link: bool,
}

impl Device {
    /// After power-on.
    pub fn new(chip: Chip, parts: Parts) -> Self {
        Self {
            memory: parts.memory,
            doorbells: Arc::default(),
            intx: parts.intx,
            state: State::new(chip, parts.mac, parts.link),
            io_address: 0,
            interrupts: Interrupts::default(),
            told: None,
            transmitter: Transmitter::default(),
            held: None,
            frame: Vec::new(),
            retry: Retry::new(FIRST_RETRY).up_to(LAST_RETRY),
            bus_master: false,
            stale: false,
            link: parts.link,
        }
    }

    /// The cable was plugged in or pulled.
    pub(super) fn change_link(&mut self, link: bool, now: Instant) {
        if link != self.link {
            self.link = link;
            self.state.set_link(link);
            self.interrupts.raise(spec::ICR_LSC);
            self.update_pin(now);
        }
    }

    /// Without bus mastering nothing of the driver's memory is touched, status of packets on their way included.
    pub(super) fn change_bus_master(&mut self, on: bool) {
        if self.bus_master && !on {
            self.stale |= self.transmitter.abandon();
            self.state.set(spec::TDH, self.transmitter.head());
        }
        self.bus_master = on;
    }

    /// What a snapshot must carry.
    pub(super) fn snapshot(&self, now: Instant) -> Saved {
        Saved {
            state: self.state.clone(),
            io_address: self.io_address,
            transmit_tail: self.doorbells.transmit.load(Ordering::SeqCst),
            receive_tail: self.doorbells.receive.load(Ordering::SeqCst),
            interrupts: self.interrupts.save(now),
            transmitter: self.transmitter.save(),
            held: self.held.map(|checked| (checked, self.frame.clone())),
            bus_master: self.bus_master,
            link: self.link,
        }
    }

    /// Goes on from a snapshot.
    pub(super) fn resume(&mut self, saved: Saved, now: Instant) {
        let Saved {
            state,
            io_address,
            transmit_tail,
            receive_tail,
            interrupts,
            transmitter,
            held,
            bus_master,
            link,
        } = saved;
        self.state = state;
        self.io_address = io_address;
        let tails = [
            (&self.doorbells.transmit, transmit_tail),
            (&self.doorbells.receive, receive_tail),
        ];
        for (doorbell, tail) in tails {
            doorbell.store(tail & 0xffff, Ordering::SeqCst);
        }
        self.interrupts.restore(&interrupts, now);
        self.stale |= self.transmitter.restore(transmitter);
        self.held = held.as_ref().map(|(checked, _)| *checked);
        self.frame = held.map(|(_, frame)| frame).unwrap_or_default();
        self.bus_master = bus_master;
        self.link = link;
        if !self.stale {
            self.let_go();
        }
        self.update_pin(now);
    }

    pub(super) fn update_pin(&mut self, now: Instant) {
        let level = self.interrupts.level(now, self.state.get(spec::ITR));
        self.intx.set_pending(level);
    }

    fn reset(&mut self, now: Instant) {
        self.stale |= self.transmitter.reset();
        self.doorbells.transmit.store(0, Ordering::SeqCst);
        self.doorbells.receive.store(0, Ordering::SeqCst);
        self.state.reset(self.link);
        self.interrupts = Interrupts::default();
        self.held = None;
        if self.stale {
            // It reads as 1 until the wire has let go of the driver's memory.
            let ctrl = self.state.get(spec::CTRL);
            self.state.set(spec::CTRL, ctrl | spec::CTRL_RST);
        }
        self.update_pin(now);
    }

    /// The wire was restarted.
    pub(super) fn let_go(&mut self) {
        self.stale = false;
        let ctrl = self.state.get(spec::CTRL);
        self.state.set(spec::CTRL, ctrl & !spec::CTRL_RST);
    }

    pub(super) fn transmit_ring(&self) -> Ring {
        self.ring(spec::TDBAL, spec::TDBAH, spec::TDLEN)
    }

    pub(super) fn receive_ring(&self) -> Ring {
        self.ring(spec::RDBAL, spec::RDBAH, spec::RDLEN)
    }

    fn ring(&self, low: u32, high: u32, len: u32) -> Ring {
        Ring {
            base: u64::from(self.state.get(high)) << 32 | u64::from(self.state.get(low)),
            len: self.state.get(len) / 16,
        }
    }

    /// Reads the register at `offset`, a multiple of four.
    pub(super) fn read_register(&mut self, offset: u32, now: Instant) -> u32 {
        if let Some(doorbell) = self.doorbells.at(offset) {
            return doorbell.load(Ordering::SeqCst);
        }
        match offset {
            spec::CTRL_DUP => self.state.get(spec::CTRL),
            spec::EECD => self.read_eecd(),
            spec::ICR => {
                let cause = self.interrupts.take(now);
                self.update_pin(now);
                cause
            }
            spec::IMS => self.interrupts.mask(),
            spec::ICS | spec::IMC => 0,
            spec::STATISTICS..spec::STATISTICS_END => self.state.take(offset),
            _ => self.state.get(offset),
        }
    }

    /// Writes the register at `offset`, a multiple of four.
    pub(super) fn write_register(&mut self, offset: u32, value: u32, now: Instant) {
        if let Some(doorbell) = self.doorbells.at(offset) {
            doorbell.store(value & 0xffff, Ordering::SeqCst);
            return;
        }
        match offset {
            spec::CTRL | spec::CTRL_DUP => self.write_ctrl(value, now),
            spec::CTRL_EXT => {
                // EE_RST loads the EEPROM again and clears itself (13.4.5).
                if value & spec::CTRL_EXT_EE_RST != 0 {
                    self.state.load_eeprom();
                }
                self.state.set(offset, value & !spec::CTRL_EXT_EE_RST);
            }
            spec::EECD => self.write_eecd(value),
            spec::EERD => self.write_eerd(value),
            spec::MDIC => self.write_mdic(value),
            spec::ICR => self.interrupts.clear(value),
            spec::ICS => self.interrupts.raise(value),
            spec::IMS => self.interrupts.enable(value, now),
            spec::IMC => self.interrupts.disable(value),
            spec::TDBAL | spec::TDBAH | spec::TDLEN | spec::TDH => self.move_ring(offset, value),
            _ => self.write_plain(offset, value),
        }
        match offset {
            spec::RDTR if value & spec::FPD != 0 => self.interrupts.flush_receive(),
            spec::TIDV if value & spec::FPD != 0 => self.interrupts.flush_transmit(),
            _ => {}
        }
        self.update_pin(now);
    }

    /// Whether the thread has to act on a write to `offset`. Every interrupt of the driver masks and unmasks: that must not
    /// cost a wake-up each time.
    pub(super) fn needs_thread(&self, offset: u32) -> bool {
        let interrupts = matches!(offset, spec::ICR | spec::IMS | spec::IMC);
        let due = self.interrupts.deadline();
        let earlier = due.is_some_and(|due| self.told.is_none_or(|told| due < told));
        !interrupts || earlier
    }

    fn write_plain(&mut self, offset: u32, value: u32) {
        if let Some(mask) = spec::writable(offset) {
            self.state.set(offset, value & mask);
        }
    }

    /// Packets on their way belong to the old ring.
    fn move_ring(&mut self, offset: u32, value: u32) {
        self.write_plain(offset, value);
        let head = self.state.get(spec::TDH);
        self.stale |= self.transmitter.restart(head);
    }

    fn write_ctrl(&mut self, value: u32, now: Instant) {
        // One that is under way is read as 1, and written back by a driver that changes another bit.
        let pending = self.state.get(spec::CTRL) & spec::CTRL_RST;
        if value & spec::CTRL_RST & !pending != 0 {
            self.reset(now);
            return;
        }
        if value & spec::CTRL_PHY_RST != 0 {
            self.state.phy.write(spec::PHY_CTRL, spec::PHY_CTRL_RESET);
        }
        let written = value & !(spec::CTRL_PHY_RST | spec::CTRL_RST);
        self.state.set(spec::CTRL, written | pending);
    }

    fn read_eecd(&self) -> u32 {
        let pins = self.state.get(spec::EECD);
        let out = if self.state.eeprom.output() {
            spec::EECD_DO
        } else {
            0
        };
        let grant = if pins & spec::EECD_REQ != 0 {
            spec::EECD_GNT
        } else {
            0
        };
        pins | out | grant | spec::EECD_PRES
    }

    fn write_eecd(&mut self, value: u32) {
        let driven =
            spec::EECD_SK | spec::EECD_CS | spec::EECD_DI | spec::EECD_FWE | spec::EECD_REQ;
        self.state.set(spec::EECD, value & driven);
        self.state.eeprom.drive(Pins {
            select: value & spec::EECD_CS != 0,
            clock: value & spec::EECD_SK != 0,
            data: value & spec::EECD_DI != 0,
        });
    }

    /// 13.4.4; an index beyond the chip reads as ones.
    fn write_eerd(&mut self, value: u32) {
        if value & spec::EERD_START == 0 {
            self.state.set(spec::EERD, 0);
            return;
        }
        let index = usize::try_from(value >> 8 & 0xff).unwrap_or(usize::MAX);
        let word = u32::from(self.state.eeprom.word(index));
        let answer = word << 16 | value & 0xff00 | spec::EERD_DONE;
        self.state.set(spec::EERD, answer);
    }

    /// 13.4.7.
    fn write_mdic(&mut self, value: u32) {
        let register = usize::try_from(value >> 16 & 0x1f).unwrap_or(0);
        let [low, high, ..] = value.to_le_bytes();
        let data = u16::from_le_bytes([low, high]);
        let mut answer = value & !spec::MDIC_E | spec::MDIC_R;
        match (value >> 21 & 0x1f, value >> 26 & 3) {
            (spec::PHY_ADDRESS, spec::MDIC_OP_READ) => {
                answer = answer & !0xffff | u32::from(self.state.phy.read(register));
            }
            (spec::PHY_ADDRESS, spec::MDIC_OP_WRITE) => {
                if self.state.phy.write(register, data) && self.link {
                    // Negotiation takes no time here.
                    self.interrupts.raise(spec::ICR_LSC);
                }
            }
            _ => answer |= spec::MDIC_E,
        }
        if value & spec::MDIC_I != 0 {
            self.interrupts.raise(spec::ICR_MDAC);
        }
        self.state.set(spec::MDIC, answer);
    }
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
