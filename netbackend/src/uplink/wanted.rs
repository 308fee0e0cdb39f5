//! What a guest has chosen to receive by its own macvtap, kept for when that is made again.
use super::{Filter, MacvtapSpec, Uplink};
use anyhow::Context;
use std::{collections::BTreeSet, io};
use switch::MacAddr;

/// What a guest wants, whole; by default what comes to every guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// None: its first one.
    pub(crate) address: Option<MacAddr>,
    /// None: all.
    pub(crate) groups: Option<BTreeSet<[u8; 6]>>,
    pub(crate) promiscuous: bool,
}

impl Wanted {
    /// Makes a macvtap. It has the address that its guest wants from the start: its first one may be another's by now.
    pub(crate) fn make_macvtap(
        &self,
        spec: &MacvtapSpec,
    ) -> anyhow::Result<(Uplink, Option<Filter>)> {
        if *self == Self::default() {
            return Ok((Uplink::macvtap(spec)?, None));
        }
        let open = Uplink::macvtap(&MacvtapSpec {
            mac: spec.mac.map(|own| self.address.unwrap_or(own)),
            ..spec.clone()
        })?;
        let filter = Filter::new(&open, spec.mac).and_then(|mut filter| {
            self.apply(&mut filter)?;
            Ok(filter)
        });
        let filter = filter.context("filter what comes to the guest")?;
        Ok((open, Some(filter)))
    }

    /// Has a macvtap let that through. First what may be refused while all else works: another has the address.
    fn apply(&self, filter: &mut Filter) -> io::Result<()> {
        self.apply_address(filter)?;
        self.apply_rest(filter)
    }

    fn change(&self, before: &Self, filter: &mut Filter) -> io::Result<()> {
        let address = self.apply_address(filter);
        // One that could not be had before, either, is not in the way of the rest.
        if self.address != before.address {
            address?;
        }
        self.apply_rest(filter)
    }

    fn apply_address(&self, filter: &mut Filter) -> io::Result<()> {
        match self.address {
            Some(address) => filter.set_address(address.0),
            None => filter.set_own_address(),
        }
    }

    fn apply_rest(&self, filter: &mut Filter) -> io::Result<()> {
        filter.set_groups(self.groups.as_ref())?;
        filter.set_promiscuous(self.promiscuous)
    }

    /// Has a macvtap, which `filter` is of if it is known, let that through instead of what was wanted `before`. If that cannot be had,
    /// nothing changes.
    pub(crate) fn replace(
        &self,
        before: &Self,
        open: &Uplink,
        own: Option<MacAddr>,
        filter: &mut Option<Filter>,
    ) -> io::Result<()> {
        let known = filter.take().map_or_else(|| Filter::new(open, own), Ok);
        let changed = known.and_then(|mut known| {
            let applied = self.change(before, &mut known);
            if applied.is_err() {
                // What cannot be undone now is with the next change.
                drop(before.apply(&mut known));
            }
            *filter = Some(known);
            applied
        });
        match changed {
            // It is gone with its NIC, of which we are told next.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            changed => changed,
        }
    }
}
