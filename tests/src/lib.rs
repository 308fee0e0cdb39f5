//! End-to-end tests: real guests, real kernels, independent peers.
//!
//! The tests themselves are in `tests/e2e`; this library is what they share: the daemon, network
//! namespaces and QEMU guests as values that clean up after themselves.
//!
//! ```
//! // Waiting is always for a condition, with a deadline, never for a time.
//! tests::wait_until("the sum", std::time::Duration::from_secs(1), || (1 + 1 == 2).then_some(()));
//! ```

mod daemon;
mod heavy;
mod hugepages;
mod lossy_wire;
mod namespace;
mod packet_socket;
mod process;
pub mod programs;
mod qemu;
mod qmp;
mod report;
pub mod stock_backend;
mod sys;
mod testpmd;
mod tshark;
mod wait;

pub use daemon::Daemon;
pub use heavy::{Heavy, heavy, needs_root, scenario};
pub use hugepages::Hugepages;
pub use lossy_wire::{Impairment, LossyWire};
pub use namespace::Namespace;
pub use packet_socket::PacketSocket;
pub use process::Process;
pub use qemu::{KERNEL_PARAMETERS, Machine, Memory, Nic, QemuGuest, kernel_and_initrd};
pub use qmp::Qmp;
pub use report::{assert_checks, say};
pub use testpmd::{Testpmd, VirtioUser};
pub use tshark::Tshark;
pub use wait::wait_until;
