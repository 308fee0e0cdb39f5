//! The daemon as its users meet it: the real program, its control socket, its signals.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which the lint does not see as such"
)]
mod command_line;
mod common;
mod daemon;
mod documents;
mod http;
mod ports;
mod workers;
