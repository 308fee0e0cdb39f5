//! Registers, bits and descriptors of the PCnet family.
//!
//! Names and sections: AMD "Am79C970A PCnet-PCI II" data sheet (publication 19436), chapters "User Accessible Registers" and
//! "Buffer Management Unit"; for what only the later chip has, "Am79C973/Am79C975 PCnet-FAST III" (publication 21510), "973".
use serde::{Deserialize, Serialize};

/// AMD.
pub const VENDOR: u16 = 0x1022;
/// PCnet, all of them.
pub const DEVICE: u16 = 0x2000;
/// Ethernet controller.
pub const CLASS: u32 = 0x02_00_00;

/// One of the chips of this family: drivers tell them by CSR88 and CSR89.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chip {
    /// PCI revision.
    pub revision: u8,
    /// CHIPID: CSR88 and CSR89.
    pub id: u32,
    /// It has a PHY behind BCR32 to BCR34.
    pub mii: bool,
}

/// Am79C970A, PCnet-PCI II.
pub const AM79C970A: Chip = Chip {
    revision: 0x10,
    id: 0x0262_1003,
    mii: false,
};
/// Am79C973, PCnet-FAST III.
pub const AM79C973: Chip = Chip {
    revision: 0x40,
    id: 0x0262_5003,
    mii: true,
};

/// The BAR in I/O space.
pub const IO_BAR: u8 = 0;
/// The BAR in memory space: the same registers.
pub const MEMORY_BAR: u8 = 1;
/// Bytes of either ("I/O Resources").
pub const REGISTERS_LEN: u32 = 0x20;

/// Address PROM: in front of the registers.
pub const APROM_LEN: u32 = 0x10;
// Word I/O mode.
pub const WIO_RDP: u32 = 0x10;
pub const WIO_RAP: u32 = 0x12;
pub const WIO_RESET: u32 = 0x14;
pub const WIO_BDP: u32 = 0x16;
// Double word I/O mode.
pub const DWIO_RDP: u32 = 0x10;
pub const DWIO_RAP: u32 = 0x14;
pub const DWIO_RESET: u32 = 0x18;
pub const DWIO_BDP: u32 = 0x1c;
/// Bits of the register address port.
pub const RAP_MASK: u16 = 0xff;

/// Control and status registers.
pub const CSR_COUNT: usize = 128;
// "Control and Status Registers".
pub const CSR_STATUS: u16 = 0;
/// Address of the initialization block.
pub const CSR_IADR_LOW: u16 = 1;
pub const CSR_IADR_HIGH: u16 = 2;
pub const CSR_MASKS: u16 = 3;
pub const CSR_FEATURES: u16 = 4;
pub const CSR_EXTENDED: u16 = 5;
/// RLEN and TLEN.
pub const CSR_TABLE_LENGTHS: u16 = 6;
/// 973: extended control and interrupt 2.
pub const CSR_EXTENDED2: u16 = 7;
/// Logical address filter, four registers.
pub const CSR_LADRF: u16 = 8;
/// Physical address, three registers.
pub const CSR_PADR: u16 = 12;
pub const CSR_PADR_LAST: u16 = 14;
pub const CSR_MODE: u16 = 15;
pub const CSR_IADR_LOW_ALIAS: u16 = 16;
pub const CSR_IADR_HIGH_ALIAS: u16 = 17;
/// Base of the receive ring.
pub const CSR_BADR_LOW: u16 = 24;
pub const CSR_BADR_HIGH: u16 = 25;
/// Current receive descriptor.
pub const CSR_CRDA_LOW: u16 = 28;
pub const CSR_CRDA_HIGH: u16 = 29;
/// Base of the transmit ring.
pub const CSR_BADX_LOW: u16 = 30;
pub const CSR_BADX_HIGH: u16 = 31;
/// Current transmit descriptor.
pub const CSR_CXDA_LOW: u16 = 34;
pub const CSR_CXDA_HIGH: u16 = 35;
pub const CSR_POLL: u16 = 46;
/// Polling interval.
pub const CSR_POLLINT: u16 = 47;
/// BCR20 once more.
pub const CSR_SWS: u16 = 58;
/// Receive ring counter.
pub const CSR_RCVRC: u16 = 72;
/// Transmit ring counter.
pub const CSR_XMTRC: u16 = 74;
/// Receive ring length.
pub const CSR_RCVRL: u16 = 76;
/// Transmit ring length.
pub const CSR_XMTRL: u16 = 78;
/// FIFO thresholds.
pub const CSR_DMATCFW: u16 = 80;
pub const CSR_DMABAT: u16 = 82;
pub const CSR_CHIPID_LOW: u16 = 88;
pub const CSR_CHIPID_HIGH: u16 = 89;
/// Bus time-out.
pub const CSR_MERRTO: u16 = 100;
/// Missed frame count.
pub const CSR_MFC: u16 = 112;
/// Receive collision count.
pub const CSR_RCC: u16 = 114;
pub const CSR_RCVALGN: u16 = 122;
pub const CSR_TEST: u16 = 124;

