//! What a daemon that was killed has left behind.
use super::{error::UplinkError, identity::is_ours, open_netlink};
use crate::netns::{self, NetnsError};
use std::{collections::BTreeSet, fs, path::Path};
use tracing::{info, warn};

/// Removes the interfaces that a former daemon of this runtime directory has made, in the daemon's own and in all named
/// namespaces (the configuration may have changed since).
pub(crate) fn remove(runtime_dir: &Path) {
    let names = fs::read_dir(netns::NAMES).into_iter().flatten().flatten();
    let names: BTreeSet<_> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(Some)
        .chain([None])
        .collect();
    for netns in names {
        let is_ours = |alias: &str| is_ours(runtime_dir, alias);
        let removed = netns::within(netns.as_deref(), || remove_by_alias(is_ours));
        match removed {
            Ok(removed) => {
                for name in removed {
                    info!("removed interface {name}, left behind by a daemon that was killed");
                }
            }
            // Without the permission to look there was none to make any.
            Err(UplinkError::Namespace(
                NetnsError::NotPermitted(_) | NetnsError::Missing { .. },
            )) => {}
            Err(error) => warn!(%error, "remove what a former daemon has left behind"),
        }
    }
}

/// Removes the interfaces of this thread's namespace whose aliases pass; their names.
pub(crate) fn remove_by_alias(pass: impl Fn(&str) -> bool) -> Result<Vec<String>, UplinkError> {
    let mut netlink = open_netlink("netlink")?;
    let failed = |source| UplinkError::io("list the interfaces", "netlink")(source);
    let mut removed = Vec::new();
    for link in netlink.links().map_err(failed)? {
        if pass(&link.alias) {
            // What is on top of it goes with it.
            netlink
                .delete(link.index)
                .map_err(UplinkError::io("remove the interface", &link.name))?;
            removed.push(link.name);
        }
    }
    Ok(removed)
}
