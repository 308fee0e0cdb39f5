//! Registers and bits of the RTL8029AS, whose core is a DP8390.
//!
//! Names and sections: Realtek "RTL8029AS" data sheet (LS009.0, 1997), "R" in comments, and National Semiconductor "DP8390D/NS32490D
//! Network Interface Controller" data sheet, "D".

/// Realtek.
pub const VENDOR: u16 = 0x10ec;
/// RTL8029.
pub const DEVICE: u16 = 0x8029;
/// Ethernet controller.
pub const CLASS: u32 = 0x02_00_00;

/// The only BAR, in I/O space.
pub const IO_BAR: u8 = 0;
/// Its bytes.
pub const PORTS_LEN: u32 = 0x20;

// Ports (R 5.1).
/// The last port of the registers.
pub const LAST_REGISTER: u32 = 0x0f;
/// Remote DMA port, eight ports wide.
pub const DATA_PORT: u32 = 0x10;
pub const LAST_DATA_PORT: u32 = 0x17;
/// Reset port, eight ports wide: a read resets.
pub const RESET_PORT: u32 = 0x18;
pub const LAST_RESET_PORT: u32 = 0x1f;

// Registers (D 10.3, R 5.1.1). CR is on all pages.
pub const CR: u32 = 0x00;
// Page 0, read.
pub const CLDA0: u32 = 0x01;
pub const CLDA1: u32 = 0x02;
/// Also written.
pub const BNRY: u32 = 0x03;
pub const TSR: u32 = 0x04;
pub const NCR: u32 = 0x05;
pub const FIFO: u32 = 0x06;
/// Also written.
pub const ISR: u32 = 0x07;
pub const CRDA0: u32 = 0x08;
pub const CRDA1: u32 = 0x09;
pub const ID0: u32 = 0x0a;
pub const ID1: u32 = 0x0b;
pub const RSR: u32 = 0x0c;
pub const CNTR0: u32 = 0x0d;
pub const CNTR1: u32 = 0x0e;
pub const CNTR2: u32 = 0x0f;
// Page 0, written; page 2, read.
pub const PSTART: u32 = 0x01;
pub const PSTOP: u32 = 0x02;
pub const TPSR: u32 = 0x04;
pub const TBCR0: u32 = 0x05;
pub const TBCR1: u32 = 0x06;
pub const RSAR0: u32 = 0x08;
pub const RSAR1: u32 = 0x09;
pub const RBCR0: u32 = 0x0a;
pub const RBCR1: u32 = 0x0b;
pub const RCR: u32 = 0x0c;
pub const TCR: u32 = 0x0d;
pub const DCR: u32 = 0x0e;
pub const IMR: u32 = 0x0f;
// Page 1.
pub const PAR0: u32 = 0x01;
pub const PAR5: u32 = 0x06;
pub const CURR: u32 = 0x07;
pub const MAR0: u32 = 0x08;
pub const MAR7: u32 = 0x0f;
// Page 3 (R 5.1.2.2).
pub const CR9346: u32 = 0x01;
pub const CONFIG0: u32 = 0x03;
pub const CONFIG2: u32 = 0x05;
pub const CONFIG3: u32 = 0x06;
pub const HLTCLK: u32 = 0x09;
pub const ASID0: u32 = 0x0e;
pub const ASID1: u32 = 0x0f;

// Command (D 10.3, "Command Register").
pub const CR_STP: u8 = 1 << 0;
pub const CR_STA: u8 = 1 << 1;
pub const CR_TXP: u8 = 1 << 2;
/// Remote DMA command.
pub const CR_RD: u8 = 0b111 << 3;
pub const CR_RD_READ: u8 = 0b001 << 3;
pub const CR_RD_WRITE: u8 = 0b010 << 3;
pub const CR_RD_SEND: u8 = 0b011 << 3;
/// Whatever the other two bits: abort.
pub const CR_RD_ABORT: u8 = 0b100 << 3;
/// Page select.
pub const CR_PS: u8 = 0b11 << 6;
/// How far the page number is shifted.
pub const CR_PS_SHIFT: u8 = 6;

// Interrupt status and mask.
pub const ISR_PRX: u8 = 1 << 0;
pub const ISR_PTX: u8 = 1 << 1;
pub const ISR_RXE: u8 = 1 << 2;
pub const ISR_TXE: u8 = 1 << 3;
pub const ISR_OVW: u8 = 1 << 4;
pub const ISR_CNT: u8 = 1 << 5;
pub const ISR_RDC: u8 = 1 << 6;
/// No interrupt, and not cleared by a write.
pub const ISR_RST: u8 = 1 << 7;

