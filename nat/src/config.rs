//! What a gateway is told.
use crate::MacAddr;
use crate::services::ServicesConfig;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// A prefix of addresses, `10.0.2.0/24` or `fd00::/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

/// The text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an address prefix: {0:?} (write it like 10.0.2.0/24, fd00::/64 or 192.0.2.1)")]
pub struct ParsePrefixError(String);

impl Prefix {
    /// The prefix of `len` bits that `address` is in; `None`: there are not so many bits.
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(len.into()).unwrap_or(0);
                (len <= 32).then(|| Ipv4Addr::from_bits(v4.to_bits() & !host).into())
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(len.into()).unwrap_or(0);
                (len <= 128).then(|| Ipv6Addr::from_bits(v6.to_bits() & !host).into())
            }
        };
        address.map(|address| Self { address, len })
    }

    /// Its first address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Its length in bits.
    #[allow(
        clippy::len_without_is_empty,
        reason = "of a prefix, not of a collection"
    )]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether an address is in it. An IPv4-mapped IPv6 address is in no IPv4 prefix.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.len).is_some_and(|prefix| prefix == *self)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    /// Without a length an address stands for itself.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePrefixError(text.to_owned());
        let (address, len) = text
            .split_once('/')
            .map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let len = match len {
            Some(len) => len.parse().map_err(|_| error())?,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Self::new(address, len).ok_or_else(error)
    }
}

/// IPv4 of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Config {
    /// addresses of the guests and of the gateway
    pub subnet: Prefix,
    /// the gateway
    pub gateway: Ipv4Addr,
    /// where the gateway's DNS forwarder answers
    pub dns: Ipv4Addr,
}

/// IPv6 of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Config {
    /// addresses of the guests and of the gateway, 64 bits long
    pub prefix: Prefix,
    /// the gateway, within the prefix; the router's link-local address is made from its MAC address
    pub gateway: Ipv6Addr,
    /// where the gateway's DNS forwarder answers
    pub dns: Ipv6Addr,
}

/// Addresses of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addressing {
    /// IPv4, if the network has it
    pub ipv4: Option<Ipv4Config>,
    /// IPv6, if the network has it
    pub ipv6: Option<Ipv6Config>,
}

impl Addressing {
    /// The gateway's address, of the family of another.
    pub fn gateway(&self, like: IpAddr) -> Option<IpAddr> {
        match like {
            IpAddr::V4(_) => self.ipv4.map(|v4| v4.gateway.into()),
            IpAddr::V6(_) => self.ipv6.map(|v6| v6.gateway.into()),
        }
    }

    /// Whether an address is one of the gateway's own: its own, or that of its DNS forwarder. The router's link-local address
    /// is made from its MAC address, see [`link_local`].
    pub fn is_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(a) => self.ipv4.is_some_and(|v4| a == v4.gateway || a == v4.dns),
            IpAddr::V6(a) => self.ipv6.is_some_and(|v6| a == v6.gateway || a == v6.dns),
        }
    }

    /// Whether an address is the first or last of the subnet, which mean all of its stations.
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        let (Some(v4), IpAddr::V4(address)) = (self.ipv4, address) else {
            return false;
        };
        let host = u32::MAX.checked_shr(v4.subnet.len().into()).unwrap_or(0);
        let part = address.to_bits() & host;
        v4.subnet.contains(address.into()) && v4.subnet.len() < 31 && (part == 0 || part == host)
    }

    /// Whether an address is within the network.
    pub fn is_inside(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.ipv4.is_some_and(|v4| v4.subnet.contains(address)),
            IpAddr::V6(_) => self.ipv6.is_some_and(|v6| v6.prefix.contains(address)),
        }
    }
}

/// The link-local address of a MAC address (RFC 4291, appendix A).
pub fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [first, b1, b2, b3, b4, b5] = mac.0;
    Ipv6Addr::from_octets([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        first ^ 2,
        b1,
        b2,
        0xff,
        0xfe,
        b3,
        b4,
        b5,
    ])
}

impl Default for Addressing {
    /// 10.0.2.0/24 with the gateway at .2 and DNS at .3, as QEMU's user network has it; and likewise below fd00::/64.
    fn default() -> Self {
        let v4 = |last| Ipv4Addr::new(10, 0, 2, last);
        let v6 = |last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
        Self {
            ipv4: Some(Ipv4Config {
                subnet: Prefix {
                    address: v4(0).into(),
                    len: 24,
                },
                gateway: v4(2),
                dns: v4(3),
            }),
            ipv6: Some(Ipv6Config {
                prefix: Prefix {
                    address: v6(0).into(),
                    len: 64,
                },
                gateway: v6(2),
                dns: v6(3),
            }),
        }
    }
}

