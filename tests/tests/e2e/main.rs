//! Everything together: the programs as they are shipped, stock kernels, real traffic.
//!
//! Run by `cargo xtask test`; each test prints its figures. Tests that boot guests wait for each other.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of #[test] functions"
)]

mod bad_inputs;
mod control;
mod dpdk;
mod generator;
mod isolation;
mod lab;
mod macvlan;
mod migration;
mod nat;
mod qemu;
mod restarts;
mod uplink;
