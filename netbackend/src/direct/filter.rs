//! What a guest receives by its macvtap, as far as it is trusted to choose.
use super::macvtap::Macvtap;
use crate::uplink::Wanted;
use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Weak},
};
use switch::MacAddr;

/// The receive filter of a macvtap, also of the one that is made after its NIC has gone and returned. Afresh it lets frames to one address
/// and to all groups through. When the macvtap is gone for good nothing more comes, and nothing is refused.
#[derive(Debug)]
pub struct Filter {
    /// It goes with its server, not with this.
    macvtap: Weak<Macvtap>,
    takes_all_addresses: bool,
}

impl Filter {
    pub(super) fn new(macvtap: &Arc<Macvtap>) -> Self {
        Self {
            macvtap: Arc::downgrade(macvtap),
            takes_all_addresses: macvtap.takes_all_addresses(),
        }
    }

    /// Whether frames come to whatever address they are for.
    pub fn takes_all_addresses(&self) -> bool {
        self.takes_all_addresses
    }

    /// The one address of which frames come.
    ///
    /// # Errors
    /// Another macvtap on the same NIC has it.
    pub fn set_address(&mut self, address: [u8; 6]) -> io::Result<()> {
        self.want(|wanted| wanted.address = Some(MacAddr(address)))
    }

    /// The groups of which frames come; none: all.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_groups(&mut self, groups: Option<&BTreeSet<[u8; 6]>>) -> io::Result<()> {
        self.want(|wanted| wanted.groups = groups.cloned())
    }

    /// Has the NIC take every frame of the wire. Of those to other addresses a macvtap is handed none, except in mode passthru.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_promiscuous(&mut self, promiscuous: bool) -> io::Result<()> {
        self.want(|wanted| wanted.promiscuous = promiscuous)
    }

    /// As it was afresh, as far as that can be had.
    pub fn restore(&mut self) {
        if let Some(macvtap) = self.macvtap.upgrade() {
            macvtap.want_nothing();
        }
    }

    fn want(&self, change: impl FnOnce(&mut Wanted)) -> io::Result<()> {
        let macvtap = self.macvtap.upgrade();
        macvtap.map_or(Ok(()), |macvtap| macvtap.want(change))
    }
}
