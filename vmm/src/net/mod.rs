//! How a NIC reaches its network: a vhost-user back-end behind a socket, asked of netbackend or
//! given by path, or the kernel's vhost-net behind a macvtap.
mod backend;
pub mod e1000;
mod error;
mod filter;
mod link;
mod mac;
pub mod ne2k;
mod news;
pub mod nic;
pub mod pcnet;
mod port_filter;
mod record;
pub mod rtl8139;
mod session;
mod source;
#[cfg(test)]
pub(crate) mod testing;
mod vhost_net;
mod watchdog;
pub mod wire;

pub use backend::Target;
pub use error::SessionError;
pub use filter::{ReceiveFilter, SharedFilter};
pub use link::{Link, LinkEvent, LinkHandle};
pub use mac::MacAddress;
pub use record::{LinkRecord, RingRecord};
pub use source::{Attachment, Lease, SourceError};

#[cfg(test)]
#[path = "net_test.rs"]
mod tests;
