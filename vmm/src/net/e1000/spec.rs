//! Registers, bits and descriptors of the 82540EM and 82545EM.
//!
//! Names and sections: Intel "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
//! Manual" (317453), "SDM" in comments.
use serde::{Deserialize, Serialize};

/// Intel.
pub const VENDOR: u16 = 0x8086;

/// One of the chips of this family (SDM 5.1, table 5-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chip {
    pub device: u16,
    pub revision: u8,
    pub subsystem: u16,
}

/// PRO/1000 MT Desktop Adapter.
pub const I82540EM: Chip = Chip {
    device: 0x100e,
    revision: 2,
    subsystem: 0x001e,
};
/// PRO/1000 MT Server Adapter.
pub const I82545EM: Chip = Chip {
    device: 0x100f,
    revision: 1,
    subsystem: 0x1001,
};

/// Ethernet controller.
pub const CLASS: u32 = 0x02_00_00;

/// The BAR with all registers.
pub const MEMORY_BAR: u8 = 0;
/// The BAR with IOADDR and IODATA.
pub const IO_BAR: u8 = 1;
/// Bytes of the memory BAR (4.1).
pub const MEMORY_LEN: u64 = 0x2_0000;
/// Bytes of the I/O BAR.
pub const IO_LEN: u64 = 0x40;
/// Bytes of register space that has registers.
pub const REGISTERS_LEN: u32 = 0x6000;
/// I/O BAR: address of the register that `IODATA` means (13.2.2.1).
pub const IOADDR: u32 = 0;
/// I/O BAR: its value.
pub const IODATA: u32 = 4;

// Registers (13.3, table 13-2).
pub const CTRL: u32 = 0x0000;
pub const CTRL_DUP: u32 = 0x0004;
pub const STATUS: u32 = 0x0008;
pub const EECD: u32 = 0x0010;
pub const EERD: u32 = 0x0014;
pub const CTRL_EXT: u32 = 0x0018;
pub const MDIC: u32 = 0x0020;
pub const FCAL: u32 = 0x0028;
pub const FCAH: u32 = 0x002c;
pub const FCT: u32 = 0x0030;
pub const VET: u32 = 0x0038;
pub const ICR: u32 = 0x00c0;
pub const ITR: u32 = 0x00c4;
pub const ICS: u32 = 0x00c8;
pub const IMS: u32 = 0x00d0;
pub const IMC: u32 = 0x00d8;
pub const RCTL: u32 = 0x0100;
pub const FCTTV: u32 = 0x0170;
pub const TXCW: u32 = 0x0178;
pub const RXCW: u32 = 0x0180;
pub const TCTL: u32 = 0x0400;
pub const TIPG: u32 = 0x0410;
pub const AIFS: u32 = 0x0458;
pub const LEDCTL: u32 = 0x0e00;
pub const PBA: u32 = 0x1000;
pub const FCRTL: u32 = 0x2160;
pub const FCRTH: u32 = 0x2168;
pub const RDBAL: u32 = 0x2800;
pub const RDBAH: u32 = 0x2804;
pub const RDLEN: u32 = 0x2808;
pub const RDH: u32 = 0x2810;
pub const RDT: u32 = 0x2818;
pub const RDTR: u32 = 0x2820;
pub const RXDCTL: u32 = 0x2828;
pub const RADV: u32 = 0x282c;
pub const RSRPD: u32 = 0x2c00;
pub const TXDMAC: u32 = 0x3000;
pub const TDBAL: u32 = 0x3800;
pub const TDBAH: u32 = 0x3804;
pub const TDLEN: u32 = 0x3808;
pub const TDH: u32 = 0x3810;
pub const TDT: u32 = 0x3818;
pub const TIDV: u32 = 0x3820;
pub const TXDCTL: u32 = 0x3828;
pub const TADV: u32 = 0x382c;
pub const TSPMT: u32 = 0x3830;
/// First statistics register (13.7); all are cleared by reading.
pub const STATISTICS: u32 = 0x4000;
/// End of the statistics registers.
pub const STATISTICS_END: u32 = 0x4100;
pub const RXCSUM: u32 = 0x5000;
/// Multicast table array: 128 registers.
pub const MTA: u32 = 0x5200;
/// Receive addresses: 16 pairs.
pub const RA: u32 = 0x5400;
pub const RA_END: u32 = RA + 16 * 8;
/// VLAN filter table array: 128 registers.
pub const VFTA: u32 = 0x5600;
pub const VFTA_END: u32 = VFTA + 128 * 4;
pub const WUC: u32 = 0x5800;
pub const WUFC: u32 = 0x5808;
pub const IPAV: u32 = 0x5838;
pub const MANC: u32 = 0x5820;
pub const FFLT: u32 = 0x5f00;

