//! The per-host daemon that carries the network traffic of all KVM guests.
//!
//! [`cli`] is the command, [`config`] its file. The supervisor owns sockets, taps and the control
//! API; it starts one worker process per network, which runs a [`network::Network`].
//!
//! ```
//! use netbackend::config::{Config, Overrides};
//!
//! let text = "[networks.lan]\nmtuu = 9000";
//! let error = Config::parse("nb.toml".as_ref(), text, &Overrides::default()).unwrap_err();
//! assert!(error.to_string().starts_with("nb.toml:2: networks.lan.mtuu: unknown key"));
//! ```
mod api;
mod channel;
pub mod cli;
pub mod config;
pub mod direct;
mod netlink;
mod netns;
pub mod network;
pub mod offload;
mod privilege;
mod process;
mod protocol;
mod supervisor;
mod sys;
mod tap;
mod uplink;
mod worker;
