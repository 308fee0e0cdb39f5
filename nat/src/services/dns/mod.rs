//! DNS: a forwarder over UDP and TCP that knows the guests by name (RFC 1035, RFC 5625).
mod cache;
mod exchange;
mod forwarder;
mod message;
pub(crate) mod name;
pub(crate) mod spec;
mod streams;
mod upstream;
mod zone;

pub use cache::Limits;
pub use forwarder::DnsCounters;
pub(crate) use forwarder::{Client, Forwarder, Scene};
pub use name::{Name, ParseNameError};
pub use upstream::{MAX_SERVERS, ResolvConf};
pub use zone::StaticRecord;
pub(crate) use zone::Zone;