// CSR0: Controller Status and Control.
pub const CSR0_INIT: u16 = 1 << 0;
pub const CSR0_STRT: u16 = 1 << 1;
pub const CSR0_STOP: u16 = 1 << 2;
pub const CSR0_TDMD: u16 = 1 << 3;
pub const CSR0_TXON: u16 = 1 << 4;
pub const CSR0_RXON: u16 = 1 << 5;
pub const CSR0_IENA: u16 = 1 << 6;
pub const CSR0_INTR: u16 = 1 << 7;
pub const CSR0_IDON: u16 = 1 << 8;
pub const CSR0_TINT: u16 = 1 << 9;
pub const CSR0_RINT: u16 = 1 << 10;
pub const CSR0_MERR: u16 = 1 << 11;
pub const CSR0_MISS: u16 = 1 << 12;
pub const CSR0_CERR: u16 = 1 << 13;
pub const CSR0_BABL: u16 = 1 << 14;
pub const CSR0_ERR: u16 = 1 << 15;
/// A one clears.
pub const CSR0_FLAGS: u16 = 0x7f00;
/// Those that interrupt, at the place of their masks in CSR3.
pub const CSR0_INTERRUPTS: u16 = 0x5f00;
/// ERR is any of these.
pub const CSR0_ERRORS: u16 = CSR0_BABL | CSR0_CERR | CSR0_MISS | CSR0_MERR;

// CSR3: Interrupt Masks and Deferral Control.
/// Transmission goes on after an underflow.
pub const CSR3_DXSUFLO: u16 = 1 << 6;
pub const CSR3_WRITABLE: u16 = 0x5f7c;

// CSR4: Test and Features Control.
pub const CSR4_DPOLL: u16 = 1 << 12;
pub const CSR4_APAD_XMT: u16 = 1 << 11;
pub const CSR4_ASTRP_RCV: u16 = 1 << 10;
pub const CSR4_MFCO: u16 = 1 << 9;
pub const CSR4_UINTCMD: u16 = 1 << 7;
pub const CSR4_UINT: u16 = 1 << 6;
pub const CSR4_RCVCCO: u16 = 1 << 5;
pub const CSR4_TXSTRT: u16 = 1 << 3;
pub const CSR4_JAB: u16 = 1 << 1;
/// A one clears.
pub const CSR4_FLAGS: u16 = CSR4_MFCO | CSR4_UINT | CSR4_RCVCCO | CSR4_TXSTRT | CSR4_JAB;
/// What is no flag.
pub const CSR4_WRITABLE: u16 = 0xfd15;
/// Masks of MFCO, RCVCCO, TXSTRT, JAB: one bit below each.
pub const CSR4_MASKS: u16 = 0x0115;
/// Reset value of CSR4: all masked.
pub const CSR4_DEFAULT: u16 = 0x0115;

// CSR5: Extended Control and Interrupt.
pub const CSR5_TOKINTD: u16 = 1 << 15;
pub const CSR5_LTINTEN: u16 = 1 << 14;
pub const CSR5_SPND: u16 = 1 << 0;
/// SINT, SLPINT, EXDINT, MPINT: a one clears. Nothing here causes them.
pub const CSR5_FLAGS: u16 = 0x0a90;
/// What is no flag.
pub const CSR5_WRITABLE: u16 = 0xc56f;
/// Their enables: one bit below each.
pub const CSR5_ENABLES: u16 = 0x0548;

// CSR7 (973): Extended Control and Interrupt 2.
/// The PHY's state changed.
pub const CSR7_MAPINT: u16 = 1 << 7;
/// An access to the PHY by BCR34 is done.
pub const CSR7_MCCINT: u16 = 1 << 5;
/// STINT, MREINT, MAPINT, MCCINT, MCCIINT, MIIPDTINT: a one clears.
pub const CSR7_FLAGS: u16 = 0x0aaa;
/// What is no flag and no command.
pub const CSR7_WRITABLE: u16 = 0xd555;
/// Their enables: one bit below each.
pub const CSR7_ENABLES: u16 = 0x0555;

// CSR15: Mode.
/// Promiscuous.
pub const MODE_PROM: u16 = 1 << 15;
pub const MODE_DRCVBC: u16 = 1 << 14;
pub const MODE_DRCVPA: u16 = 1 << 13;
pub const MODE_INTL: u16 = 1 << 6;
pub const MODE_DXMTFCS: u16 = 1 << 3;
pub const MODE_LOOP: u16 = 1 << 2;
pub const MODE_DTX: u16 = 1 << 1;
pub const MODE_DRX: u16 = 1 << 0;

