//! What each service is told of the gateway's configuration.
use super::{Dhcp6, dhcp4, dhcp6, dns, ra};
use crate::config::Config;
use crate::{Ipv4Config, Ipv6Config, link_local};
use std::net::{IpAddr, Ipv6Addr};

/// The forwarder answers at its own address; and at the gateway's, unless that stands for the host.
pub(super) fn dns_addresses(config: &Config, own: &[IpAddr]) -> Vec<IpAddr> {
    if !config.policy.gateway_is_host_loopback {
        return own.to_vec();
    }
    let ipv4 = config.addressing.ipv4.map(|ipv4| IpAddr::V4(ipv4.dns));
    let ipv6 = config.addressing.ipv6.map(|ipv6| IpAddr::V6(ipv6.dns));
    ipv4.into_iter().chain(ipv6).collect()
}

pub(super) fn advertiser(config: &Config, ipv6: &Ipv6Config) -> ra::Config {
    let told = &config.services;
    let servers = told.servers(ipv6.dns.into()).into_iter();
    ra::Config {
        mac: config.mac,
        link_local: link_local(config.mac),
        prefix: ipv6.prefix,
        mtu: config.mtu,
        router: told.default_route,
        managed: told.dhcp6 == Dhcp6::Stateful,
        other: told.dhcp6 != Dhcp6::Off,
        dns: servers.filter_map(only_ipv6).collect(),
        search: told.search_list(),
    }
}

pub(super) fn dhcp4(config: &Config, ipv4: &Ipv4Config) -> dhcp4::Config {
    let told = &config.services;
    let servers = told.servers(ipv4.dns.into()).into_iter();
    dhcp4::Config {
        address: ipv4.gateway,
        own: vec![ipv4.gateway, ipv4.dns],
        prefix_len: ipv4.subnet.len(),
        pool: told.pool4(ipv4),
        router: told.default_route,
        dns: servers
            .filter_map(|server| match server {
                IpAddr::V4(server) => Some(server),
                IpAddr::V6(_) => None,
            })
            .collect(),
        domain: told.domain.clone(),
        search: told.search_list(),
        mtu: config.mtu,
        lease_time: told.lease_time,
        rapid_commit: told.rapid_commit,
        boot: told.boot.as_ref().map(|boot| {
            let server = boot.server.unwrap_or(ipv4.gateway);
            dhcp4::Boot {
                server,
                server_name: server.to_string(),
                file: boot.file.clone(),
            }
        }),
    }
}

pub(super) fn dhcp6(config: &Config, ipv6: &Ipv6Config, own: Vec<Ipv6Addr>) -> dhcp6::Config {
    let told = &config.services;
    let servers = told.servers(ipv6.dns.into()).into_iter();
    // A boot server of IPv4 is no help here: the gateway's own TFTP server is.
    let boot = told.boot.as_ref().filter(|boot| boot.server.is_none());
    dhcp6::Config {
        mac: config.mac,
        prefix: ipv6.prefix,
        own,
        pool: (told.dhcp6 == Dhcp6::Stateful).then(|| told.pool6(ipv6)),
        dns: servers.filter_map(only_ipv6).collect(),
        search: told.search_list(),
        lease_time: told.lease_time,
        rapid_commit: told.rapid_commit,
        boot_url: boot.map(|boot| format!("tftp://[{}]/{}", ipv6.gateway, boot.file)),
    }
}

fn only_ipv6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

pub(super) fn forwarder(config: &Config, seed: u64) -> dns::Forwarder {
    let told = &config.services;
    let ipv4 = config.addressing.ipv4.as_ref();
    let ipv6 = config.addressing.ipv6.as_ref();
    let subnets = ipv4.map(|ipv4| ipv4.subnet).into_iter();
    let subnets = subnets.chain(ipv6.map(|ipv6| ipv6.prefix)).collect();
    let mut records = told.dns.records.clone();
    // The gateway is a host of its network too.
    if let Ok(name) = "gateway".parse::<dns::Name>() {
        let addresses = ipv4.map(|ipv4| ipv4.gateway.into()).into_iter();
        let addresses = addresses.chain(ipv6.map(|ipv6| ipv6.gateway.into()));
        let name = told
            .domain
            .as_ref()
            .and_then(|domain| name.within(domain))
            .unwrap_or(name);
        records.push(dns::StaticRecord {
            name,
            addresses: addresses.collect(),
        });
    }
    let zone = dns::Zone::new(told.domain.clone(), subnets, &records);
    // Names are a way out too: without a world there is nobody to ask.
    let world = !config.policy.restrict;
    dns::Forwarder::new(zone, told.dns.cache, &told.dns.upstreams, world, seed)
}
