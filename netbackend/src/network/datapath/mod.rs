//! The datapath of a network: workers that poll its ports and carry every frame to the end.
//!
//! # Theory of operation
//!
//! A round polls every *active source* (a transmit ring or a tap queue): takes a burst of frames,
//! copies each one's header and first bytes once into private memory, validates that copy, asks the
//! switch, and hands the burst to each egress port in turn, payload going straight from the source
//! guest's buffers to the destination guest's. Then the used rings are published and the guests
//! called, once each per burst. Nothing is kept from one burst to the next.
//!
//! A source that has had nothing for `poll_idle` asks for kicks, leaves the active list and is left
//! to epoll. With no active source the thread sleeps; commands wake it through its inbox. Who has lost
//! the CPU by offering it polls nothing for a while (`courtesy`); a source of frames for a gateway that
//! has no room is left alone for some milliseconds (`hold`).
//!
//! # Several workers
//!
//! Each source is served by one worker, so what it sends stays in order. Each worker has a switch of its own, with the addresses
//! in common, and its own view of all ports; what they meet over is receive rings (`cell`), taken by one worker for a burst at a
//! time, and the limit of what a guest is sent. One worker by itself takes no lock. `balance` moves sources from a busy worker to
//! one that is not.
#![deny(clippy::indexing_slicing)]
mod announce;
mod balance;
mod cell;
mod commands;
mod conduct;
mod courtesy;
mod crew;
mod egress;
mod flow;
mod frame;
mod heads;
mod hold;
mod ingress;
mod limits;
mod load;
mod packet;
mod packet_socket;
mod poller;
mod ports;
mod receiver;
mod rescue;
mod retag;
mod ring;
mod tap_io;
mod tap_port;
mod uring;
mod vhost_port;
mod watch;
mod worker;

pub(super) use balance::MovedSource;
pub(super) use cell::SharedRing;
pub(super) use crew::{Crew, CrewConfig};
pub(super) use limits::Limits;
use switch::PortId;

/// Frames taken from one source at a time. DPDK's vectorized virtio-user driver wants no more than 32.
const BURST: usize = 32;

/// Where frames come from: a transmit ring (by queue pair) or a tap queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) port: PortId,
    pub(super) queue: u16,
}

/// Where frames leave: a receive ring (by queue pair) or a tap queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    port: PortId,
    queue: u16,
}
