//! How the first vCPU enters a Linux kernel (Documentation/arch/x86/boot.rst, "32-bit Boot Protocol" and "64-bit Boot Protocol").

use kvm_bindings::{kvm_segment, kvm_sregs};

use crate::layout::{BOOT_GDT_ADDR, PAGE_TABLES_ADDR};

/// Where a kernel starts, and in which mode of the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Protected mode, 32 bits wide, without paging.
    Protected(u64),
    /// Long mode; the first 4 GiB are mapped.
    Long(u64),
}

// Control register and EFER bits (SDM volume 3A, 2.5 and 2.2.1).
const CR0_PE: u64 = 1;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// Selectors of the boot GDT, fixed by both boot protocols.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TSS_SELECTOR: u16 = 0x20;
/// `__BOOT_CS`.
const CODE_32: u64 = 0x00CF_9B00_0000_FFFF;
const CODE_64: u64 = 0x00AF_9B00_0000_FFFF;
/// `__BOOT_DS`.
const DATA: u64 = 0x00CF_9300_0000_FFFF;
const TSS: u64 = 0x008F_8B00_0000_FFFF;

impl Entry {
    /// The first instruction.
    pub fn address(self) -> u64 {
        match self {
            Self::Protected(address) | Self::Long(address) => address,
        }
    }

    /// Entries of the boot GDT.
    pub(crate) fn gdt(self) -> [u64; 5] {
        let code = match self {
            Self::Protected(_) => CODE_32,
            Self::Long(_) => CODE_64,
        };
        [0, 0, code, DATA, TSS]
    }

    /// Sets segments and control registers up.
    pub(super) fn enter(self, sregs: &mut kvm_sregs) {
        let long = matches!(self, Self::Long(_));
        self.set_segments(sregs);
        sregs.gdt.base = BOOT_GDT_ADDR;
        sregs.gdt.limit = 8 * 5 - 1;
        sregs.idt.limit = 0; // an exception before the kernel has its own table is a triple fault
        sregs.cr0 |= CR0_PE;
        if long {
            sregs.cr0 |= CR0_PG;
            sregs.cr3 = PAGE_TABLES_ADDR;
            sregs.cr4 |= CR4_PAE;
            sregs.efer |= EFER_LME | EFER_LMA;
        }
    }

    /// The hidden parts of the segment registers, as if the boot GDT had been loaded.
    fn set_segments(self, sregs: &mut kvm_sregs) {
        let long = u8::from(matches!(self, Self::Long(_)));
        let code = kvm_segment {
            base: 0,
            limit: 0xFFFF_FFFF,
            selector: CODE_SELECTOR,
            type_: 0xB, // execute, read, accessed
            present: 1,
            s: 1,
            l: long,
            db: 1 - long,
            g: 1,
            ..Default::default()
        };
        // Data segments: read, write, accessed; 32-bit default size.
        let data = kvm_segment {
            selector: DATA_SELECTOR,
            type_: 3,
            l: 0,
            db: 1,
            ..code
        };
        let tss = kvm_segment {
            selector: TSS_SELECTOR,
            type_: 0xB,
            s: 0,
            l: 0,
            db: 0,
            g: 0,
            limit: 0xFFFF,
            ..code
        };
        sregs.cs = code;
        for segment in [
            &mut sregs.ds,
            &mut sregs.es,
            &mut sregs.fs,
            &mut sregs.gs,
            &mut sregs.ss,
        ] {
            *segment = data;
        }
        sregs.tr = tss;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_has_its_code_segment_and_control_registers() {
        for (entry, long) in [
            (Entry::Protected(0x10_0000), 0),
            (Entry::Long(0x10_0200), 1),
        ] {
            let mut sregs = kvm_sregs::default();
            entry.enter(&mut sregs);
            assert_eq!((sregs.cs.l, sregs.cs.db), (long, 1 - long));
            assert_eq!((sregs.ds.l, sregs.ds.db, sregs.ss.selector), (0, 1, 0x18));
            assert_eq!(
                sregs.cr0 & (CR0_PE | CR0_PG),
                CR0_PE | (CR0_PG * u64::from(long))
            );
            assert_eq!(sregs.efer != 0, long == 1);
            // Bits 53 (L) and 54 (D/B) of the descriptor say the same (SDM volume 3A, 3.4.5).
            let code = entry.gdt()[usize::from(sregs.cs.selector / 8)];
            assert_eq!(
                (code >> 53 & 1, code >> 54 & 1),
                (long.into(), 1 - u64::from(long))
            );
        }
    }
}
