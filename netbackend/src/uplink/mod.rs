//! The way out of a network: a NIC of the host, by macvtap, by tap and bridge, or by packet sockets.
//!
//! The supervisor makes what is needed, and hands queues to the worker that read and write like those of a tap. What was made
//! bears an alias with the runtime directory, so that the next start finds what a killed daemon has left behind, and nothing else.
mod claim;
mod device;
mod error;
mod filter;
mod identity;
mod leftovers;
mod link_event;
mod macvtap;
mod monitor;
mod nic;
mod packet;
mod retry;
#[cfg(test)]
pub(crate) mod testing;
mod wanted;

pub(crate) use claim::claim;
pub(crate) use error::UplinkError;
pub(crate) use filter::Filter;
pub(crate) use identity::Identity;
pub(crate) use leftovers::{remove as remove_leftovers, remove_by_alias};
pub(crate) use macvtap::{MacvtapMode, MacvtapSpec};
pub(crate) use monitor::{Monitor, Sight};
pub(crate) use nic::Nic;
pub(crate) use packet::PacketSpec;
pub(crate) use retry::Retry;
pub(crate) use wanted::Wanted;

use crate::{
    netlink::{Link, Netlink},
    netns,
    privilege::Device,
    tap,
    tap::TapSpec,
};
use nic::Use;
use rtnetlink::LinkUnspec;
use std::os::fd::OwnedFd;
use switch::MacAddr;
use tracing::warn;

/// An open way out. What was made for it vanishes with it.
#[derive(Debug)]
pub(crate) struct Uplink {
    queues: Vec<OwnedFd>,
    /// What it needs to go on, and its index: one of the same name may be another.
    needs: Option<(Nic, u32)>,
    /// The host's own address there, where the host goes on using it.
    host: Option<MacAddr>,
    made: Made,
}

/// A tap that is a port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgedTap {
    pub(crate) tap: TapSpec,
    pub(crate) bridge: Option<String>,
}

impl Uplink {
    /// Makes a macvtap on a NIC.
    pub(crate) fn macvtap(spec: &MacvtapSpec) -> Result<Self, UplinkError> {
        let netns = spec.nic.netns.as_deref();
        let mut made = Made::new(netns);
        let (nic, queues) = netns::within(netns, || {
            let mut netlink = open_netlink(&spec.nic.name)?;
            macvtap::open(spec, &mut netlink, &mut made)
        })
        .map_err(|wrong: UplinkError| wrong.making(Device::Macvtap, netns))?;
        Ok(Self {
            queues,
            needs: Some((spec.nic.clone(), nic.index)),
            host: None,
            made,
        })
    }

    /// Opens packet sockets on a NIC.
    pub(crate) fn packet(spec: &PacketSpec) -> Result<Self, UplinkError> {
        let netns = spec.nic.netns.as_deref();
        let (nic, queues) = netns::within(netns, || {
            packet::open(spec, &mut open_netlink(&spec.nic.name)?)
        })
        .map_err(|wrong: UplinkError| wrong.making(Device::PacketSocket, netns))?;
        Ok(Self {
            queues,
            needs: Some((spec.nic.clone(), nic.index)),
            host: nic.mac,
            made: Made::new(netns),
        })
    }

    /// Makes a tap and puts it into its bridge.
    pub(crate) fn tap(spec: &BridgedTap) -> anyhow::Result<Self> {
        let netns = spec.tap.netns.as_deref();
        let bridge = spec.bridge.as_ref().map(|name| Nic {
            name: name.clone(),
            netns: spec.tap.netns.clone(),
        });
        let Some(bridge) = bridge else {
            return Ok(Self {
                queues: tap::open(&spec.tap)?,
                needs: None,
                host: None,
                made: Made::new(netns),
            });
        };
        // What is wrong with the bridge is told before anything is made.
        netns::within(netns, || find_bridge(&bridge, spec.tap.mtu))?;
        let queues = tap::open(&spec.tap)?;
        let index = netns::within(netns, || enslave(&bridge, &spec.tap))
            .map_err(|wrong| wrong.making(Device::Tap, netns))?;
        Ok(Self {
            queues,
            needs: Some((bridge, index)),
            host: None,
            made: Made::new(netns),
        })
    }

    /// The interface that was made, on top of what was made for it.
    pub(crate) fn made(&self) -> Option<&str> {
        self.made.names.last().map(String::as_str)
    }

    /// One file per queue.
    pub(crate) fn queues(&self) -> &[OwnedFd] {
        &self.queues
    }

    /// The host's own address, where guests share its NIC: what is for the host is not for them, though we see it.
    pub(crate) fn host(&self) -> Option<MacAddr> {
        self.host
    }

