//! One vCPU and its state at start.

use std::sync::Arc;

use kvm_bindings::{CpuId, Msrs, kvm_fpu, kvm_lapic_state, kvm_msr_entry, kvm_regs};
use kvm_ioctls::VcpuFd;

use super::{
    Entry, Kept,
    cpuid::{self, Identity},
    vm::{KvmError, ioctl},
};
use crate::layout::BOOT_STACK_ADDR;

/// Where the first vCPU starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootState {
    /// Entry point of the kernel.
    pub entry: Entry,
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

    /// Puts the first vCPU at the kernel's entry. The others wait for the kernel's startup IPI.
    pub fn boot(&self, state: BootState) -> Result<(), KvmError> {
        let regs = kvm_regs {
            rflags: 2, // bit 1 is always set
            rip: state.entry.address(),
            rsi: state.zero_page,
            rsp: BOOT_STACK_ADDR,
            // The 32-bit protocol wants all others to be zero.
            ..Default::default()
        };
        self.fd
            .set_regs(&regs)
            .map_err(ioctl("setting registers"))?;
        let mut sregs = self
            .fd
            .get_sregs()
            .map_err(ioctl("reading segment registers"))?;
        state.entry.enter(&mut sregs);
        self.fd
            .set_sregs(&sregs)
            .map_err(ioctl("setting segment registers"))
    }

    /// The vCPU's number, which is its APIC id.
    pub fn index(&self) -> u8 {
        self.index
    }
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
