//! ICMP and ICMPv6 beyond echo: errors that guests are told.
mod error;

pub(crate) use error::{Problem, Quote, tell, tell_of};
