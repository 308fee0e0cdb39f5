//! ARP (RFC 826): the gateway answers for its own IPv4 addresses.
use std::net::Ipv4Addr;

use crate::MacAddr;
use crate::frame::{Arp, ArpOperation};

/// Octets of an ARP packet for IPv4 over Ethernet.
const LEN: usize = 28;

/// Who is answered for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Responder {
    mac: MacAddr,
    addresses: Vec<Ipv4Addr>,
}

impl Responder {
    pub(crate) fn new(mac: MacAddr, addresses: Vec<Ipv4Addr>) -> Self {
        Self { mac, addresses }
    }

    /// The reply to a request for one of our addresses. Who probes whether one is in use (RFC 5227) hears that it is.
    pub(crate) fn answer(&self, request: &Arp) -> Option<[u8; LEN]> {
        let ours = self.addresses.contains(&request.target);
        // Somebody who says that he is us would only be told where he is.
        let asks = request.operation == ArpOperation::Request && request.sender != request.target;
        (ours && asks).then(|| self.reply(request))
    }

    fn reply(&self, request: &Arp) -> [u8; LEN] {
        let mut packet = [0; LEN];
        // Ethernet, IPv4, their lengths, reply
        let header = [0, 1, 0x08, 0x00, 6, 4, 0, 2];
        let parts: [&[u8]; 5] = [
            &header,
            self.mac.as_bytes(),
            &request.target.octets(),
            request.sender_mac.as_bytes(),
            &request.sender.octets(),
        ];
        for (octet, part) in packet.iter_mut().zip(parts.into_iter().flatten()) {
            *octet = *part;
        }
        packet
    }
}

#[cfg(test)]
#[path = "arp_test.rs"]
mod tests;
