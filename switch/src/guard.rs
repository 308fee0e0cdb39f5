//! Anti-spoofing: what a port may say of who it is.
//!
//! A guarded port sends from its fixed MAC address only, and what it tells others of addresses in ARP and in IPv6 neighbour
//! discovery must name that address. With a list of IP addresses, it may also use only those. What cannot be
//! looked into (more than two VLAN tags, a header cut off, a fragmented neighbour message) does not pass.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::MacAddr;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_RARP: u16 = 0x8035;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and what some call QinQ.
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const MOST_TAGS: usize = 2;

/// ARP over Ethernet for IPv4: types and lengths of addresses (RFC 826).
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

// Next headers of IPv6 (RFC 8200).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const ICMPV6: u8 = 58;
/// Extension headers that are followed; more is nothing that a host sends before a neighbour message.
const MOST_EXTENSIONS: usize = 4;

// Neighbour discovery (RFC 4861, 4).
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const OPTION_SOURCE_LINK_LAYER: u8 = 1;
const OPTION_TARGET_LINK_LAYER: u8 = 2;

/// Who a port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guard {
    mac: [u8; 6],
    /// Empty: any.
    addresses: Box<[IpAddr]>,
}

impl Guard {
    pub(crate) fn new(mac: MacAddr, addresses: &[IpAddr]) -> Self {
        Self {
            mac: mac.0,
            addresses: addresses.into(),
        }
    }

    /// Whether the frame with this start says nothing wrong of its sender.
    pub(crate) fn admits(&self, frame: &[u8]) -> bool {
        self.check(frame).is_some()
    }

    /// `None`: it is spoofed, or cannot be told.
    fn check(&self, frame: &[u8]) -> Option<()> {
        self.is_own(frame.get(6..12)?)?;
        let (ethertype, payload) = payload(frame)?;
        match ethertype {
            ETHERTYPE_ARP | ETHERTYPE_RARP => self.arp(payload),
            ETHERTYPE_IPV4 => self.source(IpAddr::V4(ipv4(payload.get(12..16)?)?)),
            ETHERTYPE_IPV6 => self.ipv6(payload),
            _ => Some(()),
        }
    }

    fn is_own(&self, mac: &[u8]) -> Option<()> {
        (mac == self.mac).then_some(())
    }

    /// Whether it may send from, or speak for, the address. Unspecified is for those who have none yet (DHCP, duplicate
    /// address detection); link-local addresses are everybody's own choice.
    fn source(&self, address: IpAddr) -> Option<()> {
        let own_choice = match address {
            IpAddr::V4(address) => address.is_unspecified(),
            IpAddr::V6(address) => address.is_unspecified() || address.is_unicast_link_local(),
        };
        (self.addresses.is_empty() || own_choice || self.addresses.contains(&address)).then_some(())
    }

    fn arp(&self, packet: &[u8]) -> Option<()> {
        if packet.get(..6)? != ARP_ETHERNET_IPV4 {
            return None;
        }
        self.is_own(packet.get(8..14)?)?;
        self.source(IpAddr::V4(ipv4(packet.get(14..18)?)?))
    }

    fn ipv6(&self, packet: &[u8]) -> Option<()> {
        self.source(IpAddr::V6(ipv6(packet.get(8..24)?)?))?;
        let mut next = *packet.get(6)?;
        let mut rest = packet.get(40..)?;
        // Padding of the frame is no option of a message.
        let len = usize::from(u16::from_be_bytes(*packet.get(4..)?.first_chunk()?));
        rest = rest.get(..len).unwrap_or(rest);
        for _ in 0..=MOST_EXTENSIONS {
            match next {
                HOP_BY_HOP | ROUTING | DESTINATION => {
                    next = *rest.first()?;
                    let len = (usize::from(*rest.get(1)?) + 1) * 8;
                    rest = rest.get(len..)?;
                }
                FRAGMENT => return fragment(rest),
                ICMPV6 => return self.neighbor(rest),
                _ => return Some(()),
            }
        }
        None
    }

    fn neighbor(&self, message: &[u8]) -> Option<()> {
        let (options, own) = match *message.first()? {
            ROUTER_SOLICITATION => (8, OPTION_SOURCE_LINK_LAYER),
            ROUTER_ADVERTISEMENT => (16, OPTION_SOURCE_LINK_LAYER),
            NEIGHBOR_SOLICITATION => (24, OPTION_SOURCE_LINK_LAYER),
            NEIGHBOR_ADVERTISEMENT => {
                self.source(IpAddr::V6(ipv6(message.get(8..24)?)?))?;
                (24, OPTION_TARGET_LINK_LAYER)
            }
            // A redirect names another station on purpose: a router's right.
            REDIRECT => (40, OPTION_SOURCE_LINK_LAYER),
            _ => return Some(()),
        };
        let mut rest = message.get(options..)?;
        while let [kind, units, ..] = rest {
            let len = usize::from(*units) * 8;
            // Length zero ends the message (RFC 4861, 4.6); an option that is cut off hides what it says.
            let option = rest.get(..len).filter(|option| !option.is_empty())?;
            if *kind == own {
                self.is_own(option.get(2..8)?)?;
            }
            rest = rest.get(len..)?;
        }
        Some(())
    }
}

/// Hosts ignore fragmented neighbour messages (RFC 6980), so no honest one sends any. All else may come in fragments.
fn fragment(header: &[u8]) -> Option<()> {
    let offset = u16::from_be_bytes(*header.get(2..)?.first_chunk()?) >> 3;
    let hides_neighbor_message = *header.first()? == ICMPV6
        && offset == 0
        && (ROUTER_SOLICITATION..=REDIRECT).contains(header.get(8)?);
    (!hides_neighbor_message).then_some(())
}

/// EtherType and payload behind VLAN tags.
fn payload(frame: &[u8]) -> Option<(u16, &[u8])> {
    let mut rest = frame.get(12..)?;
    for _ in 0..=MOST_TAGS {
        let (ethertype, behind) = rest.split_first_chunk()?;
        let ethertype = u16::from_be_bytes(*ethertype);
        if !ETHERTYPES_VLAN.contains(&ethertype) {
            return Some((ethertype, behind));
        }
        rest = behind.get(2..)?;
    }
    None
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes
        .first_chunk::<4>()
        .map(|octets| Ipv4Addr::from(*octets))
}

fn ipv6(bytes: &[u8]) -> Option<Ipv6Addr> {
    bytes
        .first_chunk::<16>()
        .map(|octets| Ipv6Addr::from(*octets))
}

#[cfg(test)]
#[path = "guard_test.rs"]
mod tests;
