//! The keys of a port that say what it may do.
use super::{
    NetworkConfig,
    section::Section,
    value::{self, LAST_VLAN, Wrong},
};
use control::{Mode, PortPolicy};
use switch::MacAddr;

pub(super) const KEYS: &[&str] = &[
    "anti_spoofing",
    "addresses",
    "isolated",
    "storm_limit",
    "vlan",
    "trunk",
    "limit_from_guest",
    "limit_to_guest",
];

/// Frames per second at most: more than any port carries.
const MOST_FRAMES: u32 = 1_000_000_000;

/// Reads the policy of a port that is an uplink or not and has this fixed address.
pub(super) fn read(
    section: &mut Section<'_, '_, '_>,
    network: &NetworkConfig,
    uplink: bool,
    mac: Option<MacAddr>,
) -> PortPolicy {
    let policy = PortPolicy {
        anti_spoofing: section
            .get("anti_spoofing", value::boolean)
            .unwrap_or(false),
        addresses: section
            .get("addresses", value::addresses)
            .unwrap_or_default(),
        isolated: section.get("isolated", value::boolean).unwrap_or(false),
        storm_limit: section.get("storm_limit", value::integer(1, MOST_FRAMES)),
        vlan: section.get("vlan", value::integer(1, LAST_VLAN)),
        trunk: section.get("trunk", value::vlans).unwrap_or_default(),
        limit_from_guest: section.get("limit_from_guest", value::bit_rate),
        limit_to_guest: section.get("limit_to_guest", value::bit_rate),
    };
    if policy.anti_spoofing && mac.is_none() {
        let wrong = Wrong::new(
            "anti-spoofing needs to know whose frames are genuine",
            "give the port a fixed address with mac = \"52:54:00:…\"",
        );
        section.problem("anti_spoofing", wrong);
    }
    if !policy.addresses.is_empty() && !policy.anti_spoofing {
        let wrong = Wrong::new(
            "a list of addresses is only looked at by anti-spoofing",
            "add anti_spoofing = true, or remove addresses",
        );
        section.problem("addresses", wrong);
    }
    if policy.isolated && uplink {
        let wrong = Wrong::new(
            "isolated ports reach the uplink; the uplink itself cannot be one",
            "remove isolated or uplink",
        );
        section.problem("isolated", wrong);
    }
    if policy.isolated && !matches!(network.mode, Mode::Bridge | Mode::Nat) {
        let wrong = Wrong::new(
            format!(
                "a {} network's guests do not reach each other here anyway",
                network.mode
            ),
            "remove isolated, or set mode = \"bridge\"",
        );
        section.problem("isolated", wrong);
    }
    if network.attach.is_some() {
        refuse_vlans(section);
    }
    if let Some(vlan) = policy.vlan
        && policy
            .trunk
            .iter()
            .any(|[first, last]| (first..=last).contains(&&vlan))
    {
        let wrong = Wrong::new(
            format!("VLAN {vlan} is to be without tag (vlan) and with one (trunk)"),
            format!("take {vlan} out of trunk, or remove vlan"),
        );
        section.problem("trunk", wrong);
    }
    policy
}

/// Between macvtaps no switch of ours sees a tag.
fn refuse_vlans(section: &mut Section<'_, '_, '_>) {
    for key in ["vlan", "trunk"] {
        if section.has(key) {
            let wrong = Wrong::new(
                "the kernel switches between the guests of this network (attach = \"macvtap\"), and its macvtaps have no VLANs of their own",
                format!(
                    "remove {key}, write vlan = ID in the section [uplink] (for all guests), or remove attach"
                ),
            );
            section.problem(key, wrong);
        }
    }
}
