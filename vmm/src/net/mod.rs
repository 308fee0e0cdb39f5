//! How a NIC reaches its network: a vhost-user back-end behind a socket, asked of netbackend or
//! given by path.
pub mod e1000;
mod link;
mod mac;
pub mod ne2k;
mod news;
pub mod nic;
pub mod pcnet;
mod record;
pub mod rtl8139;
mod session;
mod source;
#[cfg(test)]
pub(crate) mod testing;
mod watchdog;
pub mod wire;

pub use link::{Link, LinkHandle};
pub use mac::MacAddress;
pub use record::{LinkRecord, RingRecord};
pub use session::SessionError;
pub use source::{Attachment, Lease, SourceError};

#[cfg(test)]
#[path = "net_test.rs"]
mod tests;