/// Who in the world may send to a guest's UDP mapping (RFC 4787, 5). Mapping is endpoint-independent always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filtering {
    /// anybody
    EndpointIndependent,
    /// addresses the guest has sent to (REQ-8: where security matters most)
    #[default]
    AddressDependent,
    /// addresses and ports the guest has sent to
    AddressAndPortDependent,
}

/// What guests may reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// nothing in the world: only forwards and the gateway's own services
    pub restrict: bool,
    /// only these destinations, if there are any
    pub allow: Vec<Prefix>,
    /// none of these destinations; the longer prefix wins between `allow` and `deny`, `deny` if they are alike
    pub deny: Vec<Prefix>,
    /// the gateway's address stands for the host's loopback (127.0.0.1, ::1)
    pub gateway_is_host_loopback: bool,
    /// the host's own other addresses
    pub host_addresses: bool,
    /// link-local destinations: 169.254.0.0/16 with cloud metadata, fe80::/10
    pub link_local: bool,
    /// who may answer on UDP
    pub filtering: Filtering,
}

/// Most that one guest may have at once, so that it cannot starve the others. A guest is a port of the network here, however many
/// MAC addresses send from there: those it can make up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// guests, by MAC address; behind one port a quarter of them at most
    pub guests: usize,
    /// flows and mappings of all guests
    pub flows: usize,
    /// flows and mappings
    pub flows_per_guest: usize,
    /// UDP mappings of all guests with a port of the host each: what leaves ports for the host itself and for DNS questions
    pub datagram_ports: usize,
    /// TCP connections that are being made
    pub half_open_per_guest: usize,
    /// bytes in TCP buffers
    pub buffer_per_guest: usize,
    /// bytes in one buffer of a TCP flow
    pub buffer_per_flow: usize,
    /// new flows per second
    pub new_flows_per_second: u32,
    /// new flows at once, after a quiet time
    pub new_flows_burst: u32,
    /// bytes per second from a guest to the world; `None`: no limit
    pub upload_rate: Option<u64>,
    /// bytes per second from the world to a guest; `None`: no limit
    pub download_rate: Option<u64>,
    /// bytes in incomplete IP datagrams
    pub reassembly_per_guest: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            guests: 4096,
            flows: 131_072,
            flows_per_guest: 16_384,
            // Half of 32768 to 60999, where Linux takes ports from by default.
            datagram_ports: 14_116,
            half_open_per_guest: 2048,
            buffer_per_guest: 64 << 20,
            buffer_per_flow: 4 << 20,
            new_flows_per_second: 4000,
            new_flows_burst: 8000,
            upload_rate: None,
            download_rate: None,
            reassembly_per_guest: 256 << 10,
        }
    }
}

/// When the gateway forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// established TCP flow without a byte, before the guest is probed (RFC 5382, REQ-5: at least 2 h 4 min)
    pub tcp_idle: Duration,
    /// TCP connection being made or closed (RFC 5382, REQ-5: at least 4 min)
    pub tcp_transitory: Duration,
    /// UDP mapping (RFC 4787, REQ-5: at least 2 min, 5 min recommended)
    pub udp: Duration,
    /// UDP mapping towards a well-known port of one exchange, DNS and NTP (RFC 4787, REQ-5 allows it for 0-1023)
    pub udp_one_shot: Duration,
    /// ICMP echo mapping (RFC 5508, REQ-2: at least 60 s)
    pub echo: Duration,
    /// incomplete IP datagram (RFC 791, 3.2; RFC 8200, 4.5: 60 s; RFC 4963 wants it short)
    pub reassembly: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_idle: Duration::from_mins(124),
            tcp_transitory: Duration::from_mins(4),
            udp: Duration::from_mins(5),
            udp_one_shot: Duration::from_mins(2),
            echo: Duration::from_mins(1),
            reassembly: Duration::from_secs(15),
        }
    }
}

/// What a gateway is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// the gateway's MAC address
    pub mac: MacAddr,
    /// MTU of the network
    pub mtu: u16,
    /// bytes that find room on their way to the gateway at once: what TCP windows promise together
    pub link_room: usize,
    /// addresses
    pub addressing: Addressing,
    /// what guests may reach
    pub policy: Policy,
    /// most that a guest may have
    pub quotas: Quotas,
    /// when the gateway forgets
    pub timeouts: Timeouts,
    /// DHCP, router advertisements, DNS, TFTP
    pub services: ServicesConfig,
}

impl Config {
    /// The default network, with the gateway at a MAC address.
    pub fn new(mac: MacAddr) -> Self {
        Self {
            mac,
            mtu: 1500,
            link_room: 16 << 20,
            addressing: Addressing::default(),
            policy: Policy::default(),
            quotas: Quotas::default(),
            timeouts: Timeouts::default(),
            services: ServicesConfig::default(),
        }
    }
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
