//! Registers and memory as a snapshot must carry them, and what a reset makes of them.
use super::{memory::Memory, remote::Remote, spec};
use crate::net::{
    MacAddress,
    nic::eeprom::{self, Eeprom},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub(super) state: State,
    /// A frame from the wire that has no room, and how long it still waits.
    pub(super) held: Option<(Duration, Vec<u8>)>,
}

/// All registers, EEPROM and packet memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) eeprom: Eeprom,
    pub(super) memory: Memory,
    pub(super) remote: Remote,
    /// The cable is plugged in.
    pub(super) link: bool,
    /// RD and PS as written; STP, STA and TXP as they are.
    pub(super) cr: u8,
    pub(super) pstart: u8,
    pub(super) pstop: u8,
    pub(super) bnry: u8,
    pub(super) curr: u8,
    pub(super) tpsr: u8,
    pub(super) tbcr: u16,
    pub(super) isr: u8,
    pub(super) imr: u8,
    pub(super) rcr: u8,
    pub(super) tcr: u8,
    pub(super) dcr: u8,
    pub(super) tsr: u8,
    pub(super) rsr: u8,
    /// Where local DMA ended.
    pub(super) clda: u16,
    /// CNTR0 to CNTR2.
    pub(super) tally: [u8; 3],
    /// PAR.
    pub(super) physical: [u8; 6],
    /// MAR: bit per multicast hash.
    pub(super) multicast: [u8; 8],
    /// What the receiver left there in loopback mode, and which byte is read next.
    pub(super) fifo: ([u8; 8], u8),
    /// Frames are lost, and the driver has not made room since.
    pub(super) overflowed: bool,
    pub(super) cr9346: u8,
    pub(super) config2: u8,
    pub(super) config3: u8,
}

impl State {
    /// After power-on.
    pub(super) fn new(mac: MacAddress, link: bool) -> Self {
        let mut state = Self {
            eeprom: Eeprom::new(content(mac)),
            memory: Memory::new(),
            remote: Remote::default(),
            link,
            cr: 0,
            pstart: 0,
            pstop: 0,
            bnry: 0,
            curr: 0,
            tpsr: 0,
            tbcr: 0,
            isr: 0,
            imr: 0,
            rcr: 0,
            tcr: 0,
            dcr: 0,
            tsr: 0,
            rsr: 0,
            clda: 0,
            tally: [0; 3],
            physical: [0; 6],
            multicast: [0; 8],
            fifo: ([0; 8], 0),
            overflowed: false,
            cr9346: 0,
            config2: 0,
            config3: 0,
        };
        state.auto_load();
        state.reset();
        state
    }

    /// What the reset port does (D 10.3, "Register Bits Affected by Reset"): addresses, ring pointers and memory stay.
    pub(super) fn reset(&mut self) {
        self.cr = spec::CR_STP | spec::CR_RD_ABORT;
        self.isr = spec::ISR_RST;
        self.imr = 0;
        self.tcr &= !spec::TCR_LB;
        self.remote.abort();
        self.overflowed = false;
    }

    /// What the chip loads from its EEPROM by itself.
    pub(super) fn auto_load(&mut self) {
        let [config2, config3] = self.eeprom.word(0).to_le_bytes();
        self.config2 = config2;
        self.config3 = config3;
        let mut mac = [0; 6];
        for (bytes, index) in mac.chunks_exact_mut(2).zip(1..) {
            bytes.copy_from_slice(&self.eeprom.word(index).to_le_bytes());
        }
        self.memory.program(MacAddress(mac));
    }

    /// Neither stopped nor reset.
    pub(super) fn started(&self) -> bool {
        self.cr & spec::CR_STA != 0
    }

    /// TCR.LB: what is sent comes back.
    pub(super) fn loopback(&self) -> bool {
        self.tcr & spec::TCR_LB != 0
    }

    /// Counts in CNTR`index`.
    pub(super) fn count(&mut self, index: usize) {
        if let Some(counter) = self.tally.get_mut(index) {
            *counter = counter.saturating_add(1).min(spec::TALLY_MAX);
            if *counter & spec::TALLY_MSB != 0 {
                self.isr |= spec::ISR_CNT;
            }
        }
    }

    /// The page that the register block shows.
    pub(super) fn page(&self) -> u8 {
        self.cr >> spec::CR_PS_SHIFT
    }

    /// CONFIG0: with automatic choice of the medium a twisted pair without link means that the thin cable is used.
    pub(super) fn config0(&self) -> u8 {
        let thin = match self.config2 & spec::CONFIG2_PL {
            spec::CONFIG2_PL_AUTO => !self.link,
            medium => medium != spec::CONFIG2_PL_10BASET,
        };
        if thin { spec::CONFIG0_BNC } else { 0 }
    }
}

/// The EEPROM: CONFIG2 and CONFIG3, then the address. No driver looks: they read the PROM.
fn content(mac: MacAddress) -> [u16; eeprom::WORDS] {
    let mut words = [0; eeprom::WORDS];
    let [first, second, third] = mac.words();
    let config = u16::from_le_bytes([spec::CONFIG2_PL_AUTO, spec::CONFIG3_FUDUP]);
    for (word, value) in words.iter_mut().zip([config, first, second, third]) {
        *word = value;
    }
    words
}
