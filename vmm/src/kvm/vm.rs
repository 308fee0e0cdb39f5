//! One KVM virtual machine: memory slots, in-kernel irqchip and timer.
#![expect(unsafe_code, reason = "KVM takes raw addresses of guest memory")]

use std::sync::Arc;

use kvm_bindings::{KVM_PIT_SPEAKER_DUMMY, kvm_pit_config, kvm_userspace_memory_region};
use kvm_ioctls::{Cap, Kvm, VmFd};
use thiserror::Error;
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion};

use super::{Kept, Vcpu, cpuid::Identity};
use crate::{
    layout::{KVM_IDENTITY_MAP_ADDR, KVM_TSS_ADDR},
    memory::GuestRam,
};

/// What KVM refused.
#[derive(Debug, Error)]
pub enum KvmError {
    /// /dev/kvm cannot be opened.
    #[error("cannot open /dev/kvm: {0} (run `vmm check` to see what is missing)")]
    Open(kvm_ioctls::Error),
    /// An ioctl failed.
    #[error("KVM: {what} failed: {source}")]
    Ioctl {
        /// What was asked of KVM.
        what: &'static str,
        /// Its answer.
        source: kvm_ioctls::Error,
    },
}

/// Names the request in the error.
pub(super) fn ioctl(what: &'static str) -> impl Fn(kvm_ioctls::Error) -> KvmError {
    move |source| KvmError::Ioctl { what, source }
}

/// A virtual machine with its memory.
#[derive(Debug)]
pub struct Vm {
    kvm: Kvm,
    fd: Arc<VmFd>,
    ram: GuestRam,
    kept: Arc<Kept>,
}

impl Vm {
    /// A machine with irqchip, PIT and all of `ram`, without vCPUs.
    pub fn new(ram: GuestRam) -> Result<Self, KvmError> {
        let kvm = Kvm::new().map_err(KvmError::Open)?;
        let fd = kvm.create_vm().map_err(ioctl("creating the machine"))?;
        let tss = usize::try_from(KVM_TSS_ADDR).unwrap_or(usize::MAX);
        fd.set_identity_map_address(KVM_IDENTITY_MAP_ADDR)
            .map_err(ioctl("placing the identity map"))?;
        fd.set_tss_address(tss).map_err(ioctl("placing the TSS"))?;
        fd.create_irq_chip()
            .map_err(ioctl("creating the irqchip"))?;
        // The speaker port answers from KVM too: Linux calibrates clocks with it.
        let pit = kvm_pit_config {
            flags: KVM_PIT_SPEAKER_DUMMY,
            ..Default::default()
        };
        fd.create_pit2(pit).map_err(ioctl("creating the PIT"))?;
        for (slot, region) in (0u32..).zip(ram.mmap.iter()) {
            let memory = kvm_userspace_memory_region {
                slot,
                flags: 0,
                guest_phys_addr: region.start_addr().raw_value(),
                memory_size: region.len(),
                userspace_addr: region.get_mmap().as_ptr() as u64,
            };
            // SAFETY: the range is a mapping of `ram`, which lives in `self` as long as the machine.
            unsafe { fd.set_user_memory_region(memory) }.map_err(ioctl("adding guest memory"))?;
        }
        let can_keep =
            kvm.check_extension(Cap::CoalescedMmio) && kvm.check_extension(Cap::CoalescedPio);
        Ok(Self {
            kvm,
            fd: Arc::new(fd),
            ram,
            kept: Arc::new(Kept::new(can_keep)),
        })
    }

    /// The machine's file, for interrupts and doorbells.
    pub fn fd(&self) -> Arc<VmFd> {
        Arc::clone(&self.fd)
    }

    /// Writes that KVM keeps.
    pub fn kept(&self) -> Arc<Kept> {
        Arc::clone(&self.kept)
    }

    /// Guest RAM.
    pub fn ram(&self) -> &GuestRam {
        &self.ram
    }

    /// vCPU `index` of `count`.
    pub fn vcpu(&self, index: u8, count: u8) -> Result<Vcpu, KvmError> {
        let fd = self
            .fd
            .create_vcpu(u64::from(index))
            .map_err(ioctl("creating a vCPU"))?;
        self.kept.open(&self.fd, &fd)?;
        let cpuid = self
            .kvm
            .get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
            .map_err(ioctl("reading CPUID"))?;
        let identity = Identity {
            index,
            count,
            tsc_deadline: self.kvm.check_extension(Cap::TscDeadlineTimer),
        };
        Vcpu::new(fd, cpuid, identity, self.kept())
    }
}
