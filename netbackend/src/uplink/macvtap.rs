//! Making macvtaps, and removing them.
use super::{
    Made,
    device::open_queues,
    error::UplinkError,
    identity::Identity,
    nic::{Nic, Use},
};
use crate::{
    netlink::{Link, Netlink},
    tap::QUEUE_LEN,
};
use rtnetlink::{
    LinkMacVtap, LinkUnspec, LinkVlan,
    packet_route::link::{LinkAttribute, MacVtapMode},
};
use std::{fs, io, os::fd::OwnedFd};
use switch::MacAddr;

/// What the kernel does between a macvtap, its siblings on the same NIC, and the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MacvtapMode {
    Private,
    Vepa,
    Bridge,
    /// The NIC is its alone.
    Passthru,
}

impl MacvtapMode {
    fn of_kernel(self) -> MacVtapMode {
        match self {
            Self::Private => MacVtapMode::Private,
            Self::Vepa => MacVtapMode::Vepa,
            Self::Bridge => MacVtapMode::Bridge,
            Self::Passthru => MacVtapMode::Passthrough,
        }
    }
}

/// A macvtap to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MacvtapSpec {
    pub(crate) nic: Nic,
    /// The macvtap is on top of an interface for this VLAN, made by us.
    ///
    /// The kernel's VLAN interface and not the tag of our own switch: no other VLAN's frame reaches us, the tag costs our
    /// data path nothing and keeps all offloads, and several networks may share the NIC, each in its VLAN.
    pub(crate) vlan: Option<(u16, Identity)>,
    pub(crate) mode: MacvtapMode,
    pub(crate) identity: Identity,
    /// The NIC's own in passthru mode: changing it would change the NIC's.
    pub(crate) mac: Option<MacAddr>,
    pub(crate) mtu: u16,
    pub(crate) queues: u16,
}

/// Makes it, in the thread's namespace. What was made is noted as it is made, to be removed again.
pub(super) fn open(
    spec: &MacvtapSpec,
    netlink: &mut Netlink,
    made: &mut Made,
) -> Result<(Link, Vec<OwnedFd>), UplinkError> {
    let name = spec.identity.interface();
    remove_unmarked(netlink, &name)?;
    let exclusive = spec.mode == MacvtapMode::Passthru && spec.vlan.is_none();
    let how = if exclusive {
        Use::Exclusive
    } else {
        Use::Shared
    };
    let nic = spec.nic.find(netlink, how, Some(spec.mtu))?;
    let lower = match &spec.vlan {
        Some((id, identity)) => make_vlan(spec, netlink, &nic, (*id, identity), made)?,
        None => nic.index,
    };
    let index = make(spec, netlink, lower, &name, made)?;
    let foreign = spec.nic.netns.is_some();
    let queues = open_queues(&name, index, spec.queues, foreign)?;
    Ok((nic, queues))
}

/// Removes what a daemon has made that was killed before it could mark it: nobody else makes such names.
fn remove_unmarked(netlink: &mut Netlink, name: &str) -> Result<(), UplinkError> {
    match netlink.link(name) {
        Ok(Some(found)) if found.alias.is_empty() => {
            let removed = netlink.delete(found.index);
            removed.map_err(UplinkError::io("remove the interface", name))
        }
        _ => Ok(()),
    }
}

fn make(
    spec: &MacvtapSpec,
    netlink: &mut Netlink,
    lower: u32,
    name: &str,
    made: &mut Made,
) -> Result<u32, UplinkError> {
    let mut link = LinkMacVtap::new(name, lower, spec.mode.of_kernel())
        .mtu(spec.mtu.into())
        .append_extra_attribute(LinkAttribute::TxQueueLen(QUEUE_LEN));
    if let Some(mac) = spec.mac {
        link = link.address(mac.0.to_vec());
    }
    let refused = |source: io::Error| refusal(spec, source);
    netlink.add(link.build()).map_err(refused)?;
    made.note(name);
    let index = index_of(netlink, name)?;
    silence(name);
    // Marked before it is up. All groups: which of them guests have joined, only their own stacks know.
    let link = LinkUnspec::new_with_index(index).alias(spec.identity.alias());
    netlink
        .set(link.allmulticast(true).up().build())
        .map_err(refused)?;
    Ok(index)
}

