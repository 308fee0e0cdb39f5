//! What the services get of a frame.
use crate::{MacAddr, PortId};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Operation of an ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpOperation {
    /// who has it?
    Request,
    /// I have it
    Reply,
}

/// An ARP packet for IPv4 over Ethernet (RFC 826) whose sender's hardware address is that of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// operation
    pub operation: ArpOperation,
    /// MAC address of the sender
    pub sender_mac: MacAddr,
    /// protocol address of the sender; 0.0.0.0 in a probe (RFC 5227)
    pub sender: Ipv4Addr,
    /// protocol address that is asked for
    pub target: Ipv4Addr,
}

/// A neighbor discovery message (ICMPv6 types 133 to 137, RFC 4861) with hop limit 255 and the right checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ndp<'a> {
    /// MAC address of the frame's sender
    pub mac: MacAddr,
    /// source address; may be unspecified
    pub source: Ipv6Addr,
    /// destination address
    pub destination: Ipv6Addr,
    /// the ICMPv6 message from its type on
    pub message: &'a [u8],
}

/// A UDP datagram of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// port of the network that it came in by
    pub port: PortId,
    /// MAC address of the frame's sender
    pub mac: MacAddr,
    /// source; the address may be unspecified (DHCP)
    pub source: SocketAddr,
    /// destination
    pub destination: SocketAddr,
    /// payload
    pub payload: &'a [u8],
}
