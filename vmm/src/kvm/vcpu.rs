//! One vCPU and its state at start.

use std::sync::Arc;

use kvm_bindings::{
    CpuId, Msrs, kvm_fpu, kvm_lapic_state, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs,
};
use kvm_ioctls::VcpuFd;

use super::{
    Kept,
    cpuid::{self, Identity},
    vm::{KvmError, ioctl},
};
use crate::layout::{BOOT_GDT_ADDR, BOOT_STACK_ADDR, PAGE_TABLES_ADDR};

/// Where the first vCPU starts: the 64-bit entry of the Linux boot protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootState {
    /// Entry point.
    pub entry: u64,
    /// Address of the zero page, in RSI.
    pub zero_page: u64,
}

/// A vCPU.
#[derive(Debug)]
pub struct Vcpu {
    pub(super) fd: VcpuFd,
    pub(super) kept: Arc<Kept>,
    index: u8,
}

// Control register and EFER bits (SDM volume 3A, 2.5 and 2.2.1).
const CR0_PE: u64 = 1;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// Selectors of the boot GDT, fixed by the 64-bit boot protocol.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TSS_SELECTOR: u16 = 0x20;
/// Entries of the boot GDT.
pub(crate) const BOOT_GDT: [u64; 5] = [
    0,
    0,
    0x00AF_9B00_0000_FFFF, // __BOOT_CS: 64-bit code
    0x00CF_9300_0000_FFFF, // __BOOT_DS: data
    0x008F_8B00_0000_FFFF, // TSS
];

impl Vcpu {
    pub(super) fn new(
        fd: VcpuFd,
        mut cpuid: CpuId,
        identity: Identity,
        kept: Arc<Kept>,
    ) -> Result<Self, KvmError> {
        cpuid::adjust(&mut cpuid, identity);
        fd.set_cpuid2(&cpuid).map_err(ioctl("setting CPUID"))?;
        set_msrs(&fd)?;
        let fpu = kvm_fpu {
            fcw: 0x37F,
            mxcsr: 0x1F80,
            ..Default::default()
        };
        fd.set_fpu(&fpu).map_err(ioctl("setting the FPU"))?;
        set_local_interrupts(&fd)?;
        Ok(Self {
            fd,
            kept,
            index: identity.index,
        })
    }

    /// Puts the first vCPU at the kernel's 64-bit entry. The others wait for the kernel's startup IPI.
    pub fn boot(&self, state: BootState) -> Result<(), KvmError> {
        let regs = kvm_regs {
            rflags: 2, // bit 1 is always set
            rip: state.entry,
            rsi: state.zero_page,
            rsp: BOOT_STACK_ADDR,
            rbp: BOOT_STACK_ADDR,
            ..Default::default()
        };
        self.fd
            .set_regs(&regs)
            .map_err(ioctl("setting registers"))?;
        let mut sregs = self
            .fd
            .get_sregs()
            .map_err(ioctl("reading segment registers"))?;
        enter_long_mode(&mut sregs);
        self.fd
            .set_sregs(&sregs)
            .map_err(ioctl("setting segment registers"))
    }

    /// The vCPU's number, which is its APIC id.
    pub fn index(&self) -> u8 {
        self.index
    }
}

fn enter_long_mode(sregs: &mut kvm_sregs) {
    let code = kvm_segment {
        base: 0,
        limit: 0xFFFF_FFFF,
        selector: CODE_SELECTOR,
        type_: 0xB, // execute, read, accessed
        present: 1,
        s: 1,
        l: 1,
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
    sregs.gdt.base = BOOT_GDT_ADDR;
    sregs.gdt.limit = 8 * 5 - 1;
    sregs.idt.limit = 0; // an exception before the kernel has its own table is a triple fault
    sregs.cr0 |= CR0_PE | CR0_PG;
    sregs.cr3 = PAGE_TABLES_ADDR;
    sregs.cr4 |= CR4_PAE;
    sregs.efer |= EFER_LME | EFER_LMA;
}

fn set_msrs(fd: &VcpuFd) -> Result<(), KvmError> {
    const IA32_MISC_ENABLE: u32 = 0x1A0;
    const MISC_ENABLE_FAST_STRING: u64 = 1;
    const IA32_MTRR_DEF_TYPE: u32 = 0x2FF;
    // MTRRs enabled, default type write-back: what a BIOS leaves behind (SDM volume 3A, 12.11.2.1).
    const MTRR_ENABLE_WB: u64 = 1 << 11 | 6;
    let entries = [
        kvm_msr_entry {
            index: IA32_MISC_ENABLE,
            data: MISC_ENABLE_FAST_STRING,
            ..Default::default()
        },
        kvm_msr_entry {
            index: IA32_MTRR_DEF_TYPE,
            data: MTRR_ENABLE_WB,
            ..Default::default()
        },
    ];
    // A host without one of these registers leaves it out: KVM then sets fewer, and the guest does not see them either.
    if let Ok(msrs) = Msrs::from_entries(&entries) {
        fd.set_msrs(&msrs).map_err(ioctl("setting MSRs"))?;
    }
    Ok(())
}

/// LINT0 takes the 8259s' interrupts, LINT1 is the NMI (SDM volume 3A, 11.5.1).
fn set_local_interrupts(fd: &VcpuFd) -> Result<(), KvmError> {
    const LVT_LINT0: usize = 0x350;
    const LVT_LINT1: usize = 0x360;
    const MODE_NMI: u32 = 4;
    const MODE_EXTINT: u32 = 7;
    let mut lapic = fd.get_lapic().map_err(ioctl("reading the local APIC"))?;
    set_delivery_mode(&mut lapic, LVT_LINT0, MODE_EXTINT);
    set_delivery_mode(&mut lapic, LVT_LINT1, MODE_NMI);
    fd.set_lapic(&lapic)
        .map_err(ioctl("setting the local APIC"))
}

#[expect(
    clippy::cast_possible_wrap,
    reason = "KVM types the register page as C's char"
)]
fn set_delivery_mode(lapic: &mut kvm_lapic_state, register: usize, mode: u32) {
    // Bits 8 to 10 of a local vector table entry are its delivery mode.
    let byte = &mut lapic.regs[register + 1];
    *byte = ((*byte).cast_unsigned() & !7 | u8::try_from(mode).unwrap_or(0)) as i8;
}
