//! Why a vCPU left KVM_RUN, and the accesses to ports and memory that are dealt with on the way.
//!
//! UNSAFETY: fields of the union in `struct kvm_run`, and the data of a port access, which lies behind that structure.
#![expect(
    unsafe_code,
    reason = "struct kvm_run holds a union and an offset to data"
)]

use std::ptr;

use kvm_bindings::{KVM_INTERNAL_ERROR_EMULATION, kvm_run};
use kvm_ioctls::VcpuExit;

use super::Vcpu;
use crate::bus::Bus;

/// Why a vCPU came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// An exit was dealt with, or a signal came: look around and run again.
    Again,
    /// A triple fault, or KVM cannot go on.
    Crash(String),
}

impl Vcpu {
    /// Runs until the next exit and deals with accesses to ports and devices.
    pub fn run(&mut self, pio: &Bus, mmio: &Bus) -> Exit {
        match self.fd.run() {
            Ok(VcpuExit::IoIn(port, data)) => {
                let data = ptr::from_mut(data);
                let size = port_access_size(self.fd.get_kvm_run());
                self.kept.bring(pio, mmio);
                // SAFETY: the data is in the vCPU's mapping, behind `struct kvm_run`; nobody else touches it until the next run.
                pio.read_repeated(port.into(), size, unsafe { &mut *data });
                Exit::Again
            }
            Ok(VcpuExit::IoOut(port, data)) => {
                let data = ptr::from_ref(data);
                let size = port_access_size(self.fd.get_kvm_run());
                self.kept.bring(pio, mmio);
                // SAFETY: as above.
                pio.write_repeated(port.into(), size, unsafe { &*data });
                Exit::Again
            }
            Ok(VcpuExit::MmioRead(addr, data)) => {
                let data = ptr::from_mut(data);
                self.kept.bring(pio, mmio);
                // SAFETY: the data is in `struct kvm_run`; nobody else touches it until the next run.
                mmio.read(addr, unsafe { &mut *data });
                Exit::Again
            }
            Ok(VcpuExit::MmioWrite(addr, data)) => {
                let data = ptr::from_ref(data);
                self.kept.bring(pio, mmio);
                // SAFETY: as above.
                mmio.write(addr, unsafe { &*data });
                Exit::Again
            }
            Ok(VcpuExit::Shutdown) => Exit::Crash("triple fault".to_owned()),
            Ok(VcpuExit::Hlt | VcpuExit::Intr | VcpuExit::IrqWindowOpen) => {
                self.kept.bring(pio, mmio);
                Exit::Again
            }
            Ok(VcpuExit::InternalError) => Exit::Crash(self.internal_error()),
            Ok(VcpuExit::FailEntry(reason, cpu)) => Exit::Crash(format!(
                "hardware refused to enter the guest on CPU {cpu}: {reason:#x}"
            )),
            Ok(other) => Exit::Crash(format!("unexpected exit {other:?}")),
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
                self.kept.bring(pio, mmio);
                Exit::Again
            }
            Err(error) => Exit::Crash(format!("KVM_RUN failed: {error}")),
        }
    }

    /// What KVM says of a KVM_EXIT_INTERNAL_ERROR.
    fn internal_error(&mut self) -> String {
        // SAFETY: this exit fills the `internal` member; all of its bit patterns are numbers.
        let suberror = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.internal.suberror };
        let what = if suberror == KVM_INTERNAL_ERROR_EMULATION {
            "KVM cannot emulate an instruction of the guest".to_owned()
        } else {
            format!("KVM internal error {suberror}")
        };
        match self.fd.get_regs() {
            Ok(regs) => format!("{what}, at RIP {:#x}", regs.rip),
            Err(_) => what,
        }
    }
}

/// Bytes of one access. An instruction with a REP prefix makes many at once, and each is one of its own to a device.
fn port_access_size(run: &kvm_run) -> usize {
    // SAFETY: only called at KVM_EXIT_IO, which fills the `io` member.
    let size = unsafe { run.__bindgen_anon_1.io.size };
    usize::from(size).max(1)
}
