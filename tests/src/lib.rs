//! End-to-end tests: real guests, real kernels, independent peers.
//!
//! * [`stock_backend`]: a vhost-user back-end made of crates that are not ours.
//! * [`Daemon`], [`Namespace`], [`QemuGuest`]: what the tests plug together. Each ends what it started when it is dropped.
#![forbid(unsafe_code)]

mod daemon;
mod namespace;
pub mod programs;
mod qemu;
pub mod stock_backend;
mod wait;

pub use daemon::Daemon;
pub use namespace::Namespace;
pub use qemu::{Nic, QemuGuest};
pub use wait::until;
