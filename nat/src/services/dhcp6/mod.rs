//! DHCPv6 (RFC 8415).
mod message;
mod server;
pub(crate) mod spec;

pub use server::{Config, Server, Silence};
pub use spec::{ALL_SERVERS, CLIENT_PORT, SERVER_PORT};
