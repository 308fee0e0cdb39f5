//! TFTP, read only, for network boot (RFC 1350, 2347, 2348, 2349, 7440).
mod directory;
mod message;
mod server;
mod transfer;

pub use directory::{Directory, File, OpenError};
pub use message::PORT;
pub(crate) use server::{Ends, Outgoing, Server};
