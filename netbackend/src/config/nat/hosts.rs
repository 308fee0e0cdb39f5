//! The sections `[networks.NAME.hosts.HOST]`: guests that are known beforehand.
use super::super::{
    name,
    section::{Named, Section},
    value::{self, Wrong},
};
use super::{Dhcp6Mode, NatConfig, is_host};
use nat::services::hostname;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

const KEYS: &[&str] = &["mac", "address", "address6"];

/// A guest that is known beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostConfig {
    /// Its name, for DNS and forwards.
    pub name: String,
    /// By what DHCP knows it.
    pub mac: [u8; 6],
    /// What DHCP gives it; none: any.
    pub address: Option<Ipv4Addr>,
    /// What DHCPv6 gives it; none: any.
    pub address6: Option<Ipv6Addr>,
}

/// All of them.
pub(super) fn read(section: &mut Section<'_, '_, '_>, config: &NatConfig) -> Vec<HostConfig> {
    let tables = section.tables("hosts");
    let mut taken = Taken::default();
    let hosts = tables
        .iter()
        .filter_map(|host| read_one(host, section, config, &mut taken));
    hosts.collect()
}

/// What an earlier host has, and where it stands.
#[derive(Debug, Default)]
struct Taken(HashMap<String, String>);

fn read_one(
    host: &Named<'_, '_>,
    section: &mut Section<'_, '_, '_>,
    config: &NatConfig,
    taken: &mut Taken,
) -> Option<HostConfig> {
    let offset = host.span.start;
    if let Err(wrong) = check_name(host, section, taken) {
        section.diagnostics.add(offset, host.path.clone(), wrong);
    }
    let mut section = Section::new(&host.path, offset, host.table, KEYS, section.diagnostics);
    if !section.has("mac") {
        let wrong = Wrong::new(
            "the guest is known by its MAC address",
            "add mac = \"52:54:00:…\"",
        );
        section.problem("mac", wrong);
    }
    let mac = section.get("mac", value::station_mac);
    let address = section.get("address", |reading| {
        address(&value::string(reading)?, config)
    });
    let address6 = section.get("address6", |reading| {
        address6(&value::string(reading)?, config)
    });
    let claimed = [
        ("mac", mac.map(|mac| mac.to_string())),
        ("address", address.map(|address| address.to_string())),
        ("address6", address6.map(|address| address.to_string())),
    ];
    for (key, claimed) in claimed {
        if let Some(claimed) = claimed {
            taken.claim(&mut section, key, claimed);
        }
    }
    Some(HostConfig {
        name: host.name.clone(),
        mac: mac?.0,
        address,
        address6,
    })
}

/// The name must be one that DNS has: the gateway would pass over others without a word.
fn check_name(
    host: &Named<'_, '_>,
    section: &Section<'_, '_, '_>,
    taken: &mut Taken,
) -> Result<(), Wrong> {
    name::check(&host.name)?;
    let known = hostname(&host.name).ok_or_else(|| {
        Wrong::new(
            format!("{:?} is not a host name", host.name),
            "write letters, digits and '-', with a letter or a digit at both ends",
        )
    })?;
    let place = format!("line {}", section.diagnostics.line(host.span.start));
    if let Some(owner) = taken.0.get(&known) {
        return Err(Wrong::new(
            format!("{known} is taken already by {owner}: upper and lower case are the same"),
            "choose another name for one of them",
        ));
    }
    taken.0.insert(known, place);
    Ok(())
}

impl Taken {
    fn claim(&mut self, section: &mut Section<'_, '_, '_>, key: &str, what: String) {
        let place = format!("line {}", section.line_of(key));
        match self.0.get(&what) {
            Some(owner) => {
                let wrong = Wrong::new(
                    format!("{what} is taken already by {owner}"),
                    format!("choose another {key} for one of them"),
                );
                section.problem(key, wrong);
            }
            None => drop(self.0.insert(what, place)),
        }
    }
}

fn address(text: &str, config: &NatConfig) -> Result<Ipv4Addr, Wrong> {
    let address: Ipv4Addr = text.parse().map_err(|_| {
        Wrong::new(
            format!("{text:?} is not an IPv4 address"),
            "write an address of the subnet, like \"10.0.2.20\"",
        )
    })?;
    let Some(subnet) = &config.subnet else {
        return Err(Wrong::new(
            "the network has no IPv4",
            "remove address, or give the network a subnet",
        ));
    };
    if !is_host(subnet, address) || address == config.gateway || address == config.dns_address {
        return Err(Wrong::new(
            format!("{address} is not an address that a guest in {subnet} may have"),
            "choose one of the subnet that is not the gateway's, the DNS server's or its first or last",
        ));
    }
    Ok(address)
}

fn address6(text: &str, config: &NatConfig) -> Result<Ipv6Addr, Wrong> {
    let address: Ipv6Addr = text.parse().map_err(|_| {
        Wrong::new(
            format!("{text:?} is not an IPv6 address"),
            "write an address of the prefix, like \"fd00::20\"",
        )
    })?;
    let Some(network) = config.ipv6() else {
        return Err(Wrong::new(
            "the network has no IPv6",
            "remove address6, or give the network an ipv6_prefix",
        ));
    };
    let prefix = network.prefix;
    if !prefix.contains(address.into()) {
        return Err(Wrong::new(
            format!("{address} is not in the network's prefix {prefix}"),
            "choose an address of the prefix",
        ));
    }
    // The first one is for all routers of the link (RFC 4291, 2.6.1).
    let is_first = IpAddr::V6(address) == prefix.address();
    if is_first || address == network.gateway || address == network.dns {
        return Err(Wrong::new(
            format!("{address} is not an address that a guest in {prefix} may have"),
            "choose one of the prefix that is not the gateway's, the DNS server's or its first",
        ));
    }
    if config.dhcp6 != Dhcp6Mode::Stateful {
        return Err(Wrong::new(
            "DHCPv6 gives no addresses in this network",
            "remove address6, or set dhcp6 = \"stateful\"",
        ));
    }
    Ok(address)
}