// Statistics registers (13.7).
pub const MPC: u32 = 0x4010;
pub const PRC64: u32 = 0x405c;
pub const GPRC: u32 = 0x4074;
pub const BPRC: u32 = 0x4078;
pub const MPRC: u32 = 0x407c;
pub const GPTC: u32 = 0x4080;
pub const GORCL: u32 = 0x4088;
pub const GOTCL: u32 = 0x4090;
pub const RNBC: u32 = 0x40a0;
pub const ROC: u32 = 0x40ac;
pub const TORL: u32 = 0x40c0;
pub const TOTL: u32 = 0x40c8;
pub const TPR: u32 = 0x40d0;
pub const TPT: u32 = 0x40d4;
pub const PTC64: u32 = 0x40d8;
pub const MPTC: u32 = 0x40f0;
pub const BPTC: u32 = 0x40f4;
pub const TSCTC: u32 = 0x40f8;
pub const TSCTFC: u32 = 0x40fc;

// Device control (13.4.1).
pub const CTRL_SLU: u32 = 1 << 6;
pub const CTRL_RST: u32 = 1 << 26;
pub const CTRL_VME: u32 = 1 << 30;
pub const CTRL_PHY_RST: u32 = 1 << 31;
// Device status (13.4.2).
pub const STATUS_FD: u32 = 1 << 0;
pub const STATUS_LU: u32 = 1 << 1;
pub const STATUS_SPEED_1000: u32 = 0b10 << 6;
pub const STATUS_MTXCKOK: u32 = 1 << 10;
// EEPROM/flash control (13.4.3).
pub const EECD_SK: u32 = 1 << 0;
pub const EECD_CS: u32 = 1 << 1;
pub const EECD_DI: u32 = 1 << 2;
pub const EECD_DO: u32 = 1 << 3;
pub const EECD_FWE: u32 = 0b11 << 4;
pub const EECD_REQ: u32 = 1 << 6;
pub const EECD_GNT: u32 = 1 << 7;
pub const EECD_PRES: u32 = 1 << 8;
// EEPROM read (13.4.4).
pub const EERD_START: u32 = 1 << 0;
pub const EERD_DONE: u32 = 1 << 4;
// Extended device control (13.4.5).
pub const CTRL_EXT_EE_RST: u32 = 1 << 13;
// MDI control (13.4.7).
pub const MDIC_OP_WRITE: u32 = 1;
pub const MDIC_OP_READ: u32 = 2;
pub const MDIC_R: u32 = 1 << 28;
pub const MDIC_I: u32 = 1 << 29;
pub const MDIC_E: u32 = 1 << 30;
/// The PHY's address on the MDIO bus.
pub const PHY_ADDRESS: u32 = 1;

// Interrupt causes (13.4.17).
pub const ICR_TXDW: u32 = 1 << 0;
pub const ICR_TXQE: u32 = 1 << 1;
pub const ICR_LSC: u32 = 1 << 2;
pub const ICR_RXDMT0: u32 = 1 << 4;
pub const ICR_RXO: u32 = 1 << 6;
pub const ICR_RXT0: u32 = 1 << 7;
pub const ICR_MDAC: u32 = 1 << 9;
/// Causes that exist.
pub const ICR_MASK: u32 = 0x0001_ffff;

// Receive control (13.4.22).
pub const RCTL_EN: u32 = 1 << 1;
pub const RCTL_UPE: u32 = 1 << 3;
pub const RCTL_MPE: u32 = 1 << 4;
pub const RCTL_LPE: u32 = 1 << 5;
/// Loopback mode; 01b: in the MAC.
pub const RCTL_LBM: u32 = 0b11 << 6;
pub const RCTL_BAM: u32 = 1 << 15;
pub const RCTL_VFE: u32 = 1 << 18;
pub const RCTL_CFIEN: u32 = 1 << 19;
pub const RCTL_CFI: u32 = 1 << 20;
pub const RCTL_BSEX: u32 = 1 << 25;
pub const RCTL_SECRC: u32 = 1 << 26;
// Transmit control (13.4.33).
pub const TCTL_EN: u32 = 1 << 1;
// Receive checksum control (13.4.27).
pub const RXCSUM_IPOFLD: u32 = 1 << 8;
pub const RXCSUM_TUOFLD: u32 = 1 << 9;
/// Receive address valid (13.5.3).
pub const RAH_AV: u32 = 1 << 31;
/// Flush partial descriptors: timers expire at once (13.4.30, 13.4.44).
pub const FPD: u32 = 1 << 31;

/// Bytes of a descriptor (3.2.3, 3.3.3).
pub const DESCRIPTOR_LEN: u64 = 16;

