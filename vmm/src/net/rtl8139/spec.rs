//! Registers, bits and descriptors of the RTL8139C and RTL8139C+.
//!
//! Names and sections: Realtek "RTL8139C(L)" data sheet (rev. 1.4), "C" in comments, and "RTL8139C(L)+" data sheet (rev. 1.6), "C+".
use serde::{Deserialize, Serialize};

/// Realtek.
pub const VENDOR: u16 = 0x10ec;
/// RTL8139.
pub const DEVICE: u16 = 0x8139;
/// Ethernet controller.
pub const CLASS: u32 = 0x02_00_00;

/// One of the chips of this family: drivers tell them by PCI revision and TCR.HWVERID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chip {
    pub revision: u8,
    /// HWVERID_A and HWVERID_B in TCR (C 5.8).
    pub version: u32,
    /// It has descriptor rings.
    pub plus: bool,
}

/// RTL8139C.
pub const C: Chip = Chip {
    revision: 0x10,
    version: 0x7400_0000,
    plus: false,
};
/// RTL8139C+.
pub const C_PLUS: Chip = Chip {
    revision: 0x20,
    version: 0x7480_0000,
    plus: true,
};

/// The BAR in I/O space.
pub const IO_BAR: u8 = 0;
/// The BAR in memory space: the same registers.
pub const MEMORY_BAR: u8 = 1;
/// Bytes of either.
pub const REGISTERS_LEN: u32 = 0x100;

// Registers (C 5, C+ 6).
pub const IDR0: u32 = 0x00;
pub const IDR4: u32 = 0x04;
pub const MAR0: u32 = 0x08;
pub const MAR4: u32 = 0x0c;
/// Four transmit status registers; C+: DTCCR.
pub const TSD0: u32 = 0x10;
pub const TSD3: u32 = 0x1c;
pub const DTCCR: u32 = 0x10;
pub const DTCCR_HIGH: u32 = 0x14;
/// Four transmit addresses; C+: TNPDS, THPDS.
pub const TSAD0: u32 = 0x20;
pub const TSAD3: u32 = 0x2c;
pub const TNPDS: u32 = 0x20;
pub const TNPDS_HIGH: u32 = 0x24;
pub const RBSTART: u32 = 0x30;
pub const ERBCR: u32 = 0x34;
pub const ERSR: u32 = 0x36;
pub const CR: u32 = 0x37;
pub const CAPR: u32 = 0x38;
/// Its second byte.
pub const CAPR_HIGH: u32 = CAPR + 1;
pub const CBR: u32 = 0x3a;
pub const IMR: u32 = 0x3c;
pub const ISR: u32 = 0x3e;
pub const TCR: u32 = 0x40;
pub const RCR: u32 = 0x44;
pub const TCTR: u32 = 0x48;
pub const MPC: u32 = 0x4c;
pub const CR9346: u32 = 0x50;
pub const CONFIG0: u32 = 0x51;
pub const CONFIG1: u32 = 0x52;
pub const TIMER_INT: u32 = 0x54;
pub const MSR: u32 = 0x58;
pub const CONFIG3: u32 = 0x59;
pub const CONFIG4: u32 = 0x5a;
pub const MULINT: u32 = 0x5c;
pub const RERID: u32 = 0x5e;
pub const TSAD_ALL: u32 = 0x60;
pub const BMCR: u32 = 0x62;
pub const BMSR: u32 = 0x64;
pub const ANAR: u32 = 0x66;
pub const ANLPAR: u32 = 0x68;
pub const ANER: u32 = 0x6a;
pub const NWAYTR: u32 = 0x70;
pub const CSCR: u32 = 0x74;
pub const CONFIG5: u32 = 0xd8;
pub const TPPOLL: u32 = 0xd9;
pub const CPCR: u32 = 0xe0;
pub const RDSAR: u32 = 0xe4;
pub const RDSAR_HIGH: u32 = 0xe8;
pub const ETTHR: u32 = 0xec;

