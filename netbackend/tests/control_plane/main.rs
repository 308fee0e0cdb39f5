//! The daemon as its users meet it: the real program, its control socket, its signals.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which the lint does not see as such"
)]
mod activation;
mod client;
mod command_line;
mod common;
mod daemon;
mod documents;
mod http;
mod networks;
mod ports;
mod reload;
mod workers;
