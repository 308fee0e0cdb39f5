//! The key `trust_filters` of networks and ports: whether guests may choose what comes by their macvtaps.
use super::{
    section::Section,
    value::{self, Wrong},
};

/// Called after libvirt's trustGuestRxFilters.
pub(super) const KEY: &str = "trust_filters";

/// What the section says, which is of guests with macvtaps of their own or is not.
pub(super) fn read(section: &mut Section<'_, '_, '_>, has_macvtaps: bool) -> Option<bool> {
    let trusts = section.get(KEY, value::boolean);
    if trusts == Some(true) && !has_macvtaps {
        let wrong = Wrong::new(
            "only a guest with a macvtap of its own has a filter to choose: our switch delivers all groups, and what is for any address",
            "write attach = \"macvtap\" in the network's section [uplink], or remove trust_filters",
        );
        section.problem(KEY, wrong);
    }
    trusts
}