/// Bus configuration registers.
pub const BCR_COUNT: usize = 64;
// "Bus Configuration Registers".
pub const BCR_MSRDA: u16 = 0;
pub const BCR_MSWRA: u16 = 1;
pub const BCR_MC: u16 = 2;
/// Link status LED.
pub const BCR_LNKST: u16 = 4;
pub const BCR_LED3: u16 = 7;
/// Full duplex control.
pub const BCR_FDC: u16 = 9;
pub const BCR_IOBASEL: u16 = 16;
/// Burst and bus control.
pub const BCR_BSBC: u16 = 18;
/// EEPROM control and status.
pub const BCR_EECAS: u16 = 19;
/// Software style.
pub const BCR_SWS: u16 = 20;
pub const BCR_PCILAT: u16 = 22;
/// 973: PCI subsystem vendor and subsystem.
pub const BCR_PCISVID: u16 = 23;
pub const BCR_PCISID: u16 = 24;
/// 973: SRAM size, boundary, control.
pub const BCR_SRAMSIZ: u16 = 25;
pub const BCR_SRAMIC: u16 = 27;
/// 973: MII control and status.
pub const BCR_MIICAS: u16 = 32;
/// 973: PHY and register that BCR34 accesses.
pub const BCR_MIIADDR: u16 = 33;
pub const BCR_MIIMDR: u16 = 34;
/// 973: PCI vendor.
pub const BCR_PCIVID: u16 = 35;

/// BCR2: the address PROM takes writes.
pub const BCR2_APROMWE: u16 = 1 << 8;
/// BCR4 to BCR7: the LED is on.
pub const LED_LEDOUT: u16 = 1 << 15;
/// It shows a link in full duplex.
pub const LED_FDLSE: u16 = 1 << 8;
/// It shows a link.
pub const LED_LNKSTE: u16 = 1 << 6;
/// BCR9: full duplex.
pub const BCR9_FDEN: u16 = 1 << 0;
/// BCR18: double word I/O mode.
pub const BCR18_DWIO: u16 = 1 << 7;
/// BCR19: the address PROM is valid.
pub const BCR19_PVALID: u16 = 1 << 15;
/// BCR20: 32-bit structures, and CSRs as a PCnet has them.
pub const BCR20_SSIZE32: u16 = 1 << 8;
pub const BCR20_CSRPCNET: u16 = 1 << 9;
pub const BCR20_SWSTYLE: u16 = 0xff;
/// BCR32: there is a PHY.
pub const BCR32_MIIPD: u16 = 1 << 14;
/// BCR32: the chip itself watches the PHY.
pub const BCR32_APEP: u16 = 1 << 11;
/// BCR32: frames come back from the MII.
pub const BCR32_MIIILP: u16 = 1 << 1;

/// Address of the built-in PHY (973, "Management Port").
pub const PHY_ADDRESS: u16 = 30;
/// Its identifier: an Am79C874.
pub const PHY_ID: u32 = 0x0022_561b;

// Both kinds of descriptors, upper half of RMD1 and TMD1.
pub const D_OWN: u16 = 1 << 15;
pub const D_ERR: u16 = 1 << 14;
/// Start of packet.
pub const D_STP: u16 = 1 << 9;
/// End of packet.
pub const D_ENP: u16 = 1 << 8;
// Receive ("RMD1").
pub const R_FRAM: u16 = 1 << 13;
pub const R_OFLO: u16 = 1 << 12;
pub const R_CRC: u16 = 1 << 11;
pub const R_BUFF: u16 = 1 << 10;
pub const R_PAM: u16 = 1 << 6;
pub const R_LAFM: u16 = 1 << 5;
pub const R_BAM: u16 = 1 << 4;
// Transmit ("TMD1").
/// Append an FCS; in software style 1: do not.
pub const T_ADD_NO_FCS: u16 = 1 << 13;
/// Last transmit interrupt, MORE when it is done.
pub const T_LTINT: u16 = 1 << 12;
// Transmit errors ("TMD2", upper half; in software style 0 "TMD3").
pub const T_BUFF: u16 = 1 << 15;
pub const T_UFLO: u16 = 1 << 14;
pub const T_LCAR: u16 = 1 << 11;

/// Descriptors of a ring whose length comes from an initialization block, at most.
pub const MAX_TABLE: u32 = 512;
/// The shortest frame, FCS not counted.
pub const MIN_FRAME: usize = 60;
/// The longest frame, with its FCS, that is no babble.
pub const MAX_STANDARD: usize = 1518;
/// The longest frame with its FCS: what MCNT can say.
pub const MAX_FRAME: usize = 0xfff;
/// Bytes of a frame check sequence.
pub const FCS_LEN: usize = 4;
/// PCI clock, which CSR47 counts.
pub const CLOCK_HZ: u64 = 33_333_333;
