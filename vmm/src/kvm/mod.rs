//! KVM: the virtual machine, its interrupts and its vCPUs.

mod cpuid;
mod interrupts;
mod vcpu;
mod vm;

pub use interrupts::KvmInterrupts;
pub(crate) use vcpu::BOOT_GDT;
pub use vcpu::{BootState, Exit, Vcpu};
pub use vm::{KvmError, Vm};
