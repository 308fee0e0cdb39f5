//! Reading the keys of a network in mode `nat`.
use super::super::{
    section::Section,
    value::{self, Reading, Wrong},
};
use super::{Dhcp6Mode, NatConfig, UdpFiltering, boot, default_range, host_number, hosts, is_host};
use crate::channel::MAX_MESSAGE;
use nat::{Prefix, forward::Forward};
use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};
use toml::de::DeValue;

pub(in super::super) const KEYS: &[&str] = &[
    "subnet",
    "gateway",
    "dns_address",
    "ipv6_prefix",
    "dhcp_range",
    "dhcp_lease",
    "dhcp6",
    "dns",
    "search",
    "domain",
    "hosts",
    "records",
    "isolate",
    "restrict",
    "allow",
    "deny",
    "host_loopback",
    "host_addresses",
    "link_local",
    "udp_filtering",
    "flows_per_guest",
    "new_flows_per_second",
    "buffer_per_guest",
    "limit_to_world",
    "limit_from_world",
    "boot_server",
    "boot_file",
    "tftp_root",
    "forwards",
];

const DHCP6: &[(&str, Dhcp6Mode)] = &[
    ("stateful", Dhcp6Mode::Stateful),
    ("stateless", Dhcp6Mode::Stateless),
    ("off", Dhcp6Mode::Off),
];
const FILTERINGS: &[(&str, UdpFiltering)] = &[
    ("endpoint-independent", UdpFiltering::EndpointIndependent),
    ("address-dependent", UdpFiltering::AddressDependent),
    (
        "address-and-port-dependent",
        UdpFiltering::AddressAndPortDependent,
    ),
];

/// A lease shorter than that is renewed all the time; RFC 2131 counts seconds in 32 bits.
const LEASE: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(1 << 31));
const MOST_FLOWS: usize = 131_072;
const MOST_NEW_FLOWS: u32 = 1_000_000;
/// Bytes in buffers: one flow of 64 KiB each way, up to 1 GiB.
const BUFFERS: (usize, usize) = (128 << 10, 1 << 30);
/// RFC 1035, 2.3.4.
const LONGEST_NAME: usize = 253;
/// Bytes of the settings as JSON: what is beside them in the message is far shorter than the rest.
const LARGEST: usize = MAX_MESSAGE - (4 << 10);

/// Reads all of them.
pub(in super::super) fn read(section: &mut Section<'_, '_, '_>) -> NatConfig {
    let mut config = NatConfig::default();
    addressing(section, &mut config);
    services(section, &mut config);
    policy(section, &mut config);
    config.hosts = hosts::read(section, &config);
    if let Some(forwards) = section.get("forwards", |reading| {
        list(
            reading,
            "a list of forwards",
            "[\"tcp:8080=web:80\"]",
            Forward::parse_all,
        )
    }) {
        config.forwards = forwards.into_iter().flatten().collect();
        check_forwards(section, &config.forwards);
    }
    check_size(section, &config);
    config
}

/// All but forwards goes to the network's process in one message.
fn check_size(section: &mut Section<'_, '_, '_>, config: &NatConfig) {
    let sent = NatConfig {
        forwards: Vec::new(),
        ..config.clone()
    };
    let sent = serde_json::to_value(sent).unwrap_or_default();
    let size = |value: &serde_json::Value| value.to_string().len();
    let bytes = size(&sent);
    if bytes <= LARGEST {
        return;
    }
    // Its fields have the names of the keys.
    let fields = sent.as_object().into_iter().flatten();
    let largest = fields.max_by_key(|(_, value)| size(value));
    let (key, most) = largest.map_or(("mode", 0), |(key, value)| (key, size(value)));
    let wrong = Wrong::new(
        format!(
            "the settings of the network take {bytes} bytes on their way to its process, {most} of them this key, and {LARGEST} is the most"
        ),
        "write fewer or shorter entries (prefixes can be joined), or spread the guests over several networks",
    );
    section.problem(key, wrong);
}

/// No port of the host can lead to two guests.
fn check_forwards(section: &mut Section<'_, '_, '_>, forwards: &[Forward]) {
    for (index, forward) in forwards.iter().enumerate() {
        let clashes = |other: &&Forward| {
            (other.transport, other.address, &other.interface)
                == (forward.transport, forward.address, &forward.interface)
                && other.first_port <= forward.last_port
                && forward.first_port <= other.last_port
        };
        if let Some(other) = forwards.iter().take(index).find(clashes) {
            let wrong = Wrong::new(
                format!("{forward} and {other} are about the same port of the host"),
                "choose another port for one of them",
            );
            section.problem("forwards", wrong);
        }
    }
}

