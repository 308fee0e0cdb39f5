//! A user-mode gateway: guests of a network reach the world through sockets of the host.
//!
//! A [`Gateway`] takes the Ethernet frames that reach its address, and returns frames through an [`Output`]. Towards the world it
//! has a [`Host`]: sockets behind a trait. It does no I/O, reads no clock (time is a parameter) and draws no random
//! numbers (a seed is given), so a test plays both sides, event by event.
//!
//! # How it is driven
//! 1. [`Gateway::input`] for each frame of a burst, [`Gateway::host_event`] for each socket that something happened to;
//! 2. then [`Gateway::poll`] once: it sends what the burst has made ready, runs the timers and tells when to be called next.
//!
//! An [`Output`] without room makes the gateway keep what it has, and go on at the next [`Gateway::poll`].
#![forbid(unsafe_code)]
// Every byte seen here was written by a guest or by the world.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod account;
mod bytes;
mod config;
mod counters;
mod datagram;
mod env;
pub mod forward;
pub mod frame;
mod gateway;
mod guests;
mod host;
mod icmp;
mod limit;
mod meta;
mod neighbour;
mod policy;
mod reassembly;
pub mod services;
mod slab;
mod status;
mod tcp;
#[cfg(test)]
mod testkit;
mod timer;

pub use config::{
    Addressing, Config, Filtering, Ipv4Config, Ipv6Config, Policy, Prefix, Quotas, Timeouts,
    link_local,
};
pub use counters::{Counters, DropReason};
pub use gateway::Gateway;
pub use host::{
    Family, Host, HostError, Incoming, IncomingError, ListenAt, Outgoing, Readiness, SocketId,
    Token, TokenClass, Unsent,
};
pub use meta::{Checksum, FrameMeta, Gso, GsoKind, Output};
pub use smoltcp::wire::EthernetAddress as MacAddr;
pub use status::{FlowDirection, FlowState, FlowStatus, Protocol};
pub use switch::PortId;
