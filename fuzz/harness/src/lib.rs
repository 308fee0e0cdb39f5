//! What the fuzz targets do with an input, as plain functions.
//!
//! Each target is a module with a `run`: it interprets any bytes as a scenario, plays it against the real code, and panics when
//! something that must always hold does not. `cargo fuzz` calls it with inputs that it makes up (`../fuzz_targets`);
//! `cargo test -p fuzz-harness` calls it with those that are kept in `../corpus`, without a sanitizer, on any toolchain.
//!
//! ```
//! fuzz_harness::switch::run(b"any bytes are a scenario");
//! fuzz_harness::config::run(b"[networks.lan]\nmtuu = 9000");
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a finding is reported"
)]

pub mod config;
pub mod device_queue;
pub mod dhcp4;
pub mod dhcp6;
pub mod dns;
pub mod e1000;
mod input;
mod message;
pub mod nat_gateway;
mod nat_services;
pub mod ne2k;
mod nic;
pub mod offload;
pub mod pcnet;
mod ring;
pub mod rtl8139;
mod session;
pub mod switch;
pub mod tftp;
pub mod vhost_session;

/// What plays an input.
pub type Target = fn(&[u8]);

/// Names of the targets and what runs them.
pub const TARGETS: &[(&str, Target)] = &[
    ("config", config::run),
    ("device_queue", device_queue::run),
    ("dhcp4", dhcp4::run),
    ("dhcp6", dhcp6::run),
    ("dns", dns::run),
    ("e1000", e1000::run),
    ("nat_gateway", nat_gateway::run),
    ("ne2k", ne2k::run),
    ("offload", offload::run),
    ("pcnet", pcnet::run),
    ("rtl8139", rtl8139::run),
    ("switch", switch::run),
    ("tftp", tftp::run),
    ("vhost_session", vhost_session::run),
];