fn addressing(section: &mut Section<'_, '_, '_>, config: &mut NatConfig) {
    let off = |reading: &Reading<'_, '_>| reading.value.as_bool() == Some(false);
    if let Some(subnet) = section.get("subnet", |reading| {
        if off(reading) {
            return Ok(None);
        }
        subnet(reading).map(Some)
    }) {
        config.subnet = subnet;
        let number = |number| subnet.and_then(|subnet| host_number(&subnet, number));
        config.gateway = number(2).unwrap_or(Ipv4Addr::UNSPECIFIED);
        config.dns_address = number(3).unwrap_or(Ipv4Addr::UNSPECIFIED);
        config.dhcp_range = subnet.and_then(|subnet| default_range(&subnet));
    }
    for key in ["gateway", "dns_address"] {
        let found = section.get(key, |reading| guest_side(reading, config.subnet.as_ref()));
        if let Some(found) = found {
            match key {
                "gateway" => config.gateway = found,
                _ => config.dns_address = found,
            }
        }
    }
    if let Some(prefix) = section.get("ipv6_prefix", |reading| {
        if off(reading) {
            return Ok(None);
        }
        prefix6(reading).map(Some)
    }) {
        config.ipv6_prefix = prefix;
    }
    if config.subnet.is_none() && config.ipv6_prefix.is_none() {
        let wrong = Wrong::new(
            "the network has neither IPv4 nor IPv6",
            "remove subnet = false or ipv6_prefix = false",
        );
        section.problem("subnet", wrong);
    }
    let subnet = config.subnet;
    if let Some(range) = section.get("dhcp_range", |reading| {
        if off(reading) {
            return Ok(None);
        }
        dhcp_range(reading, subnet.as_ref()).map(Some)
    }) {
        config.dhcp_range = range;
    }
}

fn services(section: &mut Section<'_, '_, '_>, config: &mut NatConfig) {
    set(
        &mut config.dhcp_lease,
        section.get("dhcp_lease", value::duration(LEASE.0, LEASE.1)),
    );
    set(&mut config.dhcp6, section.get("dhcp6", value::word(DHCP6)));
    let servers = section.get("dns", |reading| {
        list(
            reading,
            "a list of DNS servers",
            "[\"9.9.9.9\", \"[2620:fe::fe]:53\"]",
            dns_server,
        )
    });
    set(&mut config.dns, servers);
    let search = section.get("search", |reading| {
        list(reading, "a list of domains", "[\"example.org\"]", domain)
    });
    set(&mut config.search, search);
    config.domain = section.get("domain", |reading| {
        domain(&value::string(reading)?).map_err(|why| bad_domain(reading, why))
    });
    set(&mut config.records, section.get("records", records));
    boot::read(section, config);
}

