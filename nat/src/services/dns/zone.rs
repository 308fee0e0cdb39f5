//! What is known without asking anybody: the guests by their names, and records that the configuration gives.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::message::Query;
use super::name::Name;
use super::spec::{kind, rcode};
use crate::Prefix;
use crate::services::cursor::Put;
use crate::services::hosts::Hosts;

/// How long clients may keep local answers: a lease may end, and its name move.
const TTL: u32 = 30;

/// A name with fixed addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticRecord {
    /// its name
    pub name: Name,
    /// its addresses
    pub addresses: Vec<IpAddr>,
}

/// Local names of one network.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    domain: Option<Name>,
    subnets: Vec<Prefix>,
    records: BTreeMap<Name, Vec<IpAddr>>,
    by_address: BTreeMap<IpAddr, Name>,
}

/// The answer to a question about this network.
enum Found {
    Addresses(Vec<IpAddr>),
    Name(Name),
    Nothing,
}

impl Zone {
    pub(crate) fn new(
        domain: Option<Name>,
        subnets: Vec<Prefix>,
        records: &[StaticRecord],
    ) -> Self {
        let mut zone = Self {
            domain,
            subnets,
            records: BTreeMap::new(),
            by_address: BTreeMap::new(),
        };
        for record in records {
            for address in &record.addresses {
                zone.by_address
                    .entry(*address)
                    .or_insert_with(|| record.name.clone());
            }
            let addresses = zone.records.entry(record.name.clone()).or_default();
            addresses.extend(&record.addresses);
        }
        zone
    }

    /// The answer, if the question is about this network: nobody outside is ever asked about it (RFC 6303).
    pub(crate) fn answer(&self, now: Duration, query: &Query, hosts: &Hosts) -> Option<Vec<u8>> {
        if query.question.class != kind::IN {
            return None;
        }
        Some(match self.find(now, &query.question.name, hosts)? {
            Found::Nothing => {
                let mut message = query.response(rcode::NAME_ERROR, true, 0);
                query.finish(&mut message);
                message
            }
            Found::Addresses(addresses) => answer_addresses(query, &addresses),
            Found::Name(name) => answer_name(query, &name),
        })
    }

    fn find(&self, now: Duration, name: &Name, hosts: &Hosts) -> Option<Found> {
        if let Some(addresses) = self.records.get(name) {
            return Some(Found::Addresses(addresses.clone()));
        }
        if let Some(address) = reverse(name) {
            return self.find_address(now, address, hosts);
        }
        let relative = self.domain.as_ref().and_then(|domain| name.without(domain));
        let label = relative.as_ref().unwrap_or(name);
        let mut labels = label.labels();
        let host = match (labels.next(), labels.next()) {
            (Some(host), None) => std::str::from_utf8(host).ok(),
            _ => None,
        };
        let addresses = host.and_then(|host| hosts.addresses(now, host));
        match addresses {
            Some(addresses) => Some(Found::Addresses(addresses.collect())),
            None if relative.as_ref().is_some_and(Name::is_root) => {
                Some(Found::Addresses(Vec::new()))
            }
            None => relative.is_some().then_some(Found::Nothing),
        }
    }

    fn find_address(&self, now: Duration, address: IpAddr, hosts: &Hosts) -> Option<Found> {
        if let Some(name) = self.by_address.get(&address) {
            return Some(Found::Name(name.clone()));
        }
        if !self.subnets.iter().any(|subnet| subnet.contains(address)) {
            return None;
        }
        let host = hosts.name(now, address).and_then(|host| host.parse().ok());
        Some(host.map_or(Found::Nothing, |host: Name| {
            let qualified = self.domain.as_ref().and_then(|domain| host.within(domain));
            Found::Name(qualified.unwrap_or(host))
        }))
    }
}

fn answer_addresses(query: &Query, addresses: &[IpAddr]) -> Vec<u8> {
    let wanted = query.question.kind;
    let kind_of = |address: &IpAddr| {
        if address.is_ipv4() {
            kind::A
        } else {
            kind::AAAA
        }
    };
    let matching = addresses.iter();
    let matching = matching.filter(|address| wanted == kind::ANY || wanted == kind_of(address));
    let records: Vec<_> = matching
        .map(|address| (kind_of(address), octets(*address)))
        .collect();
    assemble(query, &records)
}

fn answer_name(query: &Query, name: &Name) -> Vec<u8> {
    if matches!(query.question.kind, kind::PTR | kind::ANY) {
        assemble(query, &[(kind::PTR, name.wire().to_vec())])
    } else {
        assemble(query, &[])
    }
}

fn assemble(query: &Query, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
    let mut message = query.response(rcode::NO_ERROR, true, count);
    for (kind, data) in records.iter().take(count.into()) {
        // The question's name, which is at the end of the header.
        message.put_u16(0xc00c);
        message.put_u16(*kind);
        message.put_u16(kind::IN);
        message.put_u32(TTL);
        message.put_u16(u16::try_from(data.len()).unwrap_or(u16::MAX));
        message.put(data);
    }
    query.finish(&mut message);
    message
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address whose name is asked for: within in-addr.arpa (RFC 1035, 3.5) or ip6.arpa (RFC 3596, 2.5).
fn reverse(name: &Name) -> Option<IpAddr> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let (digits, tree) = labels.split_at_checked(labels.len().checked_sub(2)?)?;
    match (tree, digits.len()) {
        ([b"in-addr", b"arpa"], 4) => {
            let mut octets = [0; 4];
            for (octet, label) in octets.iter_mut().rev().zip(digits) {
                *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
            }
            Some(Ipv4Addr::from_octets(octets).into())
        }
        ([b"ip6", b"arpa"], 32) => {
            let mut bits = 0u128;
            for label in digits.iter().rev() {
                let [digit] = label else {
                    return None;
                };
                bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
            }
            Some(Ipv6Addr::from_bits(bits).into())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "zone_test.rs"]
mod tests;
