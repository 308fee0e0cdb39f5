//! The ring in which KVM keeps writes (Documentation/virt/kvm/api.rst, KVM_REGISTER_COALESCED_MMIO). A machine has one; each vCPU's
//! file leads to it.
//!
//! UNSAFETY: a second file for a vCPU, as the ring is to be had by no other, and the flag in an entry, which is a union.
#![expect(unsafe_code, reason = "KVM's ring is behind the file of a vCPU")]

use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};

use kvm_ioctls::{VcpuFd, VmFd};

use super::vm::{KvmError, ioctl};
use crate::interrupt::DoorbellAddress;

/// Entries of the ring at most: a page, without its header.
pub(super) const RING: usize = 170;

/// Who holds it takes the writes in turn.
#[derive(Debug)]
pub(super) struct Ring(VcpuFd);

/// A write that KVM kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) at: DoorbellAddress,
    data: [u8; 8],
    len: usize,
}

impl Write {
    pub(super) fn data(&self) -> &[u8] {
        self.data.get(..self.len).unwrap_or_default()
    }
}

impl Ring {
    /// The ring of `vm`, by way of its `vcpu`.
    pub(super) fn open(vm: &VmFd, vcpu: &VcpuFd) -> Result<Self, KvmError> {
        let failed = ioctl("opening the ring of kept writes");
        // SAFETY: `vcpu` lives on while its file is duplicated.
        let file = unsafe { BorrowedFd::borrow_raw(vcpu.as_raw_fd()) };
        let file = file.try_clone_to_owned().map_err(|error| {
            failed(kvm_ioctls::Error::new(
                error.raw_os_error().unwrap_or_default(),
            ))
        })?;
        // SAFETY: the file is valid and a duplicate of our own. What it maps beside the ring, `struct kvm_run`, is never looked at.
        let mut fd = unsafe { vm.create_vcpu_from_rawfd(file.into_raw_fd()) }.map_err(&failed)?;
        fd.map_coalesced_mmio_ring().map_err(&failed)?;
        Ok(Self(fd))
    }

    /// The oldest write that was not taken.
    pub(super) fn take(&mut self) -> Option<Write> {
        let entry = self.0.coalesced_mmio_read().ok().flatten()?;
        // SAFETY: both members of the union are the same number.
        let is_port = unsafe { entry.__bindgen_anon_1.pio } != 0;
        let at = match u16::try_from(entry.phys_addr) {
            Ok(port) if is_port => DoorbellAddress::Pio(port),
            _ => DoorbellAddress::Mmio(entry.phys_addr),
        };
        Some(Write {
            at,
            data: entry.data,
            len: usize::try_from(entry.len).unwrap_or(0),
        })
    }
}
