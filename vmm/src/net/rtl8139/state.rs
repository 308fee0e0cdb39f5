//! Registers as a snapshot must carry them, and what a reset makes of them.
use super::{
    spec::{self, Chip},
    tally::Tally,
};
use crate::net::{
    MacAddress,
    nic::{
        eeprom::{self, Eeprom},
        mii::Mii,
    },
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub(super) state: State,
    /// TSD of C mode.
    pub(super) transmit_status: [u32; 4],
    pub(super) capr: u16,
    /// TPPOLL.NPQ.
    pub(super) poll: bool,
    /// The first C+ transmit descriptor that is not reported.
    pub(super) transmit_head: u32,
    /// Segments of its packet that are sent.
    pub(super) transmit_sent: u16,
    /// TCTR's age, and when it reaches TIMER_INT.
    pub(super) timer: (Duration, Option<Duration>),
    /// A frame from the wire that has no room, and whether its checksum is right.
    pub(super) held: Option<(bool, Vec<u8>)>,
    pub(super) bus_master: bool,
}

/// All registers, EEPROM and PHY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) chip: Chip,
    pub(super) eeprom: Eeprom,
    pub(super) mii: Mii,
    pub(super) tally: Tally,
    pub(super) id: [u8; 6],
    /// MAR: bit per multicast hash.
    pub(super) multicast: u64,
    /// TSAD of C mode.
    pub(super) transmit_addresses: [u32; 4],
    /// The next of them to be sent.
    pub(super) transmit_next: u8,
    pub(super) rbstart: u32,
    pub(super) cr: u8,
    /// Where the next frame goes in the ring of C mode.
    pub(super) cbr: u16,
    pub(super) imr: u16,
    pub(super) isr: u16,
    pub(super) tcr: u32,
    pub(super) rcr: u32,
    pub(super) timer_int: u32,
    pub(super) mpc: u32,
    pub(super) cr9346: u8,
    pub(super) config1: u8,
    pub(super) config3: u8,
    pub(super) config4: u8,
    pub(super) config5: u8,
    pub(super) mulint: u16,
    pub(super) cscr: u16,
    pub(super) cpcr: u16,
    pub(super) etthr: u8,
    pub(super) dtccr: u64,
    /// C+ transmit ring.
    pub(super) tnpds: u64,
    /// C+ receive ring.
    pub(super) rdsar: u64,
    /// Its descriptor for the next frame.
    pub(super) receive_next: u32,
}

impl State {
    /// After power-on.
    pub(super) fn new(chip: Chip, mac: MacAddress, link: bool) -> Self {
        let mut state = Self {
            chip,
            eeprom: Eeprom::new(content(mac)),
            mii: Mii::new(0, link),
            tally: Tally::default(),
            id: [0; 6],
            multicast: 0,
            transmit_addresses: [0; 4],
            transmit_next: 0,
            rbstart: 0,
            cr: 0,
            cbr: 0,
            imr: 0,
            isr: 0,
            tcr: 0,
            rcr: 0,
            timer_int: 0,
            mpc: 0,
            cr9346: 0,
            config1: 0,
            config3: 0,
            config4: 0,
            config5: 0,
            mulint: 0,
            cscr: 0,
            cpcr: 0,
            etthr: 0,
            dtccr: 0,
            tnpds: 0,
            rdsar: 0,
            receive_next: 0,
        };
        state.auto_load();
        state.reset();
        state
    }

    /// CR.RST (C 5.6): addresses, multicast table, configuration and PHY stay.
    pub(super) fn reset(&mut self) {
        self.transmit_addresses = [0; 4];
        self.transmit_next = 0;
        self.rbstart = 0;
        self.cr = 0;
        self.cbr = 0;
        self.imr = 0;
        self.isr = 0;
        self.tcr = 0x0300_0000;
        self.rcr = 0;
        self.timer_int = 0;
        self.mpc = 0;
        self.mulint = 0;
        self.cpcr = 0;
        self.etthr = 0;
        self.dtccr = 0;
        self.tnpds = 0;
        self.rdsar = 0;
        self.receive_next = 0;
        self.tally = Tally::default();
    }

    /// What the chip loads from its EEPROM by itself (C 6).
    pub(super) fn auto_load(&mut self) {
        for (bytes, index) in self.id.chunks_exact_mut(2).zip(7..) {
            bytes.copy_from_slice(&self.eeprom.word(index).to_le_bytes());
        }
        self.config1 = spec::CONFIG1_FIXED;
        self.config3 = spec::CONFIG3_FIXED;
        self.config4 = 0;
        self.config5 = 0;
    }

    /// Descriptor rings transmit.
    pub(super) fn plus_transmits(&self) -> bool {
        self.cpcr & spec::CPCR_TX != 0
    }

    /// Descriptor rings receive.
    pub(super) fn plus_receives(&self) -> bool {
        self.cpcr & spec::CPCR_RX != 0
    }

    /// Registers at 0x10 and 0x20 are those of C+.
    pub(super) fn is_plus(&self) -> bool {
        self.plus_transmits() || self.plus_receives()
    }

    /// Bytes of the ring of C mode, without what may lie behind it (RCR.RBLEN).
    pub(super) fn ring_len(&self) -> u32 {
        8192 << (self.rcr >> 11 & 3)
    }

    /// Sent frames come back.
    pub(super) fn loopback(&self) -> bool {
        self.tcr & spec::TCR_LBK == spec::TCR_LBK || self.mii.loopback()
    }
}

/// The EEPROM (C 6, "EEPROM (93C46) Contents").
fn content(mac: MacAddress) -> [u16; eeprom::WORDS] {
    let mut words = [0; eeprom::WORDS];
    let [first, second, third] = mac.words();
    let known = [
        // The chip's own mark.
        0x8129,
        spec::VENDOR,
        spec::DEVICE,
        spec::VENDOR,
        spec::DEVICE,
        // MAX_LAT and MIN_GNT, CONFIG3 and MSR.
        0x4020,
        0xe512,
        first,
        second,
        third,
    ];
    for (word, value) in words.iter_mut().zip(known) {
        *word = value;
    }
    words
}