/// The register that byte `offset` belongs to: its first byte and its width.
pub fn register_at(offset: u32) -> (u32, u32) {
    let width = match offset {
        0x00..=0x33 | 0x40..=0x4f | 0x54..=0x57 | 0x78..=0x7f | 0xe4..=0xeb => 4,
        0x34..=0x35 | 0x38..=0x3f | 0x5c..=0x5d | 0x60..=0x77 | 0xe0..=0xe3 => 2,
        _ => 1,
    };
    (offset & !(width - 1), width)
}

// Command (C 5.6).
pub const CR_BUFE: u8 = 1 << 0;
pub const CR_TE: u8 = 1 << 2;
pub const CR_RE: u8 = 1 << 3;
pub const CR_RST: u8 = 1 << 4;

// Interrupt status and mask (C 5.7, 5.8; C+ 6.7).
pub const ISR_ROK: u16 = 1 << 0;
pub const ISR_RER: u16 = 1 << 1;
pub const ISR_TOK: u16 = 1 << 2;
pub const ISR_TER: u16 = 1 << 3;
/// Receive buffer overflow; C+: no receive descriptor.
pub const ISR_RXOVW: u16 = 1 << 4;
/// The link changed.
pub const ISR_PUN: u16 = 1 << 5;
/// C+: no transmit descriptor.
pub const ISR_TDU: u16 = 1 << 7;
/// C+: TPPOLL.FSWINT.
pub const ISR_SWINT: u16 = 1 << 8;
pub const ISR_TIMEOUT: u16 = 1 << 14;
/// Bits that exist.
pub const ISR_MASK: u16 = 0xe1ff;

// Transmit status of a descriptor in C mode (C 5.2).
pub const TSD_SIZE: u32 = 0x1fff;
pub const TSD_OWN: u32 = 1 << 13;
pub const TSD_TUN: u32 = 1 << 14;
pub const TSD_TOK: u32 = 1 << 15;
pub const TSD_TABT: u32 = 1 << 30;
/// Carrier sense lost.
pub const TSD_CRS: u32 = 1 << 31;
/// What a driver sets: size, OWN, early threshold.
pub const TSD_STARTABLE: u32 = 0x003f_3fff;

// Transmit configuration (C 5.9).
pub const TCR_CLRABT: u32 = 1 << 0;
/// Loopback, both bits.
pub const TCR_LBK: u32 = 0b11 << 17;
/// All but HWVERID.
pub const TCR_WRITABLE: u32 = 0x0307_07f0;

// Receive configuration (C 5.10).
pub const RCR_AAP: u32 = 1 << 0;
pub const RCR_APM: u32 = 1 << 1;
pub const RCR_AM: u32 = 1 << 2;
pub const RCR_AB: u32 = 1 << 3;
/// Frames are stored in one piece, beyond the ring's end if need be.
pub const RCR_WRAP: u32 = 1 << 7;
pub const RCR_WRITABLE: u32 = 0x0f03_ffbf;

// EEPROM command (C 5.11).
/// Operating mode.
pub const CR9346_EEM: u8 = 0b11 << 6;
pub const CR9346_AUTO_LOAD: u8 = 0b01 << 6;
pub const CR9346_PROGRAMMING: u8 = 0b10 << 6;
pub const CR9346_UNLOCK: u8 = 0b11 << 6;
pub const CR9346_EECS: u8 = 1 << 3;
pub const CR9346_EESK: u8 = 1 << 2;
pub const CR9346_EEDI: u8 = 1 << 1;
pub const CR9346_EEDO: u8 = 1 << 0;

/// CONFIG1: both BARs are there (C 5.13).
pub const CONFIG1_FIXED: u8 = 0b11 << 2;
/// CONFIG3: fast back-to-back (C 5.15).
pub const CONFIG3_FIXED: u8 = 1 << 0;

/// Media status: no link (C 5.14).
pub const MSR_LINKB: u8 = 1 << 2;

