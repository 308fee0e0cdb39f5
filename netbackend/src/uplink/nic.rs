//! Finding the host's NIC, and judging whether it will do.
use super::error::UplinkError;
use crate::netlink::{Link, Netlink};

/// Kinds of interfaces that take all frames of the one below, or share it by rules of their own.
const SHARERS: [&str; 4] = ["macvlan", "macvtap", "ipvlan", "ipvtap"];

/// A NIC of the host by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Nic {
    pub(crate) name: String,
    /// A name in /run/netns; the daemon's own without.
    pub(crate) netns: Option<String>,
}

/// What is to be done with a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// All its frames are ours.
    Exclusive,
    /// Macvlan devices of others may be beside ours.
    Shared,
    /// Its owner goes on using it.
    Beside,
}

impl Nic {
    /// The interface, if it can be used.
    pub(super) fn find(
        &self,
        netlink: &mut Netlink,
        how: Use,
        mtu: Option<u16>,
    ) -> Result<Link, UplinkError> {
        let link = self.find_down(netlink, mtu)?;
        if how != Use::Beside {
            self.check_free(netlink, &link, how)?;
        }
        // Last: that it comes up may be worth waiting for, all else is not.
        if !link.is_up {
            return Err(UplinkError::Down {
                nic: self.name.clone(),
            });
        }
        Ok(link)
    }

    /// The interface, if it would do; it may be down, and somebody else's.
    pub(super) fn find_down(
        &self,
        netlink: &mut Netlink,
        mtu: Option<u16>,
    ) -> Result<Link, UplinkError> {
        let found = netlink.link(&self.name);
        let link = found.map_err(UplinkError::io("look up the interface", &self.name))?;
        let link = link.ok_or_else(|| UplinkError::Missing {
            nic: self.name.clone(),
            place: self.place(),
        })?;
        self.check(&link, mtu)?;
        Ok(link)
    }

    fn place(&self) -> String {
        let netns = self.netns.as_ref();
        netns.map_or_else(String::new, |name| format!(" in netns {name}"))
    }

    fn check(&self, link: &Link, mtu: Option<u16>) -> Result<(), UplinkError> {
        let nic = || self.name.clone();
        // A loopback interface has another link layer type.
        if !link.is_ethernet {
            return Err(UplinkError::NotEthernet { nic: nic() });
        }
        match mtu {
            Some(mtu) if u32::from(mtu) > link.mtu => Err(UplinkError::Mtu {
                nic: nic(),
                mtu,
                largest: link.mtu,
            }),
            _ => Ok(()),
        }
    }

    /// Who else has it. What this does not see, the kernel refuses.
    fn check_free(&self, netlink: &mut Netlink, nic: &Link, how: Use) -> Result<(), UplinkError> {
        let links = netlink.links();
        let links = links.map_err(UplinkError::io("list the interfaces", &self.name))?;
        if let Some(index) = nic.controller {
            let controller = links.iter().find(|link| link.index == index);
            return Err(UplinkError::Enslaved {
                nic: self.name.clone(),
                controller: controller.map_or_else(|| format!("if{index}"), |c| c.name.clone()),
            });
        }
        let sharer =
            |link: &&Link| link.lower == Some(nic.index) && SHARERS.contains(&link.kind.as_str());
        match links.iter().find(sharer) {
            Some(user) if how == Use::Exclusive => Err(self.busy(&user.name)),
            _ => Ok(()),
        }
    }

    pub(super) fn busy(&self, user: &str) -> UplinkError {
        UplinkError::Busy {
            nic: self.name.clone(),
            user: user.to_owned(),
        }
    }
}
