//! What a new configuration changes.
use crate::config::{NatConfig, NetworkConfig, PortConfig, TransportConfig};
use std::collections::BTreeMap;

pub(super) type Networks = BTreeMap<String, NetworkConfig>;

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) removed: Vec<String>,
    pub(super) added: Vec<NetworkConfig>,
    pub(super) changed: Vec<Change>,
    pub(super) untouched: Vec<String>,
}

/// What is to be done to a network that stays.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// As it shall be.
    pub(super) network: NetworkConfig,
    /// Not only its ports change.
    pub(super) settings: bool,
    pub(super) removed: Vec<String>,
    /// Ports that are new or have other settings.
    pub(super) added: Vec<PortConfig>,
    /// Forwards are others.
    pub(super) forwards: bool,
}

impl Plan {
    pub(super) fn new(old: &Networks, new: &[NetworkConfig]) -> Self {
        let mut plan = Self::default();
        for network in new {
            match old.get(&network.name) {
                None => plan.added.push(network.clone()),
                Some(before) => match Change::new(before, network) {
                    None => plan.untouched.push(network.name.clone()),
                    Some(change) => plan.changed.push(change),
                },
            }
        }
        let stays = |name: &str| new.iter().any(|network| network.name == name);
        let removed = old.keys().filter(|name| !stays(name));
        plan.removed = removed.cloned().collect();
        plan
    }

    /// Whether another network that changes will be on the NIC of this one: it must be free by then.
    pub(super) fn hands_over(&self, change: &Change, old: &Networks) -> bool {
        let before = old.get(&change.network.name);
        let Some(nic) = before.and_then(NetworkConfig::nic) else {
            return false;
        };
        let changed = self.changed.iter().map(|change| &change.network);
        let mut others = changed
            .chain(&self.added)
            .filter(|other| other.name != change.network.name);
        change.settings && others.any(|other| other.nic() == Some(nic))
    }

    /// What is in use until the old ports are gone.
    pub(super) fn leaving<'a>(&'a self, old: &'a Networks) -> Leaving<'a> {
        let removed = self.removed.iter().filter_map(|name| old.get(name));
        let changed = self.changed.iter().filter_map(|change| {
            let before = old.get(&change.network.name)?;
            Some((change, before))
        });
        let ports = changed.clone().flat_map(|(change, before)| {
            let ports = before.ports.iter();
            ports.filter(|port| change.removed.contains(&port.name))
        });
        let ports = removed
            .clone()
            .flat_map(|network| &network.ports)
            .chain(ports);
        let rewired = changed.filter(|(change, before)| {
            is_rewired(before, &change.network) || before.nic() != change.network.nic()
        });
        let networks = removed.chain(rewired.map(|(_, before)| before));
        Leaving {
            transports: ports.map(|port| &port.transport).collect(),
            nics: networks.filter_map(NetworkConfig::nic).collect(),
            old,
        }
    }
}

/// What is not free yet.
#[derive(Debug)]
pub(super) struct Leaving<'a> {
    pub(super) transports: Vec<&'a TransportConfig>,
    /// Names and namespaces.
    nics: Vec<(&'a str, Option<&'a str>)>,
    old: &'a Networks,
}

impl Leaving<'_> {
    /// Whether a new port needs something of it.
    pub(super) fn have(&self, network: &NetworkConfig, port: &PortConfig) -> bool {
        let on_nic = || network.nic().is_some_and(|nic| self.nics.contains(&nic));
        let reuses_name = || {
            let before = self.old.get(&network.name);
            let ports = before.into_iter().flat_map(|before| {
                let ports = before.ports.iter();
                ports.filter(|port| is_wired(before, port))
            });
            ports.into_iter().any(|replaced| replaced.name == port.name)
        };
        self.transports.contains(&&port.transport)
            || is_wired(network, port) && (on_nic() || reuses_name())
    }
}

/// Whether the port is on an interface of the host. Its name is made of the port's.
fn is_wired(network: &NetworkConfig, port: &PortConfig) -> bool {
    network.attach.is_some() || matches!(port.transport, TransportConfig::Uplink(_))
}

/// Whether guests that had a macvtap each have none, or another one.
fn is_rewired(old: &NetworkConfig, new: &NetworkConfig) -> bool {
    old.attach != new.attach || new.attach.is_some() && old.mode != new.mode
}

impl Change {
    /// `None`: nothing changes.
    fn new(old: &NetworkConfig, new: &NetworkConfig) -> Option<Self> {
        // Each guest's macvtap is made for the one and in the other.
        let rewired = is_rewired(old, new);
        let same = |port: &PortConfig| !rewired && new.ports.contains(port);
        let removed: Vec<_> = old.ports.iter().filter(|port| !same(port)).collect();
        let removed = removed.into_iter().map(|port| port.name.clone()).collect();
        let is_new = |port: &&PortConfig| rewired || !old.ports.contains(port);
        let added = new.ports.iter().filter(is_new);
        let forwards = |network: &NetworkConfig| {
            let nat = network.nat.as_ref();
            nat.map(|nat| nat.forwards.clone()).unwrap_or_default()
        };
        let without = |network: &NetworkConfig| {
            let nat = network.nat.clone();
            nat.map(|nat| NatConfig {
                forwards: Vec::new(),
                ..nat
            })
        };
        let bare = |network: &NetworkConfig| NetworkConfig {
            nat: without(network),
            ports: Vec::new(),
            // Each port has its own already.
            socket_access: crate::config::SocketAccess::DEFAULT,
            ..network.clone()
        };
        let change = Self {
            settings: bare(old) != bare(new),
            removed,
            added: added.cloned().collect(),
            forwards: forwards(old) != forwards(new),
            network: new.clone(),
        };
        let nothing = !change.settings
            && !change.forwards
            && change.removed.is_empty()
            && change.added.is_empty();
        (!nothing).then_some(change)
    }
}

#[cfg(test)]
#[path = "reload_plan_test.rs"]
mod tests;
