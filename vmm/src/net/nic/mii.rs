//! The registers that every PHY has (IEEE 802.3, 22.2.4), for NICs of 10 and 100 Mbit/s.
use serde::{Deserialize, Serialize};

/// Basic mode control.
pub const BMCR: usize = 0;
/// Basic mode status.
pub const BMSR: usize = 1;
/// Identifier, high half.
pub const PHYSID1: usize = 2;
/// Identifier, low half.
pub const PHYSID2: usize = 3;
/// What we can do.
pub const ANAR: usize = 4;
/// What the partner can do.
pub const ANLPAR: usize = 5;
/// Negotiation expansion.
pub const ANER: usize = 6;

/// BMCR: reset, clears itself.
pub const BMCR_RESET: u16 = 1 << 15;
/// BMCR: frames come back from the PHY.
pub const BMCR_LOOPBACK: u16 = 1 << 14;
/// BMCR: 100 Mbit/s when not negotiated.
pub const BMCR_SPEED100: u16 = 1 << 13;
/// BMCR: negotiate.
pub const BMCR_ANENABLE: u16 = 1 << 12;
/// BMCR: negotiate anew, clears itself.
pub const BMCR_ANRESTART: u16 = 1 << 9;
/// BMCR: full duplex when not negotiated.
pub const BMCR_FULLDPLX: u16 = 1 << 8;
/// BMSR: negotiation is complete.
pub const BMSR_ANEGCOMPLETE: u16 = 1 << 5;
/// BMSR: there is a link.
pub const BMSR_LSTATUS: u16 = 1 << 2;

/// BMCR after a reset.
const BMCR_DEFAULT: u16 = BMCR_SPEED100 | BMCR_ANENABLE | BMCR_FULLDPLX;
/// BMSR: 10 and 100 Mbit/s in both duplex modes, preamble suppression, negotiation, extended registers.
const ABILITIES: u16 = 0x7849;
/// ANAR and ANLPAR: all of that, pause, IEEE 802.3.
const ADVERTISED: u16 = 0x05e1;
/// The partner acknowledged.
const ACKNOWLEDGED: u16 = 1 << 14;

/// A PHY whose link is the back-end's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mii {
    control: u16,
    advertised: u16,
    identifier: u32,
    link: bool,
}

impl Mii {
    /// After power-on.
    pub fn new(identifier: u32, link: bool) -> Self {
        Self {
            control: BMCR_DEFAULT,
            advertised: ADVERTISED,
            identifier,
            link,
        }
    }

    /// The cable was plugged in or pulled.
    pub fn set_link(&mut self, link: bool) {
        self.link = link;
    }

    /// There is a link.
    pub fn link(&self) -> bool {
        self.link
    }

    /// Frames come back from the PHY.
    pub fn loopback(&self) -> bool {
        self.control & BMCR_LOOPBACK != 0
    }

    /// Register `index`; one that is not there reads as 0.
    pub fn read(&self, index: usize) -> u16 {
        let [i0, i1, i2, i3] = self.identifier.to_be_bytes();
        match index {
            BMCR => self.control,
            BMSR if self.link => ABILITIES | BMSR_ANEGCOMPLETE | BMSR_LSTATUS,
            BMSR => ABILITIES,
            PHYSID1 => u16::from_be_bytes([i0, i1]),
            PHYSID2 => u16::from_be_bytes([i2, i3]),
            ANAR => self.advertised,
            ANLPAR if self.link => ADVERTISED | ACKNOWLEDGED,
            // The partner negotiates, and its page was received.
            ANER if self.link => 0x0003,
            _ => 0,
        }
    }

    /// Writes register `index`; true: negotiation starts anew.
    pub fn write(&mut self, index: usize, value: u16) -> bool {
        match index {
            BMCR if value & BMCR_RESET != 0 => {
                *self = Self::new(self.identifier, self.link);
                true
            }
            BMCR => {
                self.control = value & !BMCR_ANRESTART;
                value & BMCR_ANRESTART != 0
            }
            ANAR => {
                self.advertised = value;
                false
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_follow_the_link_and_a_reset() {
        let mut phy = Mii::new(0x0000_8201, true);
        assert_eq!((phy.read(PHYSID1), phy.read(PHYSID2)), (0, 0x8201));
        assert_eq!(phy.read(BMSR) & 0x24, 0x24);
        assert_ne!(phy.read(ANLPAR) & ACKNOWLEDGED, 0);
        assert!(phy.write(BMCR, BMCR_LOOPBACK | BMCR_ANRESTART));
        assert!(phy.loopback());
        assert_eq!(phy.read(BMCR), BMCR_LOOPBACK);
        assert!(!phy.write(ANAR, 0x21));
        phy.set_link(false);
        assert_eq!(phy.read(BMSR), ABILITIES);
        assert_eq!(phy.read(ANLPAR), 0);
        assert!(phy.write(BMCR, u16::MAX), "reset");
        assert_eq!(phy, Mii::new(0x0000_8201, false));
        for index in 0..64 {
            phy.write(index, u16::MAX);
            phy.read(index);
        }
        assert_eq!(phy.read(BMSR), ABILITIES, "read-only");
    }
}
