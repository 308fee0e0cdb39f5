//! What a macvtap lets through, as its guest wants it.
use super::Uplink;
use crate::{netlink::Netlink, netns, sys};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};
use std::{collections::BTreeSet, io, os::fd::OwnedFd};
use switch::MacAddr;

type Change = LinkMessageBuilder<LinkUnspec>;

/// The receive filter of a macvtap. Afresh it is as the macvtap was made: of one address, and all groups.
#[derive(Debug)]
pub(crate) struct Filter {
    interface: String,
    index: u32,
    /// Named network namespace that it is in; the thread's own without.
    netns: Option<String>,
    /// The macvtap's first address; none in mode passthru, where it has that of the NIC, and the kernel filters no addresses.
    own: Option<MacAddr>,
    // What holds now
    address: Option<MacAddr>,
    groups: BTreeSet<[u8; 6]>,
    is_all_multicast: bool,
    is_promiscuous: bool,
}

impl Filter {
    /// The filter of a new macvtap; `own`: the address that its guest has at first, if it was not made with another one already.
    pub(crate) fn new(wire: &Uplink, own: Option<MacAddr>) -> io::Result<Self> {
        let interface = wire.made().unwrap_or_default().to_owned();
        let netns = wire.made.netns.clone();
        let find = || Netlink::open()?.link(&interface);
        let link = netns::within(netns.as_deref(), find)?;
        let link = link.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
        Ok(Self {
            interface,
            index: link.index,
            netns,
            own,
            address: own.and(link.mac),
            groups: BTreeSet::new(),
            is_all_multicast: true,
            is_promiscuous: false,
        })
    }

    /// Whether frames come to whatever address they are for.
    pub(crate) fn takes_all_addresses(&self) -> bool {
        self.own.is_none()
    }

    /// The one address of which frames come.
    ///
    /// # Errors
    /// Another macvtap on the same NIC has it, or the macvtap is gone.
    pub(crate) fn set_address(&mut self, address: [u8; 6]) -> io::Result<()> {
        let wanted = Some(MacAddr(address));
        // In mode passthru it would become the NIC's own.
        if self.takes_all_addresses() || self.address == wanted {
            return Ok(());
        }
        self.set(|link| link.address(address.to_vec()))?;
        self.address = wanted;
        Ok(())
    }

    /// The address of which frames come is the first one again.
    ///
    /// # Errors
    /// Another macvtap on the same NIC has it by now, or the macvtap is gone.
    pub(crate) fn set_own_address(&mut self) -> io::Result<()> {
        self.own.map_or(Ok(()), |own| self.set_address(own.0))
    }

    /// The groups of which frames come; none: all.
    ///
    /// # Errors
    /// The macvtap is gone. What was not done is done with the next change.
    pub(crate) fn set_groups(&mut self, wanted: Option<&BTreeSet<[u8; 6]>>) -> io::Result<()> {
        // First what lets more through: no frame that both filters want is lost in between.
        if wanted.is_none() {
            self.set_all_multicast(true)?;
        }
        self.change_groups(wanted.unwrap_or(&BTreeSet::new()))?;
        if wanted.is_some() {
            self.set_all_multicast(false)?;
        }
        Ok(())
    }

    /// Has the NIC take every frame of the wire. Of those to other addresses a macvtap is handed none, except in mode passthru.
    ///
    /// # Errors
    /// The macvtap is gone.
    pub(crate) fn set_promiscuous(&mut self, promiscuous: bool) -> io::Result<()> {
        if self.is_promiscuous != promiscuous {
            self.set(|link| link.promiscuous(promiscuous))?;
            self.is_promiscuous = promiscuous;
        }
        Ok(())
    }

    /// As it was afresh, as far as that can be had.
    pub(crate) fn restore(&mut self) {
        let results = [
            self.set_groups(None),
            self.set_promiscuous(false),
            self.set_own_address(),
        ];
        for error in results.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, interface = self.interface, "restore a receive filter");
        }
    }

    fn change_groups(&mut self, wanted: &BTreeSet<[u8; 6]>) -> io::Result<()> {
        let (interface, groups) = (&self.interface, &mut self.groups);
        if groups == wanted {
            return Ok(());
        }
        netns::within(self.netns.as_deref(), || {
            let socket = control_socket()?;
            for group in wanted.difference(&groups.clone()) {
                sys::join_group(&socket, interface, *group)?;
                groups.insert(*group);
            }
            for group in groups.clone().difference(wanted) {
                sys::leave_group(&socket, interface, *group)?;
                groups.remove(group);
            }
            Ok(())
        })
    }

    fn set_all_multicast(&mut self, all: bool) -> io::Result<()> {
        if self.is_all_multicast != all {
            self.set(|link| link.allmulticast(all))?;
            self.is_all_multicast = all;
        }
        Ok(())
    }

    fn set(&self, change: impl FnOnce(Change) -> Change) -> io::Result<()> {
        let link = change(LinkUnspec::new_with_index(self.index)).build();
        netns::within(self.netns.as_deref(), || Netlink::open()?.set(link))
    }
}

/// Any socket will do for requests about interfaces (netdevice(7)).
fn control_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socket(
        AddressFamily::Inet,
        SockType::Datagram,
        flags,
        None,
    )?)
}

#[cfg(test)]
#[path = "filter_test.rs"]
mod tests;
