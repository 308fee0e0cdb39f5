//! What comes to a guest by its macvtap.
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which frames come to a port whose guest may choose them; by default those to its own address and to all groups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PortFilter {
    /// The one address of which frames come, like 52:54:00:00:00:02; none: the port's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The groups of which frames come, [`PortFilter::MOST_GROUPS`] at most; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeSet<String>>,
    /// The NIC takes every frame of the wire. Of those to other addresses a macvtap is handed none, except in mode passthrough.
    pub promiscuous: bool,
}

impl PortFilter {
    /// Groups at most: whoever wants more takes all. The kernel's filter of a macvtap has 256 bits, and more of them let through what
    /// nobody wants anyway.
    pub const MOST_GROUPS: usize = 64;

    /// Whether it is that of a port whose guest has chosen nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
