//! The datapath of a network: one thread that polls its ports and carries every frame to the end.
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
//! to epoll. With no active source the thread sleeps; commands wake it through the mailbox.
#![deny(clippy::indexing_slicing)]
mod commands;
mod egress;
mod flow;
mod frame;
mod ingress;
mod limits;
mod poller;
mod ports;
mod retag;
mod ring;
mod tap_port;
mod vhost_port;
mod worker;

use switch::PortId;
pub(super) use worker::{Worker, WorkerConfig};

/// Frames taken from one source at a time. DPDK's vectorized virtio-user driver wants no more than 32.
const BURST: usize = 32;

/// Where frames come from: a transmit ring (by queue pair) or a tap queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    port: PortId,
    queue: u16,
}
