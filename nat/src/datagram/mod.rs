//! UDP and ICMP echo: mappings of guests' endpoints to host sockets.
//!
//! A mapping is endpoint-independent (RFC 4787, 4.1): whatever a guest sends from one endpoint leaves by one socket of the host,
//! unconnected. Who may answer is the policy's [`crate::Filtering`]. An echo mapping is the same with the guest's identifier for a
//! port (RFC 5508, 3.1). Datagrams that come by a forward make a *session* of the client and the guest's endpoint, so that the
//! guest's answers leave by the forward's socket.
mod inbound;
mod mapping;
mod narrow;
mod open;
mod ports;
mod session_errors;
mod table;
mod unsent;
mod world;

#[cfg(test)]
mod errors_test;

#[cfg(test)]
mod fragments_test;

#[cfg(test)]
#[path = "datagram_test.rs"]
mod tests;

pub(crate) use inbound::Way;
pub(crate) use mapping::Client;
pub(crate) use table::{DatagramTable, Udp, icmp_checksum_is_right};
