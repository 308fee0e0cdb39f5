//! Frames: what is in one that came, and writing those that go.
mod build;
mod fragment;
mod ip;
mod message;
mod parse;

pub use build::{IpHeader, Link, emit_ethernet, emit_ip, emit_udp};
pub(crate) use build::{Pseudo, emit_datagram, ip_packet, write_ip};
pub(crate) use fragment::Fragmenter;
pub(crate) use ip::protocol;
pub use message::{Arp, ArpOperation, Datagram, Ndp};
pub(crate) use parse::{Content, Packet, parse};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET_LEN: usize = 14;
/// EtherType of IPv4
pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
