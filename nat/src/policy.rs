//! What guests may reach.
use crate::config::{Addressing, Policy, Prefix};
use crate::counters::DropReason;
use crate::host::Host;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services of clouds that have an address outside of the link-local ranges.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Where a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// the gateway itself
    Gateway,
    /// the world, at this address, which need not be the one the guest asked for
    World(IpAddr),
}

/// Judges a destination.
pub(crate) fn judge(
    policy: &Policy,
    addressing: &Addressing,
    host: &mut dyn Host,
    destination: IpAddr,
) -> Result<Destination, DropReason> {
    if addressing.is_gateway(destination) {
        return Ok(Destination::Gateway);
    }
    if addressing.is_inside(destination) || is_not_unicast(destination) {
        return Err(DropReason::BadDestination);
    }
    if policy.restrict
        || is_loopback(destination)
        || (is_link_local(destination) && !policy.link_local)
        || !is_listed(policy, destination)
        || (!policy.host_addresses && host.is_own_address(destination))
    {
        return Err(DropReason::Policy);
    }
    Ok(Destination::World(destination))
}

/// The host's loopback, if the gateway's address stands for it.
pub(crate) fn host_loopback(policy: &Policy, destination: IpAddr) -> Option<IpAddr> {
    if !policy.gateway_is_host_loopback || policy.restrict {
        return None;
    }
    Some(match destination {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    })
}

/// Multicast, broadcast, "this host" and reserved addresses.
fn is_not_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            first == 0 || first >= 224
        }
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified(),
    }
}

/// The host's loopback under any name: an IPv4 address in an IPv6 one would be a way around what is said of IPv4.
fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        // ::/96 and ::ffff:0:0/96 (RFC 4291, 2.5.5) have ::1 among them.
        IpAddr::V6(v6) => matches!(v6.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, _, _]),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    local || METADATA.contains(&address)
}

/// Whether the lists let it pass: the longest prefix decides.
fn is_listed(policy: &Policy, address: IpAddr) -> bool {
    let longest = |list: &[Prefix]| {
        list.iter()
            .filter(|prefix| prefix.contains(address))
            .map(Prefix::len)
            .max()
    };
    match (longest(&policy.allow), longest(&policy.deny)) {
        (Some(allow), Some(deny)) => allow > deny,
        (Some(_), None) => true,
        (None, Some(_)) => false,
        (None, None) => policy.allow.is_empty(),
    }
}

#[cfg(test)]
#[path = "policy_test.rs"]
mod tests;
