//! What the services are told.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::dns::{Limits, Name, StaticRecord};
use super::hosts::Reservation;
use crate::{Ipv4Config, Ipv6Config};

/// The first address of a pool, counted from the subnet's, that is given out by default: as QEMU's user network has it.
const POOL_START: u32 = 15;

/// What DHCPv6 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dhcp6 {
    /// nothing
    Off,
    /// tells name servers and search list, gives no addresses (RFC 8415, 6.1)
    Stateless,
    /// gives addresses too, beside those that guests make themselves
    #[default]
    Stateful,
}

/// DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// whether the gateway answers; if not, guests are told the upstream servers themselves
    pub forwarder: bool,
    /// servers that questions are passed on to
    pub upstreams: Vec<SocketAddr>,
    /// names with fixed addresses
    pub records: Vec<StaticRecord>,
    /// bounds of the cache
    pub cache: Limits,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            forwarder: true,
            upstreams: Vec::new(),
            records: Vec::new(),
            cache: Limits::default(),
        }
    }
}

/// Where guests that boot from the network go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootConfig {
    /// the TFTP server; `None`: the gateway
    pub server: Option<Ipv4Addr>,
    /// the file
    pub file: String,
}

/// What the services are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicesConfig {
    /// DHCPv4 answers
    pub dhcp4: bool,
    /// what DHCPv6 does
    pub dhcp6: Dhcp6,
    /// routers are advertised, so that guests make themselves IPv6 addresses
    pub router_advertisements: bool,
    /// guests are told that the gateway is their way to the world; without, only that the network is there
    pub default_route: bool,
    /// addresses that DHCPv4 gives out; `None`: those from the 15th on
    pub pool4: Option<RangeInclusive<Ipv4Addr>>,
    /// addresses that DHCPv6 gives out; `None`: those that end in `::1000` to `::ffff`
    pub pool6: Option<RangeInclusive<Ipv6Addr>>,
    /// how long a lease runs
    pub lease_time: Duration,
    /// whether a client may get its lease in two messages instead of four
    pub rapid_commit: bool,
    /// stations with addresses and names of their own
    pub reservations: Vec<Reservation>,
    /// domain of the guests: they are known as `NAME` and `NAME.DOMAIN`
    pub domain: Option<Name>,
    /// domains that guests look names up in, besides their own
    pub search: Vec<Name>,
    /// network boot
    pub boot: Option<BootConfig>,
    /// DNS
    pub dns: DnsConfig,
}

/// What guests search: their own domain, and then others.
pub(crate) fn search_list(domain: Option<&Name>, others: &[Name]) -> Vec<Name> {
    let others = others.iter().filter(|name| Some(*name) != domain);
    domain.into_iter().chain(others).cloned().collect()
}

impl Default for ServicesConfig {
    fn default() -> Self {
        Self {
            dhcp4: true,
            dhcp6: Dhcp6::default(),
            router_advertisements: true,
            default_route: true,
            pool4: None,
            pool6: None,
            lease_time: Duration::from_hours(1),
            rapid_commit: true,
            reservations: Vec::new(),
            // Set apart for private networks by ICANN (resolution 2024.07.29.06).
            domain: "internal".parse().ok(),
            search: Vec::new(),
            boot: None,
            dns: DnsConfig::default(),
        }
    }
}

impl ServicesConfig {
    /// The guests' own domain, and then the others.
    pub(crate) fn search_list(&self) -> Vec<Name> {
        search_list(self.domain.as_ref(), &self.search)
    }

    /// Name servers that guests are told of: the gateway's address, or the upstream ones of its family.
    pub(crate) fn servers(&self, own: IpAddr) -> Vec<IpAddr> {
        if self.dns.forwarder {
            return vec![own];
        }
        let upstreams = self.dns.upstreams.iter().map(SocketAddr::ip);
        upstreams
            .filter(|server| server.is_ipv4() == own.is_ipv4())
            .collect()
    }

    pub(crate) fn pool4(&self, network: &Ipv4Config) -> RangeInclusive<Ipv4Addr> {
        if let Some(pool) = &self.pool4 {
            return pool.clone();
        }
        let IpAddr::V4(first) = network.subnet.address() else {
            return network.gateway..=network.gateway;
        };
        let hosts = u32::MAX
            .checked_shr(network.subnet.len().into())
            .unwrap_or(0);
        let start = if hosts > 2 * POOL_START {
            POOL_START
        } else {
            1
        };
        // The last one is the broadcast address.
        let last = hosts.saturating_sub(1);
        let address = |host: u32| Ipv4Addr::from_bits(first.to_bits() | host);
        address(start)..=address(last)
    }

    pub(crate) fn pool6(&self, network: &Ipv6Config) -> RangeInclusive<Ipv6Addr> {
        if let Some(pool) = &self.pool6 {
            return pool.clone();
        }
        let first = match network.prefix.address() {
            IpAddr::V6(first) => first.to_bits(),
            IpAddr::V4(_) => 0,
        };
        Ipv6Addr::from_bits(first | 0x1000)..=Ipv6Addr::from_bits(first | 0xffff)
    }
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
