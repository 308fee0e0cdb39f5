//! A 93C46 serial EEPROM (Microwire): 64 words behind chip select, clock, data in and data out.
//!
//! Commands are a start bit, two opcode bits and six address bits, most significant bit first,
//! taken at the rising edge of the clock (Atmel AT93C46 datasheet, "Functional Description").
use serde::{Deserialize, Serialize};

/// Words in the EEPROM.
pub const WORDS: usize = 64;
/// Start bit, opcode, address.
const COMMAND_BITS: u32 = 9;
const START: u32 = 1 << 8;

/// Levels of the pins that the host drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pins {
    /// Chip select.
    pub select: bool,
    /// Clock.
    pub clock: bool,
    /// Data in.
    pub data: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// Bits of the command so far, after the start bit.
    Command { bits: u32, count: u32 },
    /// Reading: bits shifted out, from the first word on.
    Read { word: usize, bit: u32 },
    /// Writing a word: bits taken.
    Write { word: usize, bits: u16, count: u32 },
    /// Done; waits for chip select to fall.
    Done,
}

/// The chip. All of it is state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eeprom {
    words: Box<[u16]>,
    pins: Pins,
    phase: Phase,
    output: bool,
    write_enabled: bool,
}

impl Eeprom {
    /// A chip with this content.
    pub fn new(words: [u16; WORDS]) -> Self {
        Self {
            words: words.into(),
            pins: Pins::default(),
            phase: Phase::Command { bits: 0, count: 0 },
            output: true,
            write_enabled: false,
        }
    }

    /// The word at `index`; beyond the chip: ones.
    pub fn word(&self, index: usize) -> u16 {
        self.words.get(index).copied().unwrap_or(0xffff)
    }

    /// The pin that the chip drives.
    pub fn output(&self) -> bool {
        self.output
    }

    /// The host drives its pins.
    pub fn drive(&mut self, pins: Pins) {
        let old = std::mem::replace(&mut self.pins, pins);
        if !pins.select || !old.select {
            self.phase = Phase::Command { bits: 0, count: 0 };
            // Ready: a write is done at once.
            self.output = true;
        }
        if pins.select && pins.clock && !old.clock {
            self.clock(pins.data);
        }
    }

    fn clock(&mut self, data: bool) {
        match self.phase {
            Phase::Command { bits, count } => {
                // Zeroes in front of the start bit mean nothing.
                if count == 0 && !data {
                    return;
                }
                let bits = bits << 1 | u32::from(data);
                let count = count + 1;
                self.phase = if count >= COMMAND_BITS {
                    self.command(bits & !START)
                } else {
                    Phase::Command { bits, count }
                };
            }
            Phase::Read { word, bit } => {
                self.output = self.word(word) >> (15 - bit.min(15)) & 1 != 0;
                self.phase = match bit {
                    15.. => Phase::Read {
                        word: (word + 1) % WORDS,
                        bit: 0,
                    },
                    bit => Phase::Read { word, bit: bit + 1 },
                };
            }
            Phase::Write { word, bits, count } => {
                let bits = bits << 1 | u16::from(data);
                self.phase = Phase::Write {
                    word,
                    bits,
                    count: count + 1,
                };
                if count >= 15 {
                    self.write(word, bits);
                    self.phase = Phase::Done;
                }
            }
            Phase::Done => {}
        }
    }

    fn command(&mut self, command: u32) -> Phase {
        let address = usize::try_from(command & 0x3f).unwrap_or(0);
        match (command >> 6, address >> 4) {
            (0b10, _) => {
                // The dummy bit in front of the data.
                self.output = false;
                Phase::Read {
                    word: address,
                    bit: 0,
                }
            }
            (0b01, _) => Phase::Write {
                word: address,
                bits: 0,
                count: 0,
            },
            (0b11, _) => {
                self.write(address, 0xffff);
                Phase::Done
            }
            (_, 0b11) => {
                self.write_enabled = true;
                Phase::Done
            }
            (_, 0b00) => {
                self.write_enabled = false;
                Phase::Done
            }
            // Erase all, write all: no driver of our NICs does that.
            _ => Phase::Done,
        }
    }

    fn write(&mut self, index: usize, value: u16) {
        if self.write_enabled
            && let Some(word) = self.words.get_mut(index)
        {
            *word = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shifts bits in, most significant first; returns what came out at each rising edge.
    fn shift(chip: &mut Eeprom, bits: u32, count: u32) -> u32 {
        let mut out = 0;
        for at in (0..count).rev() {
            let data = bits >> at & 1 != 0;
            for clock in [false, true] {
                chip.drive(Pins {
                    select: true,
                    clock,
                    data,
                });
            }
            out = out << 1 | u32::from(chip.output());
        }
        out
    }

    fn command(chip: &mut Eeprom, bits: u32, count: u32) -> u32 {
        chip.drive(Pins::default());
        shift(chip, bits, count)
    }

    fn chip() -> Eeprom {
        let mut words = [0; WORDS];
        for (word, value) in words.iter_mut().zip(0x1110u16..) {
            *word = value;
        }
        Eeprom::new(words)
    }

    #[test]
    fn reads_any_word_and_goes_on_with_the_next() {
        let mut chip = chip();
        for index in 0..64 {
            assert_eq!(
                command(&mut chip, 0b110 << 6 | index, 9) & 1,
                0,
                "dummy bit"
            );
            assert_eq!(shift(&mut chip, 0, 16), 0x1110 + index);
            assert_eq!(shift(&mut chip, 0, 16), 0x1110 + (index + 1) % 64);
        }
    }

    #[test]
    fn writes_only_when_enabled() {
        let mut chip = chip();
        let write = |chip: &mut Eeprom| {
            command(chip, (0b101 << 6 | 5) << 16 | 0xabcd, 25);
        };
        write(&mut chip);
        assert_eq!(chip.word(5), 0x1115);
        command(&mut chip, 0b100 << 6 | 0b11_0000, 9);
        write(&mut chip);
        assert_eq!(chip.word(5), 0xabcd);
        command(&mut chip, 0b111 << 6 | 5, 9);
        assert_eq!(chip.word(5), 0xffff);
        command(&mut chip, 0b100 << 6, 9);
        write(&mut chip);
        assert_eq!(chip.word(5), 0xffff);
        assert_eq!(chip.word(64), 0xffff);
    }
}