fn make_vlan(
    spec: &MacvtapSpec,
    netlink: &mut Netlink,
    nic: &Link,
    (id, identity): (u16, &Identity),
    made: &mut Made,
) -> Result<u32, UplinkError> {
    let name = identity.interface();
    let failed = || UplinkError::io("make a VLAN interface", &spec.nic.name);
    remove_unmarked(netlink, &name)?;
    let found = netlink.link(&name).map_err(failed())?;
    if let Some(index) = adopted(found, nic, identity)? {
        // Of another port of this network.
        made.note(&name);
        return Ok(index);
    }
    let link = LinkVlan::new(&name, nic.index, id).mtu(nic.mtu);
    if let Err(source) = netlink.add(link.build()) {
        return match source.raw_os_error() {
            Some(libc::EEXIST) => {
                // Of the name, made since we looked, or of the VLAN.
                let found = netlink.link(&name).map_err(failed())?;
                adopted(found, nic, identity)?
                    .inspect(|_| made.note(&name))
                    .ok_or_else(|| spec.nic.busy(&format!("an interface of VLAN {id}")))
            }
            Some(libc::EOPNOTSUPP) => Err(UplinkError::NoModule("8021q")),
            _ => Err(failed()(source)),
        };
    }
    made.note(&name);
    let index = index_of(netlink, &name)?;
    silence(&name);
    let link = LinkUnspec::new_with_index(index).alias(identity.alias());
    netlink.set(link.up().build()).map_err(failed())?;
    Ok(index)
}

/// The index of an interface that was found by our name, if it is ours; `None`: none was.
fn adopted(
    found: Option<Link>,
    nic: &Link,
    identity: &Identity,
) -> Result<Option<u32>, UplinkError> {
    let Some(link) = found else {
        return Ok(None);
    };
    let is_ours = link.lower == Some(nic.index) && link.alias == identity.alias();
    is_ours
        .then_some(Some(link.index))
        .ok_or(UplinkError::NameTaken(link.name))
}

fn index_of(netlink: &mut Netlink, name: &str) -> Result<u32, UplinkError> {
    let failed = || UplinkError::io("look up the new interface", name);
    let link = netlink.link(name).map_err(failed())?;
    let link = link.ok_or_else(|| failed()(io::ErrorKind::NotFound.into()))?;
    Ok(link.index)
}

/// The host itself has nothing to say by this interface.
pub(super) fn silence(name: &str) {
    // Fails only in a kernel without IPv6, which is as silent.
    drop(fs::write(
        format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"),
        "1",
    ));
}

/// Why the kernel refuses a macvtap (drivers/net/macvlan.c).
fn refusal(spec: &MacvtapSpec, source: io::Error) -> UplinkError {
    let nic = &spec.nic;
    match (source.raw_os_error(), spec.mac) {
        (Some(libc::EADDRINUSE), Some(mac)) => UplinkError::AddressInUse {
            nic: nic.name.clone(),
            mac,
        },
        // Before Linux 4.20 or so.
        (Some(libc::EBUSY), Some(mac)) if spec.mode != MacvtapMode::Passthru => {
            UplinkError::AddressInUse {
                nic: nic.name.clone(),
                mac,
            }
        }
        (Some(libc::EEXIST), _) => UplinkError::NameTaken(spec.identity.interface()),
        // A bridge, Open vSwitch, a bond or a team takes its frames.
        (Some(libc::EBUSY), _) => nic.busy("another network device"),
        // `macvlan_common_newlink`: beside a passthru device there is no other, nor it beside others.
        (Some(libc::EINVAL), _) => nic.busy("another macvlan or macvtap"),
        (Some(libc::EOPNOTSUPP), _) => UplinkError::NoModule("macvtap"),
        _ => UplinkError::io("make a macvtap", &nic.name)(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn link(index: u32, lower: Option<u32>, alias: &str) -> Link {
        Link {
            index,
            name: "nb0".into(),
            kind: "vlan".into(),
            is_ethernet: true,
            is_up: true,
            has_carrier: true,
            mtu: 1500,
            mac: None,
            controller: None,
            lower,
            alias: alias.into(),
        }
    }

    #[test]
    fn only_our_own_interface_on_that_nic_is_adopted() {
        let of = |network: &str| Identity::new(Path::new("/run/netbackend"), network, "vlan.5");
        let (ours, other) = (of("n"), of("m"));
        let nic = link(2, None, "");
        let adopt = |found| adopted(found, &nic, &ours);
        assert_eq!(adopt(None).unwrap(), None);
        let found = link(7, Some(2), ours.alias());
        assert_eq!(adopt(Some(found)).unwrap(), Some(7));
        for foreign in [
            link(7, Some(2), other.alias()),
            link(7, Some(2), ""),
            link(7, Some(3), ours.alias()),
        ] {
            let refused = adopt(Some(foreign)).unwrap_err();
            assert!(matches!(refused, UplinkError::NameTaken(_)), "{refused}");
        }
    }
}
