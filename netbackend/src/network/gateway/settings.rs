//! What the gateway is told, from the configuration.
use super::ports;
use crate::config::{HostConfig, NatConfig};
use nat::{
    Addressing, Config, Ipv4Config, Policy, Quotas,
    services::{
        BootConfig, DnsConfig, Reservation, ServicesConfig,
        dns::{Name, StaticRecord},
    },
};
use std::{fs::File, net::IpAddr, os::fd::OwnedFd};
use switch::MacAddr;

/// What a gateway is made of.
#[derive(Debug)]
pub(crate) struct GatewaySpec {
    /// As it is configured.
    pub(crate) config: NatConfig,
    /// Where leases are kept over a restart.
    pub(crate) lease_file: Option<File>,
    /// Raw ICMP sockets, for hosts that let nobody have "ping" sockets.
    pub(crate) raw_echo: Vec<OwnedFd>,
}

impl GatewaySpec {
    /// The gateway's address on the network: always the same for a network, so that guests keep what they know over a restart.
    pub(crate) fn mac(&self) -> MacAddr {
        let [a, b, c, d] = self.config.gateway.octets();
        // Locally administered, as QEMU's user network has it.
        MacAddr([0x52, 0x55, a, b, c, d])
    }
}

/// The same for crate `nat`.
pub(super) fn config(spec: &GatewaySpec, mtu: u16) -> Config {
    let from = &spec.config;
    Config {
        mtu,
        link_room: super::wire::RECEIVE_ROOM,
        addressing: Addressing {
            ipv4: from.subnet.map(|subnet| Ipv4Config {
                subnet,
                gateway: from.gateway,
                dns: from.dns_address,
            }),
            ipv6: from.ipv6(),
        },
        policy: Policy {
            restrict: from.restrict,
            allow: from.allow.clone(),
            deny: from.deny.clone(),
            gateway_is_host_loopback: from.host_loopback,
            host_addresses: from.host_addresses,
            link_local: from.link_local,
            filtering: from.filtering.into(),
        },
        quotas: quotas(from),
        services: services(from),
        ..Config::new(nat::MacAddr(spec.mac().0))
    }
}

fn quotas(from: &NatConfig) -> Quotas {
    let bytes = |bits: Option<u64>| bits.map(|bits| bits / 8);
    let defaults = Quotas::default();
    Quotas {
        datagram_ports: ports::most_mappings().unwrap_or(defaults.datagram_ports),
        flows_per_guest: from.flows_per_guest,
        new_flows_per_second: from.new_flows_per_second,
        // Two seconds' worth, as the default has it.
        new_flows_burst: from.new_flows_per_second.saturating_mul(2),
        buffer_per_guest: from.buffer_per_guest,
        upload_rate: bytes(from.limit_to_world),
        download_rate: bytes(from.limit_from_world),
        ..defaults
    }
}

fn services(from: &NatConfig) -> ServicesConfig {
    let name = |text: &String| text.parse::<Name>().ok();
    let defaults = ServicesConfig::default();
    ServicesConfig {
        dhcp4: from.dhcp_range.is_some(),
        pool4: from.dhcp_range.map(|(first, last)| first..=last),
        lease_time: from.dhcp_lease,
        dhcp6: from.dhcp6.into(),
        default_route: !from.restrict,
        reservations: from.hosts.iter().map(reservation).collect(),
        domain: from.domain.as_ref().and_then(name).or(defaults.domain),
        search: from.search.iter().filter_map(name).collect(),
        boot: from.boot_file.clone().map(|file| BootConfig {
            server: from.boot_server,
            file,
        }),
        dns: DnsConfig {
            upstreams: from.dns.clone(),
            records: from.records.iter().filter_map(record).collect(),
            ..DnsConfig::default()
        },
        ..ServicesConfig::default()
    }
}

fn reservation(host: &HostConfig) -> Reservation {
    let v4 = host.address.map(IpAddr::V4);
    let v6 = host.address6.map(IpAddr::V6);
    Reservation {
        mac: nat::MacAddr(host.mac),
        addresses: v4.into_iter().chain(v6).collect(),
        hostname: Some(host.name.clone()),
    }
}

fn record((name, addresses): (&String, &Vec<IpAddr>)) -> Option<StaticRecord> {
    Some(StaticRecord {
        name: name.parse().ok()?,
        addresses: addresses.clone(),
    })
}