/// BMCR: bits that CR9346 locks (C 5.19).
pub const BMCR_LOCKED: u16 = 1 << 13 | 1 << 12 | 1 << 8;
/// CSCR: the link is good (C 5.24).
pub const CSCR_LINK_OK: u16 = 1 << 10;
/// CSCR: the link changed.
pub const CSCR_LINK_CHANGED: u16 = 1 << 11;

// Transmit priority polling (C+ 6.17).
pub const TPPOLL_NPQ: u8 = 1 << 6;
pub const TPPOLL_FSWINT: u8 = 1 << 0;
// C+ command (C+ 6.18).
pub const CPCR_TX: u16 = 1 << 0;
pub const CPCR_RX: u16 = 1 << 1;
pub const CPCR_RX_CHKSUM: u16 = 1 << 5;
pub const CPCR_RX_VLAN: u16 = 1 << 6;
pub const CPCR_WRITABLE: u16 = 0x007b;
/// DTCCR: dump the tally counters (C+ 6.2).
pub const DTCCR_CMD: u32 = 1 << 3;
/// Bytes of the tally counters.
pub const TALLY_LEN: usize = 64;

/// Header of a frame in the C-mode ring (C 5.5): good, and how its address was accepted.
pub const RX_ROK: u16 = 1 << 0;
pub const RX_BAR: u16 = 1 << 13;
pub const RX_PAM: u16 = 1 << 14;
pub const RX_MAR: u16 = 1 << 15;

/// Bytes of a C+ descriptor (C+ 8).
pub const DESCRIPTOR_LEN: u64 = 16;
/// Descriptors of a C+ ring at most.
pub const MAX_RING: u32 = 64;
// Both kinds of C+ descriptors, first double word.
pub const D_OWN: u32 = 1 << 31;
pub const D_EOR: u32 = 1 << 30;
pub const D_FS: u32 = 1 << 29;
pub const D_LS: u32 = 1 << 28;
// Transmit (C+ 8.2.1).
pub const TXD_LGSEN: u32 = 1 << 27;
pub const TXD_MSS_SHIFT: u32 = 16;
pub const TXD_MSS_MASK: u32 = 0x7ff;
pub const TXD_IPCS: u32 = 1 << 18;
pub const TXD_UDPCS: u32 = 1 << 17;
pub const TXD_TCPCS: u32 = 1 << 16;
/// Transmit, first double word when done: an error.
pub const TXD_TES: u32 = 1 << 23;
/// Link failure.
pub const TXD_LNKF: u32 = 1 << 21;
/// Transmit, second double word: insert the tag.
pub const TXD_TAGC: u32 = 1 << 17;
// Receive (C+ 8.2.3).
pub const RXD_SIZE: u32 = 0x1fff;
pub const RXD_MAR: u32 = 1 << 26;
pub const RXD_PAM: u32 = 1 << 25;
pub const RXD_BAR: u32 = 1 << 24;
pub const RXD_PID_TCP: u32 = 1 << 16;
pub const RXD_PID_UDP: u32 = 1 << 17;
pub const RXD_PID_IP: u32 = 0b11 << 16;
pub const RXD_IPF: u32 = 1 << 15;
/// Receive, second double word: a tag was taken out.
pub const RXD_TAVA: u32 = 1 << 16;

/// Ethertype of VLAN tags.
pub const VLAN_ETHERTYPE: u16 = 0x8100;
/// The longest frame that C mode sends (C 5.2).
pub const MAX_TRANSMIT: usize = 1792;
/// The longest frame that is received, with its FCS: what length fields can say.
pub const MAX_RECEIVE: usize = 0x1fff;
/// The longest frame that C mode receives, with its FCS: drivers give a ring up where they find a longer one, and with RCR_WRAP keep
/// 2 KiB free behind it.
pub const MAX_RECEIVE_C: usize = MAX_TRANSMIT + 4;
/// The shortest frame, FCS not counted.
pub const MIN_FRAME: usize = 60;
/// PCI clock, which TCTR counts.
pub const TIMER_HZ: u64 = 33_333_333;