// Data configuration.
pub const DCR_WTS: u8 = 1 << 0;
/// Normal operation; 0: what is sent in loopback mode ends in the FIFO.
pub const DCR_LS: u8 = 1 << 3;
/// The Send Packet command is executed.
pub const DCR_ARM: u8 = 1 << 4;
/// Bits that read as 1.
pub const DCR_FIXED: u8 = 1 << 7;

// Transmit configuration.
/// Inhibit CRC: the driver's frame ends in one.
pub const TCR_CRC: u8 = 1 << 0;
/// Loopback mode.
pub const TCR_LB: u8 = 0b11 << 1;
pub const TCR_LB_INTERNAL: u8 = 0b01 << 1;
pub const TCR_LB_ENDEC: u8 = 0b10 << 1;
/// Bits that read as 1.
pub const TCR_FIXED: u8 = 0b111 << 5;

// Transmit status.
pub const TSR_PTX: u8 = 1 << 0;
/// Bits that read as 1.
pub const TSR_FIXED: u8 = 1 << 1;
pub const TSR_ABT: u8 = 1 << 3;
pub const TSR_CRS: u8 = 1 << 4;
pub const TSR_CDH: u8 = 1 << 6;

// Receive configuration.
pub const RCR_SEP: u8 = 1 << 0;
pub const RCR_AR: u8 = 1 << 1;
pub const RCR_AB: u8 = 1 << 2;
pub const RCR_AM: u8 = 1 << 3;
pub const RCR_PRO: u8 = 1 << 4;
pub const RCR_MON: u8 = 1 << 5;
/// Bits that read as 1.
pub const RCR_FIXED: u8 = 0b11 << 6;

// Receive status, also the first byte of a frame in the ring.
pub const RSR_PRX: u8 = 1 << 0;
pub const RSR_CRC: u8 = 1 << 1;
pub const RSR_MPA: u8 = 1 << 4;
pub const RSR_PHY: u8 = 1 << 5;
pub const RSR_DIS: u8 = 1 << 6;

/// Tally counters stop there (D 10.3, "Network Tally Counters").
pub const TALLY_MAX: u8 = 192;
/// And interrupt from there.
pub const TALLY_MSB: u8 = 1 << 7;

/// ID0 and ID1: "PC".
pub const ID: [u8; 2] = *b"PC";
/// ASID0 and ASID1.
pub const ASID: [u8; 2] = DEVICE.to_le_bytes();

// 9346 command (R 5.1.2.2).
/// Operating mode.
pub const CR9346_EEM: u8 = 0b11 << 6;
pub const CR9346_AUTO_LOAD: u8 = 0b01 << 6;
pub const CR9346_PROGRAMMING: u8 = 0b10 << 6;
/// CONFIG2 and CONFIG3 take writes.
pub const CR9346_UNLOCK: u8 = 0b11 << 6;
pub const CR9346_EECS: u8 = 1 << 3;
pub const CR9346_EESK: u8 = 1 << 2;
pub const CR9346_EEDI: u8 = 1 << 1;
pub const CR9346_EEDO: u8 = 1 << 0;

/// CONFIG0: the thin cable is in use, because it was chosen or the twisted pair has no link.
pub const CONFIG0_BNC: u8 = 1 << 2;
/// CONFIG2: medium.
pub const CONFIG2_PL: u8 = 0b11 << 6;
pub const CONFIG2_PL_AUTO: u8 = 0;
pub const CONFIG2_PL_10BASET: u8 = 0b01 << 6;
pub const CONFIG2_WRITABLE: u8 = 0b111 << 5;
/// CONFIG3: full duplex.
pub const CONFIG3_FUDUP: u8 = 1 << 6;
pub const CONFIG3_WRITABLE: u8 = CONFIG3_FUDUP | 0b11 << 1;

/// Bytes of the PROM that remote DMA finds at address 0 (R 6.2.2). Each is there twice, as on a board with a word-wide bus: drivers
/// recognize an NE2000 by that.
pub const PROM_LEN: usize = 32;
/// The last bytes of the PROM's sixteen.
pub const PROM_MARK: u8 = 0x57;
/// Where packet memory begins.
pub const RAM_START: usize = 0x4000;
/// And how much there is.
pub const RAM_LEN: usize = 0x8000;
/// Header of a frame in the ring: status, next page, byte count (D 7.0).
pub const HEADER_LEN: usize = 4;
/// Bytes of a page.
pub const PAGE_LEN: usize = 256;

/// The shortest frame, FCS not counted.
pub const MIN_FRAME: usize = 60;
pub const FCS_LEN: usize = 4;
/// The longest frame that is sent, FCS not counted: all of the six pages that drivers give to a frame.
pub const MAX_TRANSMIT: usize = 6 * PAGE_LEN;
/// The longest frame that is received, FCS not counted: with a VLAN tag.
pub const MAX_RECEIVE: usize = 1518;
