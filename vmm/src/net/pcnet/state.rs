//! Registers as a snapshot must carry them, and what resets make of them.
use super::{
    descriptor::{Ring, Style},
    spec::{self, Chip},
};
use crate::net::{MacAddress, nic::mii::Mii};
use serde::{Deserialize, Serialize};

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub(super) state: State,
    /// RAP.
    pub(super) rap: u16,
    /// CSR0.TDMD.
    pub(super) demand: bool,
    /// The first transmit descriptor that is not given back.
    pub(super) transmit_head: u32,
    /// A frame from the wire that has no room.
    pub(super) held: Option<Vec<u8>>,
    pub(super) bus_master: bool,
}

/// All registers, address PROM and PHY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) chip: Chip,
    pub(super) aprom: [u8; 16],
    csr: Box<[u16]>,
    bcr: Box<[u16]>,
    /// The Am79C970A has none that a driver sees; its link is here, too.
    pub(super) mii: Mii,
    /// The receive descriptor for the next frame.
    pub(super) receive_next: u32,
    /// The driver gives no receive descriptors: frames are lost until it does.
    pub(super) missing: bool,
}

impl State {
    /// After power-on (H_RESET).
    pub(super) fn new(chip: Chip, mac: MacAddress, link: bool) -> Self {
        let mut state = Self {
            chip,
            aprom: aprom(mac),
            csr: vec![0; spec::CSR_COUNT].into_boxed_slice(),
            bcr: vec![0; spec::BCR_COUNT].into_boxed_slice(),
            mii: Mii::new(spec::PHY_ID, link),
            receive_next: 0,
            missing: false,
        };
        for (index, value) in [
            (spec::BCR_MSRDA, 0x0005),
            (spec::BCR_MSWRA, 0x0005),
            (spec::BCR_MC, 0x0002),
            (spec::BCR_LNKST, 0x00c0),
            (spec::BCR_LNKST + 1, 0x0084),
            (spec::BCR_LNKST + 2, 0x0088),
            (spec::BCR_LED3, 0x0090),
            (spec::BCR_BSBC, 0x9001),
            (spec::BCR_EECAS, spec::BCR19_PVALID),
            (spec::BCR_SWS, Style::Lance.bits()),
            (spec::BCR_PCILAT, 0xff06),
        ] {
            state.set_bcr(index, value);
        }
        if chip.mii {
            for (index, value) in [
                (spec::BCR_PCISVID, spec::VENDOR),
                (spec::BCR_PCISID, spec::DEVICE),
                (spec::BCR_MIICAS, 0x0400),
                (spec::BCR_MIIADDR, spec::PHY_ADDRESS << 5),
                (spec::BCR_PCIVID, spec::VENDOR),
            ] {
                state.set_bcr(index, value);
            }
        }
        state.reset();
        state
    }

    /// S_RESET, by a read of the RESET register: BCRs and PHY stay.
    pub(super) fn reset(&mut self) {
        // Where the initialization block is survives: Linux' self-test initializes again without telling it again (CSR1, CSR2).
        let block = [spec::CSR_IADR_LOW, spec::CSR_IADR_HIGH].map(|index| (index, self.get(index)));
        self.csr.fill(0);
        for (index, value) in block {
            self.set(index, value);
        }
        let [low, high] = [self.chip.id & 0xffff, self.chip.id >> 16];
        for (index, value) in [
            (spec::CSR_STATUS, spec::CSR0_STOP),
            (spec::CSR_FEATURES, spec::CSR4_DEFAULT),
            (spec::CSR_RCVRL, u16::MAX),
            (spec::CSR_XMTRL, u16::MAX),
            (spec::CSR_DMATCFW, 0x1410),
            (spec::CSR_CHIPID_LOW, u16::try_from(low).unwrap_or(0)),
            (spec::CSR_CHIPID_HIGH, u16::try_from(high).unwrap_or(0)),
            (spec::CSR_MERRTO, 0x0200),
        ] {
            self.set(index, value);
        }
        for (bytes, index) in self.aprom.chunks_exact(2).zip(spec::CSR_PADR..15) {
            let word = bytes.try_into().map_or(0, u16::from_le_bytes);
            if let Some(register) = self.csr.get_mut(usize::from(index)) {
                *register = word;
            }
        }
        self.receive_next = 0;
        self.missing = false;
    }

