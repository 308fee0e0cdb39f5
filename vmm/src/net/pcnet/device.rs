//! The ports as a driver sees them ("I/O Resources"), and what belongs to no register.
use super::{
    doorbells::{Doorbells, OFF},
    poll::Poll,
    receive::Held,
    spec::{self, Chip},
    state::{Saved, State},
    transmit::Transmitter,
};
use crate::{
    net::nic::{Access, Parts, Width},
    pci::Intx,
};
use std::sync::{Arc, atomic::Ordering};
use virtqueue::MemoryMap;

/// A PCnet behind its bus interface.
#[derive(Debug)]
pub struct Device {
    // Runtime glue
    pub(super) memory: Arc<MemoryMap>,
    pub(super) doorbells: Arc<Doorbells>,
    intx: Arc<Intx>,
    // Volatile state
    pub(super) state: State,
    pub(super) transmitter: Transmitter,
    pub(super) poll: Poll,
    pub(super) held: Held,
    /// The frame that comes in.
    pub(super) frame: Vec<u8>,
    /// One that goes out as a copy.
    pub(super) scratch: Vec<u8>,
    /// The driver lets the device access memory.
    pub(super) bus_master: bool,
    /// Frames of a past life are on the wire: it must be restarted before anything else.
    pub(super) stale: bool,
}

/// What lies at an address.
enum Port {
    Aprom,
    Rdp,
    Rap,
    Reset,
    Bdp,
    /// A double word to RDP in word I/O mode.
    Switch,
    Nothing,
}

impl Device {
    /// After power-on.
    pub fn new(chip: Chip, parts: Parts) -> Self {
        let device = Self {
            memory: parts.memory,
            doorbells: Arc::default(),
            intx: parts.intx,
            state: State::new(chip, parts.mac, parts.link),
            transmitter: Transmitter::default(),
            poll: Poll::default(),
            held: Held::default(),
            frame: Vec::new(),
            scratch: Vec::new(),
            bus_master: false,
            stale: false,
        };
        device.sync_doorbells();
        device
    }

    /// "Word I/O Mode", "Double Word I/O Mode". What is narrower or wider than a mode has it reaches nothing.
    fn port(&self, at: Access) -> Port {
        let dwio = self.doorbells.dwio.load(Ordering::SeqCst);
        match (dwio, at.width, at.offset) {
            (_, _, ..spec::APROM_LEN) => Port::Aprom,
            (false, Width::Word, spec::WIO_RDP) | (true, Width::Dword, spec::DWIO_RDP) => Port::Rdp,
            (false, Width::Word, spec::WIO_RAP) | (true, Width::Dword, spec::DWIO_RAP) => Port::Rap,
            (false, Width::Word, spec::WIO_BDP) | (true, Width::Dword, spec::DWIO_BDP) => Port::Bdp,
            (false, Width::Word, spec::WIO_RESET) | (true, Width::Dword, spec::DWIO_RESET) => {
                Port::Reset
            }
            (false, Width::Dword, spec::DWIO_RDP) => Port::Switch,
            _ => Port::Nothing,
        }
    }

    pub(super) fn read_port(&mut self, at: Access) -> u32 {
        let rap = self.rap();
        match self.port(at) {
            Port::Aprom => self.read_aprom(at.offset),
            Port::Rdp => self.read_csr(rap).into(),
            Port::Rap => rap.into(),
            Port::Bdp => self.read_bcr(rap).into(),
            Port::Reset => {
                self.reset();
                0
            }
            Port::Switch | Port::Nothing => 0,
        }
    }

    /// True: the thread has to act on it.
    pub(super) fn write_port(&mut self, at: Access, value: u32) -> bool {
        let [low, high, ..] = value.to_le_bytes();
        let word = u16::from_le_bytes([low, high]);
        let rap = self.rap();
        let needs_thread = match self.port(at) {
            Port::Aprom => {
                self.write_aprom(at, value);
                false
            }
            Port::Rdp => self.write_csr(rap, word),
            Port::Rap => {
                self.doorbells
                    .rap
                    .store(word & spec::RAP_MASK, Ordering::SeqCst);
                false
            }
            Port::Bdp => self.write_bcr(rap, word),
            Port::Switch => {
                self.set_dwio(true);
                false
            }
            Port::Reset | Port::Nothing => false,
        };
        self.sync_doorbells();
        self.update_pin();
        needs_thread || self.held.is_some()
    }

    fn rap(&self) -> u16 {
        self.doorbells.rap.load(Ordering::SeqCst)
    }