    /// The host has another address there now; false: that is known, or of no interest.
    pub(crate) fn follow_host(&mut self, mac: MacAddr) -> bool {
        // A bridge that has lost its last member has none for a while.
        let changes = mac.is_station() && self.host.is_some_and(|known| known != mac);
        if changes {
            self.host = Some(mac);
        }
        changes
    }

    /// Gives what was made on a NIC the largest MTU that it can have there now, up to `mtu`. The kernel lowers it with that of
    /// the NIC, but does not raise it again.
    pub(crate) fn raise_mtu(&self, mtu: u32, mtu_of_nic: u32) -> Result<(), UplinkError> {
        let Some((top, lower)) = self.made.names.split_last() else {
            return Ok(());
        };
        netns::within(self.made.netns.as_deref(), || {
            let mut netlink = open_netlink(top)?;
            let mut raise = |name: &str, mtu: u32| {
                let link = LinkUnspec::new_with_name(name).mtu(mtu);
                let raised = netlink.set(link.build());
                raised.map_err(UplinkError::io("set the MTU", name))
            };
            lower.iter().try_for_each(|name| raise(name, mtu_of_nic))?;
            raise(top, mtu.min(mtu_of_nic))
        })
    }

    /// The interface that it needs, and its index.
    pub(crate) fn needs(&self) -> Option<(&Nic, u32)> {
        self.needs.as_ref().map(|(nic, index)| (nic, *index))
    }
}

/// The MTU of a NIC that will do as an uplink.
pub(crate) fn mtu_of(nic: &Nic) -> Result<u32, UplinkError> {
    netns::within(nic.netns.as_deref(), || {
        let mut netlink = open_netlink(&nic.name)?;
        Ok(nic.find_down(&mut netlink, None)?.mtu)
    })
}

/// Whether a NIC is there and up.
pub(crate) fn is_up(nic: &Nic) -> bool {
    let found = netns::within(nic.netns.as_deref(), || {
        nic.find_down(&mut open_netlink(&nic.name)?, None)
    });
    found.is_ok_and(|link: Link| link.is_up)
}

fn open_netlink(interface: &str) -> Result<Netlink, UplinkError> {
    Netlink::open().map_err(UplinkError::io("open a netlink socket", interface))
}

fn find_bridge(bridge: &Nic, mtu: u16) -> Result<u32, UplinkError> {
    let mut netlink = open_netlink(&bridge.name)?;
    let link = bridge.find(&mut netlink, Use::Beside, Some(mtu))?;
    match link.kind.as_str() {
        "bridge" => Ok(link.index),
        _ => Err(UplinkError::NotABridge(bridge.name.clone())),
    }
}

/// The bridge's index.
fn enslave(bridge: &Nic, tap: &TapSpec) -> Result<u32, UplinkError> {
    let index = find_bridge(bridge, tap.mtu)?;
    let mut netlink = open_netlink(&bridge.name)?;
    macvtap::silence(&tap.interface);
    let link = LinkUnspec::new_with_name(&tap.interface).controller(index);
    netlink
        .set(link.build())
        .map_err(UplinkError::io("put the tap into its bridge", &bridge.name))?;
    Ok(index)
}

/// Interfaces to remove, in reverse order, when this is dropped.
#[derive(Debug)]
struct Made {
    netns: Option<String>,
    names: Vec<String>,
}

impl Made {
    fn new(netns: Option<&str>) -> Self {
        Self {
            netns: netns.map(str::to_owned),
            names: Vec::new(),
        }
    }

    fn note(&mut self, name: &str) {
        self.names.push(name.to_owned());
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.names.is_empty() {
            return;
        }
        let names = std::mem::take(&mut self.names);
        let removed = netns::within(self.netns.as_deref(), || {
            let mut netlink = open_netlink("netlink")?;
            let remove = |name: &String| remove_unused(&mut netlink, name);
            names.iter().rev().try_for_each(remove)
        });
        match removed {
            // With its namespace went the interface.
            Ok(()) | Err(UplinkError::Namespace(netns::NetnsError::Missing { .. })) => {}
            Err(error) => warn!(%error, "remove what was made for an uplink"),
        }
    }
}

/// Removes an interface, unless there is another on top of it: a VLAN that ports share goes with the last of them.
fn remove_unused(netlink: &mut Netlink, name: &str) -> Result<(), UplinkError> {
    let failed = || UplinkError::io("remove the interface", name);
    let links = netlink.links().map_err(failed())?;
    let Some(link) = links.iter().find(|link| link.name == name) else {
        return Ok(());
    };
    if links.iter().any(|upper| upper.lower == Some(link.index)) {
        return Ok(());
    }
    netlink.delete(link.index).map_err(failed())
}
