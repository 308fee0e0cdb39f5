//! KVM: the virtual machine, its interrupts and its vCPUs.

mod cpuid;
mod entry;
mod exits;
mod interrupts;
mod kept;
mod ring;
mod vcpu;
mod vm;

pub use entry::Entry;
pub use exits::Exit;
pub use interrupts::KvmInterrupts;
pub use kept::Kept;
pub use vcpu::{BootState, Vcpu};
pub use vm::{KvmError, Vm};
