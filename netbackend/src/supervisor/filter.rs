//! What comes to guests by their macvtaps, as far as they are trusted to choose it. A VMM hears of its guest's wishes, and the
//! macvtap is ours.
use super::{
    handle::unavailable,
    network::{NetworkTask, no_such_port},
    port::Port,
    request::refusal,
};
use crate::{config::NetworkConfig, uplink::Wanted};
use control::{ApiError, PortFilter};
use std::{collections::BTreeSet, io};
use switch::{MacAddr, Role};
use tracing::warn;

impl Wanted {
    /// Checks what was asked for.
    ///
    /// # Errors
    /// It makes no sense, or is too much.
    pub(super) fn read(asked: &PortFilter) -> Result<Self, ApiError> {
        let address = asked.address.as_deref().map(station).transpose()?;
        let asked_groups = asked.groups.as_ref();
        if let Some(groups) = asked_groups.filter(|groups| groups.len() > PortFilter::MOST_GROUPS) {
            let most = PortFilter::MOST_GROUPS;
            return Err(refusal(
                "bad-request",
                format!("{} groups, and a port has {most} at most", groups.len()),
                "leave out groups: then all of them come",
            ));
        }
        let groups = asked_groups.map(|groups| groups.iter().map(|text| group(text)).collect());
        Ok(Self {
            address,
            groups: groups.transpose()?,
            promiscuous: asked.promiscuous,
        })
    }

    /// As the control API shows it.
    pub(super) fn shown(&self) -> PortFilter {
        let show = |groups: &BTreeSet<[u8; 6]>| {
            let groups = groups.iter().map(|group| MacAddr(*group).to_string());
            groups.collect()
        };
        PortFilter {
            address: self.address.map(|address| address.to_string()),
            groups: self.groups.as_ref().map(show),
            promiscuous: self.promiscuous,
        }
    }
}

fn station(text: &str) -> Result<MacAddr, ApiError> {
    let address = parse(text)?;
    let wrong = || {
        refusal(
            "bad-request",
            format!("address {text} is a multicast or zero address"),
            "a guest has a unicast one: its first octet is even",
        )
    };
    address.is_station().then_some(address).ok_or_else(wrong)
}

fn group(text: &str) -> Result<[u8; 6], ApiError> {
    let group = parse(text)?;
    let wrong = || {
        refusal(
            "bad-request",
            format!("{text} in groups is the address of a station"),
            "name it as address; the first octet of a group is odd",
        )
    };
    group.is_multicast().then_some(group.0).ok_or_else(wrong)
}

fn parse(text: &str) -> Result<MacAddr, ApiError> {
    let parsed = text.parse::<MacAddr>();
    parsed.map_err(|wrong| {
        let help = "addresses are like 52:54:00:12:34:56, groups like 01:00:5e:00:00:fb";
        refusal("bad-request", wrong.to_string(), help)
    })
}

impl Port {
    /// Lets through what its guest wants. If that cannot be had, nothing changes.
    fn set_filter(&mut self, network: &str, wanted: Wanted) -> Result<(), ApiError> {
        let path = format!("{network}/{}", self.config.name);
        let (Some(before), Some(wire)) = (&self.filter, &mut self.wire) else {
            return Err(self.no_say(network));
        };
        let is_own = wanted.address.is_none() || wanted.address == self.config.mac;
        if self.config.policy.anti_spoofing && !is_own {
            return Err(refusal(
                "forbidden",
                format!("port {path} keeps its address: what is sent from another is dropped"),
                "remove anti_spoofing from the port, or leave the guest its address",
            ));
        }
        wire.set_filter(before, &wanted)
            .map_err(|error| refused(&path, &wanted, &error))?;
        self.filter = Some(wanted);
        Ok(())
    }

    /// Why its guest has nothing to say.
    fn no_say(&self, network: &str) -> ApiError {
        let path = format!("{network}/{}", self.config.name);
        if self.wire.is_none() || self.config.role == Role::Uplink {
            return refusal(
                "conflict",
                format!("port {path} has no macvtap of its own that would filter"),
                format!("write attach = \"macvtap\" in the section [networks.{network}.uplink]"),
            );
        }
        refusal(
            "forbidden",
            format!("the guest of port {path} is not trusted to choose what it receives"),
            format!(
                "write trust_filters = true in the section [networks.{network}], or leave out trust=on of `vmm`"
            ),
        )
    }

    /// Follows the settings of its network: a guest that is trusted no more has what every guest has.
    pub(super) fn adapt_filter(&mut self, network: &NetworkConfig) {
        if !network.trusts(&self.config) {
            let chosen = self.filter.take();
            let wire = self.wire.as_mut().zip(chosen);
            if let Some((wire, chosen)) = wire
                && let Err(error) = wire.set_filter(&chosen, &Wanted::default())
            {
                // What it takes beyond its own address and groups is gone with the macvtap at the latest.
                let (network, port) = (&network.name, &self.config.name);
                warn!(network, port, %error, "take back what a guest has chosen to receive");
            }
        } else if self.filter.is_none() {
            self.filter = Some(Wanted::default());
        }
    }
}

fn refused(path: &str, wanted: &Wanted, error: &io::Error) -> ApiError {
    match (error.raw_os_error(), wanted.address) {
        // `macvlan_set_mac_address`
        (Some(libc::EADDRINUSE | libc::EBUSY), Some(address)) => refusal(
            "conflict",
            format!("address {address} is in use on the NIC of port {path}"),
            "choose another address",
        ),
        _ => unavailable(format!("filter what comes to port {path}: {error}")),
    }
}

impl NetworkTask {
    /// Has a port let through what its guest wants.
    pub(super) fn set_filter(&mut self, name: &str, wanted: Wanted) -> Result<(), ApiError> {
        let network = &self.config.name;
        let entry = self.ports.get_mut(name);
        let entry = entry.ok_or_else(|| no_such_port(network, name))?;
        entry.port.set_filter(network, wanted)?;
        self.publish_ports();
        Ok(())
    }
}

#[cfg(test)]
#[path = "filter_test.rs"]
mod tests;