    /// Only a hardware reset leads back (BCR18.DWIO).
    fn set_dwio(&mut self, on: bool) {
        let old = self.state.bcr(spec::BCR_BSBC) & !spec::BCR18_DWIO;
        let bit = if on { spec::BCR18_DWIO } else { 0 };
        self.state.set_bcr(spec::BCR_BSBC, old | bit);
        self.doorbells.dwio.store(on, Ordering::SeqCst);
    }

    fn read_aprom(&self, offset: u32) -> u32 {
        let at = usize::try_from(offset).unwrap_or(0);
        let mut bytes = [0; 4];
        let rest = self.state.aprom.get(at..).unwrap_or(&[]);
        for (byte, value) in bytes.iter_mut().zip(rest) {
            *byte = *value;
        }
        u32::from_le_bytes(bytes)
    }

    fn write_aprom(&mut self, at: Access, value: u32) {
        if self.state.bcr(spec::BCR_MC) & spec::BCR2_APROMWE == 0 {
            return;
        }
        let start = usize::try_from(at.offset).unwrap_or(0);
        let len = usize::try_from(at.width.bytes()).unwrap_or(0);
        let rest = self.state.aprom.get_mut(start..).unwrap_or(&mut []);
        for (byte, value) in rest.iter_mut().zip(value.to_le_bytes()).take(len) {
            *byte = value;
        }
    }

    /// S_RESET, by a read.
    fn reset(&mut self) {
        self.stale |= self.transmitter.restart(0);
        self.state.reset();
        self.held = Held::default();
        self.doorbells.rap.store(0, Ordering::SeqCst);
        self.doorbells.demand.store(false, Ordering::SeqCst);
        self.sync_doorbells();
        self.update_pin();
    }

    /// Without bus mastering nothing of the driver's memory is touched, descriptors of frames on their way included.
    pub(super) fn change_bus_master(&mut self, on: bool) {
        if self.bus_master && !on {
            self.stale |= self.transmitter.abandon();
        }
        self.bus_master = on;
    }

    /// The cable was plugged in or pulled.
    pub(super) fn change_link(&mut self, up: bool) {
        if up == self.state.mii.link() {
            return;
        }
        self.state.mii.set_link(up);
        let watches = self.state.bcr(spec::BCR_MIICAS) & spec::BCR32_APEP != 0;
        if self.state.chip.mii && watches {
            self.state.raise(spec::CSR_EXTENDED2, spec::CSR7_MAPINT);
        }
        self.update_pin();
    }

    pub(super) fn raise(&mut self, flags: u16) {
        self.state.raise(spec::CSR_STATUS, flags);
    }

    pub(super) fn status_has(&self, bits: u16) -> bool {
        self.state.has(spec::CSR_STATUS, bits)
    }

    /// No new frames are begun (CSR5.SPND).
    pub(super) fn is_suspended(&self) -> bool {
        self.state.has(spec::CSR_EXTENDED, spec::CSR5_SPND)
    }

    pub(super) fn update_pin(&mut self) {
        let level = self.status_has(spec::CSR0_IENA) && self.state.interrupts();
        self.intx.set_pending(level);
    }

    /// Tells the doorbells which writes to CSR0 they may take.
    pub(super) fn sync_doorbells(&self) {
        let status = self.state.get(spec::CSR_STATUS);
        let enabled = if status & spec::CSR0_TXON != 0 {
            status & spec::CSR0_IENA
        } else {
            OFF
        };
        self.doorbells.enabled.store(enabled, Ordering::SeqCst);
    }

    /// What a snapshot must carry.
    pub(super) fn snapshot(&self) -> Saved {
        Saved {
            state: self.state.clone(),
            rap: self.rap(),
            demand: self.doorbells.demand.load(Ordering::SeqCst) || self.transmitter.has_flights(),
            transmit_head: self.transmitter.head(),
            held: self.held.is_some().then(|| self.frame.clone()),
            bus_master: self.bus_master,
        }
    }

    /// Goes on from a snapshot.
    pub(super) fn resume(&mut self, saved: Saved) {
        let Saved {
            state,
            rap,
            demand,
            transmit_head,
            held,
            bus_master,
        } = saved;
        self.state = state;
        self.set_dwio(self.state.bcr(spec::BCR_BSBC) & spec::BCR18_DWIO != 0);
        self.doorbells.rap.store(rap, Ordering::SeqCst);
        self.doorbells.demand.store(demand, Ordering::SeqCst);
        self.stale |= self.transmitter.restart(transmit_head);
        self.poll = Poll::default();
        self.held = Held::restore(held.is_some());
        self.frame = held.unwrap_or_default();
        let waiting = self.held.is_some();
        self.doorbells.waiting.store(waiting, Ordering::SeqCst);
        self.bus_master = bus_master;
        self.sync_doorbells();
        self.update_pin();
    }
}
