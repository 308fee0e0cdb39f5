//! KVM: the virtual machine, its interrupts and its vCPUs.

mod cpuid;
mod exits;
mod interrupts;
mod kept;
mod vcpu;
mod vm;

pub use exits::Exit;
pub use interrupts::KvmInterrupts;
pub use kept::Kept;
pub(crate) use vcpu::BOOT_GDT;
pub use vcpu::{BootState, Vcpu};
pub use vm::{KvmError, Vm};
