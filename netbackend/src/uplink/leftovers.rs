//! What a daemon that was killed has left behind.
use super::{claim::Claim, error::UplinkError, identity::is_ours, open_netlink};
use crate::{
    netlink::Link,
    netns::{self, NetnsError},
};
use std::{collections::BTreeSet, fs, path::Path};
use tracing::{info, warn};

/// Removes the interfaces that a former daemon of this runtime directory has made, in the daemon's own and in all named
/// namespaces (the configuration may have changed since).
pub(crate) fn remove(runtime_dir: &Path) {
    let is_ours = |alias: &str| is_ours(runtime_dir, alias);
    let names = fs::read_dir(netns::NAMES).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let names: BTreeSet<_> = names.map(Some).chain([None]).collect();
    let has_some = |netns: &Option<String>| {
        let found = netns::within(netns.as_deref(), || find(is_ours));
        !told(found).is_empty()
    };
    let names: Vec<_> = names.into_iter().filter(has_some).collect();
    if names.is_empty() {
        return;
    }
    // Until they are gone.
    let _claim = match Claim::take(runtime_dir) {
        Ok(claim) if claim.is_sure => claim,
        // They may be another daemon's, by a user that we do not know.
        Ok(_) => return warn!("interfaces that look left behind are left alone"),
        Err(error) => return warn!("interfaces that look left behind are left alone: {error}"),
    };
    for netns in names {
        let removed = netns::within(netns.as_deref(), || remove_by_alias(is_ours));
        for name in told(removed) {
            info!("removed interface {name}, left behind by a daemon that was killed");
        }
    }
}

/// What was found in a namespace; what was wrong there goes to the log.
fn told<T: Default>(found: Result<T, UplinkError>) -> T {
    match found {
        Ok(found) => return found,
        // Without the permission to look there was none to make any.
        Err(UplinkError::Namespace(NetnsError::NotPermitted(_) | NetnsError::Missing { .. })) => {}
        Err(error) => warn!(%error, "remove what a former daemon has left behind"),
    }
    T::default()
}

/// The interfaces of this thread's namespace whose aliases pass.
fn find(pass: impl Fn(&str) -> bool) -> Result<Vec<Link>, UplinkError> {
    let links = open_netlink("netlink")?.links();
    let mut links = links.map_err(UplinkError::io("list the interfaces", "netlink"))?;
    links.retain(|link| pass(&link.alias));
    Ok(links)
}

/// Removes the interfaces of this thread's namespace whose aliases pass; their names.
pub(crate) fn remove_by_alias(pass: impl Fn(&str) -> bool) -> Result<Vec<String>, UplinkError> {
    let mut netlink = open_netlink("netlink")?;
    let mut removed = Vec::new();
    for link in find(pass)? {
        // What is on top of it goes with it.
        netlink
            .delete(link.index)
            .map_err(UplinkError::io("remove the interface", &link.name))?;
        removed.push(link.name);
    }
    Ok(removed)
}
