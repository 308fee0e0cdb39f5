//! The PHY: a Marvell 88E1011 whose link is the back-end's.
use super::spec::{
    M88E1000_EXT_PHY_SPEC_CTRL, M88E1000_INT_ENABLE, M88E1000_PHY_SPEC_CTRL,
    M88E1000_PHY_SPEC_STATUS, PHY_1000T_CTRL, PHY_1000T_STATUS, PHY_AUTONEG_ADV, PHY_AUTONEG_EXP,
    PHY_CTRL, PHY_CTRL_LOOPBACK, PHY_CTRL_RESET, PHY_CTRL_RESTART, PHY_EXT_STATUS, PHY_ID1,
    PHY_ID2, PHY_LP_ABILITY, PHY_STATUS, PHY_STATUS_COMPLETE, PHY_STATUS_LINK,
};
use serde::{Deserialize, Serialize};

const REGISTERS: usize = 32;

/// The PHY's registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phy {
    registers: [u16; REGISTERS],
    link: bool,
}

impl Phy {
    /// After power-on.
    pub fn new(link: bool) -> Self {
        let mut registers = [0; REGISTERS];
        for (index, value) in [
            // Autonegotiation, full duplex, 1000 Mbit/s.
            (PHY_CTRL, 0x1140),
            // All of 10 and 100 Mbit/s, extended status, autonegotiation.
            (PHY_STATUS, 0x7949),
            (PHY_ID1, 0x0141),
            (PHY_ID2, 0x0c20),
            (PHY_AUTONEG_ADV, 0x0de1),
            // The partner can do everything, and pauses.
            (PHY_LP_ABILITY, 0x45e1),
            (PHY_AUTONEG_EXP, 0x0001),
            (PHY_1000T_CTRL, 0x0e00),
            (PHY_1000T_STATUS, 0x3c00),
            (PHY_EXT_STATUS, 0x3000),
            (M88E1000_PHY_SPEC_CTRL, 0x0360),
            (M88E1000_EXT_PHY_SPEC_CTRL, 0x0d60),
        ] {
            if let Some(register) = registers.get_mut(index) {
                *register = value;
            }
        }
        Self { registers, link }
    }

    /// The cable was plugged in or pulled.
    pub fn set_link(&mut self, link: bool) {
        self.link = link;
    }

    /// Frames come back from the PHY.
    pub fn loopback(&self) -> bool {
        self.register(PHY_CTRL) & PHY_CTRL_LOOPBACK != 0
    }

    fn register(&self, index: usize) -> u16 {
        self.registers.get(index).copied().unwrap_or(0)
    }

    /// Register `index`.
    pub fn read(&self, index: usize) -> u16 {
        let value = self.register(index);
        match index {
            PHY_STATUS if self.link => value | PHY_STATUS_LINK | PHY_STATUS_COMPLETE,
            // 1000 Mbit/s, full duplex, resolved, link (12.3, register 17).
            M88E1000_PHY_SPEC_STATUS if self.link => 0xac00,
            M88E1000_PHY_SPEC_STATUS => 0x8000,
            _ => value,
        }
    }

    /// Writes register `index`; true: negotiation starts anew.
    pub fn write(&mut self, index: usize, value: u16) -> bool {
        if index == PHY_CTRL && value & PHY_CTRL_RESET != 0 {
            *self = Self::new(self.link);
            return true;
        }
        let (kept, restarts) = match index {
            PHY_CTRL => (value & !PHY_CTRL_RESTART, value & PHY_CTRL_RESTART != 0),
            PHY_AUTONEG_ADV
            | PHY_1000T_CTRL
            | M88E1000_PHY_SPEC_CTRL
            | M88E1000_INT_ENABLE
            | M88E1000_EXT_PHY_SPEC_CTRL
            | 21..=31 => (value, false),
            _ => return false,
        };
        if let Some(register) = self.registers.get_mut(index) {
            *register = kept;
        }
        restarts
    }
}
