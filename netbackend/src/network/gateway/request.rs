//! What others ask of the gateway's thread.
use super::{departure::Departure, host::GivenSocket};
use control::{FlowStatus, LeaseStatus, NatStatus};
use nat::forward::Forward;
use std::sync::mpsc::SyncSender;

/// A request, and where its answer goes.
#[derive(Debug)]
pub(super) enum Request {
    /// Listening sockets for forwards to come.
    Give(Vec<GivenSocket>),
    AddForward {
        forward: Forward,
        reply: SyncSender<Result<(), String>>,
    },
    RemoveForward {
        forward: Forward,
        reply: SyncSender<bool>,
    },
    Flows {
        reply: SyncSender<Vec<FlowStatus>>,
    },
    Leases {
        reply: SyncSender<Vec<LeaseStatus>>,
    },
    Status {
        reply: SyncSender<NatStatus>,
    },
    /// A port of the network is gone; the datapath knows that already.
    ForgetPort {
        departure: Departure,
        reply: SyncSender<()>,
    },
    Stop,
}
