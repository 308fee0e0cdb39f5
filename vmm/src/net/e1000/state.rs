//! Registers as a snapshot must carry them, and what a reset makes of them.
use super::{
    interrupts::SavedInterrupts,
    phy::Phy,
    spec::{self, Chip},
    transmit::SavedTransmitter,
};
use crate::net::{
    MacAddress,
    nic::eeprom::{self, Eeprom},
};
use serde::{Deserialize, Serialize};

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub(super) state: State,
    pub(super) io_address: u32,
    /// TDT.
    pub(super) transmit_tail: u32,
    /// RDT.
    pub(super) receive_tail: u32,
    pub(super) interrupts: SavedInterrupts,
    pub(super) transmitter: SavedTransmitter,
    /// A frame from the wire that has no room in the ring, and whether its checksum is right.
    pub(super) held: Option<(bool, Vec<u8>)>,
    pub(super) bus_master: bool,
    pub(super) link: bool,
}

/// All registers, EEPROM and PHY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub(super) chip: Chip,
    registers: Box<[u32]>,
    /// The EEPROM.
    pub eeprom: Eeprom,
    /// The PHY.
    pub phy: Phy,
}

impl State {
    /// After power-on.
    pub fn new(chip: Chip, mac: MacAddress, link: bool) -> Self {
        let count = usize::try_from(spec::REGISTERS_LEN / 4).unwrap_or(0);
        let mut state = Self {
            chip,
            registers: vec![0; count].into_boxed_slice(),
            eeprom: Eeprom::new(content(chip, mac)),
            phy: Phy::new(link),
        };
        state.reset(link);
        state
    }

    /// CTRL.RST (SDM 14.2). EEPROM and PHY are not part of it.
    pub fn reset(&mut self, link: bool) {
        self.registers.fill(0);
        for (offset, value) in [
            (spec::CTRL, 0x0014_0240),
            (
                spec::STATUS,
                spec::STATUS_FD | spec::STATUS_SPEED_1000 | spec::STATUS_MTXCKOK,
            ),
            (spec::LEDCTL, 0x0760_2302),
            (spec::PBA, 0x0010_0030),
            (spec::TXDCTL, 0),
        ] {
            self.set(offset, value);
        }
        self.load_eeprom();
        self.set_link(link);
    }

    /// What the chip loads from its EEPROM by itself: its address (SDM 5.6.1).
    pub fn load_eeprom(&mut self) {
        let (low, high) = address_registers(self.mac_in_eeprom());
        self.set(spec::RA, low);
        self.set(spec::RA + 4, high);
    }

    fn mac_in_eeprom(&self) -> [u8; 6] {
        let mut mac = [0; 6];
        for (bytes, index) in mac.chunks_exact_mut(2).zip(0..) {
            bytes.copy_from_slice(&self.eeprom.word(index).to_le_bytes());
        }
        mac
    }

    /// The cable.
    pub fn set_link(&mut self, link: bool) {
        self.phy.set_link(link);
        let status = self.get(spec::STATUS) & !spec::STATUS_LU;
        let up = if link { spec::STATUS_LU } else { 0 };
        self.set(spec::STATUS, status | up);
    }

    /// The register at `offset`, as it is stored.
    pub fn get(&self, offset: u32) -> u32 {
        let index = usize::try_from(offset / 4).ok();
        index
            .and_then(|index| self.registers.get(index))
            .copied()
            .unwrap_or(0)
    }

    /// Stores the register at `offset`.
    pub fn set(&mut self, offset: u32, value: u32) {
        let index = usize::try_from(offset / 4).unwrap_or(usize::MAX);
        if let Some(register) = self.registers.get_mut(index) {
            *register = value;
        }
    }

    /// A bit of a register.
    pub fn has(&self, offset: u32, bits: u32) -> bool {
        self.get(offset) & bits != 0
    }

    /// Counts at a 32-bit statistics register, which sticks at its maximum (13.7).
    pub fn count(&mut self, offset: u32, more: u32) {
        self.set(offset, self.get(offset).saturating_add(more));
    }

    /// Counts at a 64-bit pair of statistics registers.
    pub fn count64(&mut self, offset: u32, more: u64) {
        let old = u64::from(self.get(offset)) | u64::from(self.get(offset + 4)) << 32;
        let new = old.saturating_add(more);
        let half = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX);
        self.set(offset, half(new));
        self.set(offset + 4, half(new >> 32));
    }

    /// Counts frames of `len` bytes with their FCS at one of six registers by size, from `first` on.
    pub fn count_size(&mut self, first: u32, len: usize, frames: u32) {
        let class = match len {
            0..=64 => 0,
            65..=127 => 1,
            128..=255 => 2,
            256..=511 => 3,
            512..=1023 => 4,
            _ => 5,
        };
        self.count(first + 4 * class, frames);
    }

    /// Reads and clears a statistics register.
    pub fn take(&mut self, offset: u32) -> u32 {
        let value = self.get(offset);
        self.set(offset, 0);
        value
    }
}

/// RAL and RAH of a valid address (SDM 13.5.2, 13.5.3).
pub fn address_registers(mac: [u8; 6]) -> (u32, u32) {
    let [first, second, third] = MacAddress(mac).words().map(u32::from);
    (first | second << 16, third | spec::RAH_AV)
}

/// The EEPROM of an adapter (SDM 5.6, table 5-2).
fn content(chip: Chip, mac: MacAddress) -> [u16; eeprom::WORDS] {
    let [first, second, third] = mac.words();
    let mut words = [0xffff; eeprom::WORDS];
    let known = [
        (0x00, first),
        (0x01, second),
        (0x02, third),
        (0x03, 0),
        // Initialization control 1.
        (0x0a, 0x3000),
        (0x0b, chip.subsystem),
        (0x0c, spec::VENDOR),
        (0x0d, chip.device),
        (0x0e, spec::VENDOR),
        // Initialization control 2: pause as the partner wants it.
        (0x0f, 0x3040),
        (0x20, 0),
        (0x21, 0x7e14),
        // No wake-up.
        (0x24, 0),
    ];
    for (index, value) in known {
        if let Some(word) = words.get_mut(index) {
            *word = value;
        }
    }
    // 5.6.35: all 64 words add up to 0xBABA.
    let [rest @ .., checksum] = &mut words;
    let sum = rest.iter().fold(0u16, |sum, word| sum.wrapping_add(*word));
    *checksum = 0xbabau16.wrapping_sub(sum);
    words
}
