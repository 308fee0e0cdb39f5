//! The keys of a network in mode `nat`.
mod boot;
mod hosts;
mod read;
pub(crate) mod text;

pub use hosts::HostConfig;
pub(super) use read::{KEYS, read};

use nat::{Filtering, Ipv4Config, Ipv6Config, Prefix, Quotas, forward::Forward, services::Dhcp6};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// A gateway to the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatConfig {
    /// The guests' IPv4 network; none: no IPv4.
    #[serde(with = "text::option")]
    pub subnet: Option<Prefix>,
    /// The gateway in it.
    pub gateway: Ipv4Addr,
    /// The DNS server in it.
    pub dns_address: Ipv4Addr,
    /// The guests' IPv6 network; none: no IPv6.
    #[serde(with = "text::option")]
    pub ipv6_prefix: Option<Prefix>,
    /// First and last address that DHCP gives away; none: no DHCP.
    pub dhcp_range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// How long a lease lasts.
    pub dhcp_lease: Duration,
    /// What DHCPv6 does.
    #[serde(default)]
    pub dhcp6: Dhcp6Mode,
    /// DNS servers to ask; none: those of the host.
    pub dns: Vec<SocketAddr>,
    /// Domains that guests search; none: those of the host.
    pub search: Vec<String>,
    /// Domain of the guests' names.
    pub domain: Option<String>,
    /// Guests that are known beforehand, in the order of their names.
    pub hosts: Vec<HostConfig>,
    /// Names that the DNS server knows by itself.
    pub records: BTreeMap<String, Vec<IpAddr>>,
    /// Guests do not reach each other.
    pub isolate: bool,
    /// Guests do not reach the world: forwards only.
    pub restrict: bool,
    /// Where guests may connect to; none: everywhere.
    #[serde(with = "text::list")]
    pub allow: Vec<Prefix>,
    /// Where they may not.
    #[serde(with = "text::list")]
    pub deny: Vec<Prefix>,
    /// The gateway's address stands for the host's loopback interface.
    pub host_loopback: bool,
    /// Guests reach the host's own addresses.
    pub host_addresses: bool,
    /// Guests reach link-local addresses beyond the gateway.
    pub link_local: bool,
    /// Who may answer to a guest's UDP port.
    pub filtering: UdpFiltering,
    /// Flows of one guest at most.
    pub flows_per_guest: usize,
    /// New flows of one guest per second.
    pub new_flows_per_second: u32,
    /// Bytes in TCP buffers of one guest at most.
    pub buffer_per_guest: usize,
    /// Bits per second from one guest to the world.
    pub limit_to_world: Option<u64>,
    /// Bits per second from the world to one guest.
    pub limit_from_world: Option<u64>,
    /// Server for network boot; none: the gateway, if there is a file to boot.
    pub boot_server: Option<Ipv4Addr>,
    /// File for network boot.
    pub boot_file: Option<String>,
    /// Directory that the TFTP server offers.
    pub tftp_root: Option<PathBuf>,
    /// Ports of the host that lead to guests.
    #[serde(with = "text::list")]
    pub forwards: Vec<Forward>,
}

impl NatConfig {
    /// IPv6 of the network, with the gateway at `::2` and the DNS server at `::3`.
    pub(crate) fn ipv6(&self) -> Option<Ipv6Config> {
        let prefix = self.ipv6_prefix?;
        let IpAddr::V6(first) = prefix.address() else {
            return None;
        };
        let host = |number: u128| Ipv6Addr::from_bits(first.to_bits() | number);
        Some(Ipv6Config {
            prefix,
            gateway: host(2),
            dns: host(3),
        })
    }
}

/// [`Filtering`], as it stands in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UdpFiltering {
    /// Anybody.
    EndpointIndependent,
    /// Addresses that the guest has sent to.
    #[default]
    AddressDependent,
    /// Addresses and ports that the guest has sent to.
    AddressAndPortDependent,
}