    /// CSR `index` as it is stored; beyond the last: 0.
    pub(super) fn get(&self, index: u16) -> u16 {
        self.csr.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// Stores CSR `index`.
    pub(super) fn set(&mut self, index: u16, value: u16) {
        if let Some(register) = self.csr.get_mut(usize::from(index)) {
            *register = value;
        }
    }

    /// Sets bits of a CSR.
    pub(super) fn raise(&mut self, index: u16, bits: u16) {
        self.set(index, self.get(index) | bits);
    }

    /// Clears bits of a CSR.
    pub(super) fn clear(&mut self, index: u16, bits: u16) {
        self.set(index, self.get(index) & !bits);
    }

    /// Any of these bits of a CSR.
    pub(super) fn has(&self, index: u16, bits: u16) -> bool {
        self.get(index) & bits != 0
    }

    /// Any of these bits of CSR15.
    pub(super) fn mode(&self, bits: u16) -> bool {
        self.has(spec::CSR_MODE, bits)
    }

    /// BCR `index` as it is stored.
    pub(super) fn bcr(&self, index: u16) -> u16 {
        self.bcr.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// Stores BCR `index`.
    pub(super) fn set_bcr(&mut self, index: u16, value: u16) {
        if let Some(register) = self.bcr.get_mut(usize::from(index)) {
            *register = value;
        }
    }

    /// Two CSRs as an address.
    pub(super) fn address(&self, low: u16) -> u32 {
        u32::from(self.get(low)) | u32::from(self.get(low + 1)) << 16
    }

    /// Stores an address in two CSRs.
    pub(super) fn set_address(&mut self, low: u16, value: u32) {
        let [b0, b1, b2, b3] = value.to_le_bytes();
        self.set(low, u16::from_le_bytes([b0, b1]));
        self.set(low + 1, u16::from_le_bytes([b2, b3]));
    }

    /// BCR20.
    pub(super) fn style(&self) -> Style {
        Style::new(self.bcr(spec::BCR_SWS) & spec::BCR20_SWSTYLE)
    }

    /// Upper eight bits of addresses in 16-bit structures (CSR2).
    pub(super) fn high(&self) -> u32 {
        if self.style().is_wide() {
            0
        } else {
            u32::from(self.get(spec::CSR_IADR_HIGH) & 0xff00) << 16
        }
    }

    pub(super) fn receive_ring(&self) -> Ring {
        self.ring(spec::CSR_BADR_LOW, spec::CSR_RCVRL)
    }

    pub(super) fn transmit_ring(&self) -> Ring {
        self.ring(spec::CSR_BADX_LOW, spec::CSR_XMTRL)
    }

    /// Lengths are two's complement (CSR76, CSR78).
    fn ring(&self, base: u16, length: u16) -> Ring {
        Ring {
            base: self.address(base),
            len: 0x1_0000 - u32::from(self.get(length)),
            style: self.style(),
            high: self.high(),
        }
    }

    /// Registers of the buffer management may be written (CSR1 and others: "only when STOP or SPND").
    pub(super) fn is_quiet(&self) -> bool {
        self.has(spec::CSR_STATUS, spec::CSR0_STOP) || self.has(spec::CSR_EXTENDED, spec::CSR5_SPND)
    }

    /// Sent frames come back.
    pub(super) fn loopback(&self) -> bool {
        let by_phy = self.bcr(spec::BCR_MIICAS) & spec::BCR32_MIIILP != 0 || self.mii.loopback();
        self.mode(spec::MODE_LOOP) || self.chip.mii && by_phy
    }

    /// INTR: some cause that is not masked.
    pub(super) fn interrupts(&self) -> bool {
        let status = self.get(spec::CSR_STATUS) & !self.get(spec::CSR_MASKS);
        let features = self.get(spec::CSR_FEATURES);
        let pairs = |index: u16, enables: u16| {
            let register = self.get(index);
            register >> 1 & register & enables
        };
        status & spec::CSR0_INTERRUPTS != 0
            || features >> 1 & !features & spec::CSR4_MASKS != 0
            || features & spec::CSR4_UINT != 0
            || pairs(spec::CSR_EXTENDED, spec::CSR5_ENABLES) != 0
            || pairs(spec::CSR_EXTENDED2, spec::CSR7_ENABLES) != 0
    }
}

/// The address PROM ("Address PROM Space").
fn aprom(mac: MacAddress) -> [u8; 16] {
    let [m0, m1, m2, m3, m4, m5] = mac.0;
    // AMD's drivers want 0x11 for the hardware and `WW` at the end.
    let mut bytes = [
        m0, m1, m2, m3, m4, m5, 0, 0, 0, 0x11, 0, 0, 0, 0, b'W', b'W',
    ];
    let sum: u16 = bytes.iter().map(|byte| u16::from(*byte)).sum();
    let [.., low, high, _, _] = &mut bytes;
    [*low, *high] = sum.to_le_bytes();
    bytes
}