fn policy(section: &mut Section<'_, '_, '_>, config: &mut NatConfig) {
    for (key, flag) in [
        ("isolate", &mut config.isolate),
        ("restrict", &mut config.restrict),
        ("host_loopback", &mut config.host_loopback),
        ("host_addresses", &mut config.host_addresses),
        ("link_local", &mut config.link_local),
    ] {
        set(flag, section.get(key, value::boolean));
    }
    for (key, prefixes) in [("allow", &mut config.allow), ("deny", &mut config.deny)] {
        let found = section.get(key, |reading| {
            list(
                reading,
                "a list of addresses and prefixes",
                "[\"192.0.2.0/24\", \"2001:db8::1\"]",
                str::parse::<Prefix>,
            )
        });
        set(prefixes, found);
    }
    set(
        &mut config.filtering,
        section.get("udp_filtering", value::word(FILTERINGS)),
    );
    let flows = section.get("flows_per_guest", value::integer(1, MOST_FLOWS));
    set(&mut config.flows_per_guest, flows);
    let rate = section.get("new_flows_per_second", value::integer(1, MOST_NEW_FLOWS));
    set(&mut config.new_flows_per_second, rate);
    let buffers = section.get("buffer_per_guest", value::integer(BUFFERS.0, BUFFERS.1));
    set(&mut config.buffer_per_guest, buffers);
    config.limit_to_world = section.get("limit_to_world", value::bit_rate);
    config.limit_from_world = section.get("limit_from_world", value::bit_rate);
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// A list of strings, each read by `read`.
fn list<T, E: Display>(
    reading: &Reading<'_, '_>,
    what: &str,
    example: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, Wrong> {
    let remedy = || format!("write {what}, like {example}");
    let wrong = || Wrong::new(format!("{} is not {what}", reading.text), remedy());
    let entries = reading.value.as_array().ok_or_else(wrong)?;
    let entries = entries.iter().map(|entry| {
        let text = entry.get_ref().as_str().ok_or_else(wrong)?;
        read(text).map_err(|why| Wrong::new(format!("{text:?}: {why}"), remedy()))
    });
    entries.collect()
}

fn prefix(reading: &Reading<'_, '_>, example: &str) -> Result<Prefix, Wrong> {
    Prefix::from_str(&value::string(reading)?).map_err(|_| {
        Wrong::new(
            format!("{} is not an address prefix", reading.text),
            format!("write one like \"{example}\""),
        )
    })
}

fn subnet(reading: &Reading<'_, '_>) -> Result<Prefix, Wrong> {
    let subnet = prefix(reading, "10.0.2.0/24")?;
    // The gateway, the DNS server, and a guest at least.
    if subnet.address().is_ipv4() && (8..=28).contains(&subnet.len()) {
        return Ok(subnet);
    }
    Err(Wrong::new(
        format!("{subnet} is not a subnet of IPv4 with room for guests"),
        "write one of /8 to /28, like \"10.0.2.0/24\"",
    ))
}

fn prefix6(reading: &Reading<'_, '_>) -> Result<Prefix, Wrong> {
    let found = prefix(reading, "fd00::/64")?;
    if found.address().is_ipv6() && found.len() == 64 {
        return Ok(found);
    }
    // RFC 4862, 5.5.3: only with 64 bits do guests make themselves addresses.
    Err(Wrong::new(
        format!("{found} is not a prefix of IPv6 with 64 bits"),
        "write one like \"fd00::/64\"",
    ))
}

/// An address that the gateway has in the subnet.
fn guest_side(reading: &Reading<'_, '_>, subnet: Option<&Prefix>) -> Result<Ipv4Addr, Wrong> {
    let found: Option<Ipv4Addr> = value::string(reading)?.parse().ok();
    found
        .filter(|address| subnet.is_some_and(|subnet| is_host(subnet, *address)))
        .ok_or_else(|| {
            let subnet = subnet.map_or_else(|| "none".into(), ToString::to_string);
            Wrong::new(
                format!("{} is not an address in the subnet", reading.text),
                format!("write an address of the subnet ({subnet}), not its first or last"),
            )
        })
}

fn dhcp_range(
    reading: &Reading<'_, '_>,
    subnet: Option<&Prefix>,
) -> Result<(Ipv4Addr, Ipv4Addr), Wrong> {
    let text = value::string(reading)?;
    let ends = text.split_once('-').and_then(|(first, last)| {
        let ends: (Ipv4Addr, Ipv4Addr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Some(ends)
    });
    ends.filter(|(first, last)| {
        let inside = |address| subnet.is_some_and(|subnet| is_host(subnet, address));
        first <= last && inside(*first) && inside(*last)
    })
    .ok_or_else(|| {
        Wrong::new(
            format!("{} is not a range in the subnet", reading.text),
            "write its first and last address, like \"10.0.2.15-10.0.2.254\", or false for no DHCP",
        )
    })
}

/// An address with or without a port.
fn dns_server(text: &str) -> Result<SocketAddr, &'static str> {
    const PORT: u16 = 53;
    let address = text
        .parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, PORT));
    address
        .or_else(|_| text.parse())
        .map_err(|_| "neither an address nor an address with a port")
}

fn domain(text: &str) -> Result<String, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= LONGEST_NAME && name.split('.').all(is_label) {
        return Ok(name.to_ascii_lowercase());
    }
    Err("not the name of a domain (labels of letters, digits and hyphens, with dots between)")
}

fn bad_domain(reading: &Reading<'_, '_>, why: &str) -> Wrong {
    Wrong::new(
        format!("{} is {why}", reading.text),
        "write a domain, like \"vm.example.org\"",
    )
}

/// A table of names, each with an address or a list of addresses.
fn records(reading: &Reading<'_, '_>) -> Result<BTreeMap<String, Vec<IpAddr>>, Wrong> {
    let wrong = |what: &str| {
        Wrong::new(
            format!("{what} is not a name with its addresses"),
            "write a table like { \"db.example.org\" = [\"10.0.2.9\", \"fd00::9\"] }",
        )
    };
    let DeValue::Table(table) = reading.value else {
        return Err(wrong(&reading.text));
    };
    let records = table.iter().map(|(name, value)| {
        let name = name.get_ref();
        let known = domain(name).map_err(|_| wrong(name))?;
        let texts: Option<Vec<&str>> = match value.get_ref() {
            DeValue::String(text) => Some(vec![text]),
            DeValue::Array(list) => list.iter().map(|entry| entry.get_ref().as_str()).collect(),
            _ => None,
        };
        let addresses: Option<Vec<IpAddr>> = texts
            .ok_or_else(|| wrong(name))?
            .into_iter()
            .map(|text| text.parse().ok())
            .collect();
        let addresses = addresses.filter(|addresses| !addresses.is_empty());
        Ok((known, addresses.ok_or_else(|| wrong(name))?))
    });
    records.collect()
}