// Receive descriptor status (3.2.3.1).
pub const RXD_DD: u8 = 1 << 0;
pub const RXD_EOP: u8 = 1 << 1;
pub const RXD_IXSM: u8 = 1 << 2;
pub const RXD_VP: u8 = 1 << 3;
pub const RXD_TCPCS: u8 = 1 << 5;
pub const RXD_IPCS: u8 = 1 << 6;
pub const RXD_PIF: u8 = 1 << 7;

// Transmit descriptor commands (3.3.3.1, 3.3.6.1, 3.3.7.1).
pub const TXD_EOP: u8 = 1 << 0;
/// Legacy: insert a checksum.
pub const TXD_IC: u8 = 1 << 2;
/// Data and context: segment.
pub const TXD_TSE: u8 = 1 << 2;
pub const TXD_RS: u8 = 1 << 3;
pub const TXD_DEXT: u8 = 1 << 5;
pub const TXD_VLE: u8 = 1 << 6;
pub const TXD_IDE: u8 = 1 << 7;
/// Context: the packet is IPv4.
pub const TUCMD_IP: u8 = 1 << 1;
/// Context: the packet is TCP.
pub const TUCMD_TCP: u8 = 1 << 0;
/// Status: descriptor done.
pub const TXD_DD: u8 = 1 << 0;
/// Data: insert the IP checksum (3.3.7.2).
pub const POPTS_IXSM: u8 = 1 << 0;
/// Data: insert the TCP or UDP checksum.
pub const POPTS_TXSM: u8 = 1 << 1;

/// Bytes of the frame check sequence.
pub const FCS_LEN: usize = 4;
/// The longest frame without LPE, FCS and VLAN tag not counted.
pub const MAX_STANDARD: usize = 1514;
/// The shortest frame, FCS not counted.
pub const MIN_FRAME: usize = 60;
/// The longest frame at all, with FCS (13.4.22, LPE).
pub const MAX_FRAME: usize = 16384;

/// Which bits of a plain register the driver can change; `None`: it is not there, or read-only, or has
/// its own code.
pub fn writable(offset: u32) -> Option<u32> {
    Some(match offset {
        RDLEN | TDLEN => 0x000f_ff80,
        RDBAL | TDBAL => 0xffff_fff0,
        RDH | TDH | RDT | TDT | FCAH | FCT | FCTTV | VET | ITR | RADV | TIDV | TADV | RDTR
        | AIFS => 0xffff,
        FCRTL => 0x8000_fff8,
        FCRTH => 0xfff8,
        TIPG => 0x3fff_ffff,
        RA..RA_END if offset & 4 != 0 => 0x8003_ffff,
        RDBAH
        | TDBAH
        | FCAL
        | TXCW
        | CTRL_EXT
        | PBA
        | LEDCTL
        | MANC
        | WUC
        | TXDMAC
        | RCTL
        | TCTL
        | RXDCTL
        | TXDCTL
        | TSPMT
        | RXCSUM
        | WUFC
        | IPAV
        | RSRPD
        | MTA..RA_END
        | VFTA..VFTA_END => u32::MAX,
        FFLT..REGISTERS_LEN => 0x7ff,
        _ => return None,
    })
}

// PHY registers (12.3; Marvell 88E1011).
pub const PHY_CTRL: usize = 0;
pub const PHY_STATUS: usize = 1;
pub const PHY_ID1: usize = 2;
pub const PHY_ID2: usize = 3;
pub const PHY_AUTONEG_ADV: usize = 4;
pub const PHY_LP_ABILITY: usize = 5;
pub const PHY_AUTONEG_EXP: usize = 6;
pub const PHY_1000T_CTRL: usize = 9;
pub const PHY_1000T_STATUS: usize = 10;
pub const PHY_EXT_STATUS: usize = 15;
pub const M88E1000_PHY_SPEC_CTRL: usize = 16;
pub const M88E1000_PHY_SPEC_STATUS: usize = 17;
pub const M88E1000_INT_ENABLE: usize = 18;
pub const M88E1000_EXT_PHY_SPEC_CTRL: usize = 20;
/// Control: reset, clears itself.
pub const PHY_CTRL_RESET: u16 = 1 << 15;
/// Control: loopback.
pub const PHY_CTRL_LOOPBACK: u16 = 1 << 14;
/// Control: restart negotiation, clears itself.
pub const PHY_CTRL_RESTART: u16 = 1 << 9;
/// Status: link up.
pub const PHY_STATUS_LINK: u16 = 1 << 2;
/// Status: negotiation complete.
pub const PHY_STATUS_COMPLETE: u16 = 1 << 5;