impl From<UdpFiltering> for Filtering {
    fn from(filtering: UdpFiltering) -> Self {
        match filtering {
            UdpFiltering::EndpointIndependent => Self::EndpointIndependent,
            UdpFiltering::AddressDependent => Self::AddressDependent,
            UdpFiltering::AddressAndPortDependent => Self::AddressAndPortDependent,
        }
    }
}

/// [`Dhcp6`], as it stands in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dhcp6Mode {
    /// Nothing: guests have the addresses that they make themselves.
    Off,
    /// Name servers and domains, no addresses.
    Stateless,
    /// Addresses too.
    #[default]
    Stateful,
}

impl From<Dhcp6Mode> for Dhcp6 {
    fn from(mode: Dhcp6Mode) -> Self {
        match mode {
            Dhcp6Mode::Off => Self::Off,
            Dhcp6Mode::Stateless => Self::Stateless,
            Dhcp6Mode::Stateful => Self::Stateful,
        }
    }
}

/// Leases last an hour: long enough to be renewed rarely, short enough for guests that come and go.
const DHCP_LEASE: Duration = Duration::from_hours(1);
/// First host number that DHCP gives away, as in QEMU's user network.
const FIRST_LEASED: u32 = 15;

impl Default for NatConfig {
    /// QEMU's user network: 10.0.2.0/24 with the gateway at .2, DNS at .3 and DHCP from .15 on, and IPv6 likewise.
    fn default() -> Self {
        let addressing = nat::Addressing::default();
        let quotas = Quotas::default();
        let v4 = addressing.ipv4;
        let (gateway, dns_address) = v4.map_or(
            (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED),
            |v4: Ipv4Config| (v4.gateway, v4.dns),
        );
        Self {
            subnet: v4.map(|v4| v4.subnet),
            gateway,
            dns_address,
            ipv6_prefix: addressing.ipv6.map(|v6: Ipv6Config| v6.prefix),
            dhcp_range: v4.and_then(|v4| default_range(&v4.subnet)),
            dhcp_lease: DHCP_LEASE,
            dhcp6: Dhcp6Mode::default(),
            dns: Vec::new(),
            search: Vec::new(),
            domain: None,
            hosts: Vec::new(),
            records: BTreeMap::new(),
            isolate: false,
            restrict: false,
            allow: Vec::new(),
            deny: Vec::new(),
            host_loopback: false,
            host_addresses: false,
            link_local: false,
            filtering: UdpFiltering::default(),
            flows_per_guest: quotas.flows_per_guest,
            new_flows_per_second: quotas.new_flows_per_second,
            buffer_per_guest: quotas.buffer_per_guest,
            limit_to_world: None,
            limit_from_world: None,
            boot_server: None,
            boot_file: None,
            tftp_root: None,
            forwards: Vec::new(),
        }
    }
}

/// The address with this number in a subnet; `None`: it is not one that a host may have.
fn host_number(subnet: &Prefix, number: u32) -> Option<Ipv4Addr> {
    let IpAddr::V4(first) = subnet.address() else {
        return None;
    };
    let address = Ipv4Addr::from_bits(first.to_bits().checked_add(number)?);
    is_host(subnet, address).then_some(address)
}

/// Whether a host may have the address: neither the first nor the last of the subnet (RFC 1122, 3.2.1.3).
fn is_host(subnet: &Prefix, address: Ipv4Addr) -> bool {
    address != last(subnet)
        && IpAddr::V4(address) != subnet.address()
        && subnet.contains(address.into())
}

/// The last address of a subnet, its broadcast address.
fn last(subnet: &Prefix) -> Ipv4Addr {
    let IpAddr::V4(first) = subnet.address() else {
        return Ipv4Addr::UNSPECIFIED;
    };
    let hosts = u32::MAX.checked_shr(subnet.len().into()).unwrap_or(0);
    Ipv4Addr::from_bits(first.to_bits() | hosts)
}

/// From .15 to the last but one.
fn default_range(subnet: &Prefix) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let first = host_number(subnet, FIRST_LEASED).or_else(|| host_number(subnet, 4))?;
    let end = Ipv4Addr::from_bits(last(subnet).to_bits().checked_sub(1)?);
    (first <= end).then_some((first, end))
}
