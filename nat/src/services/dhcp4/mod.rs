//! DHCPv4 (RFC 2131).
mod message;
mod reply;
mod server;
pub(crate) mod spec;

pub use server::{Boot, Config, Outgoing, Server, Silence};
pub use spec::{CLIENT_PORT, SERVER_PORT};
