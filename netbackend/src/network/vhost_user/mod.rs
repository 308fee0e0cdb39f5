//! The vhost-user side of a port: its socket, its protocol state, its rings being set up.
#![deny(clippy::indexing_slicing)]
mod cable;
mod direct;
pub(super) mod features;
mod handler;
mod inflight;
mod listener;
mod message;
mod requests;
mod ring_setup;
mod source;

pub(super) use cable::Cable;
pub(super) use listener::{Listener, ListenerConfig};
pub(super) use source::Source;
