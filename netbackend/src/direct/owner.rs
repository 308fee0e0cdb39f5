//! Whose a macvtap is that no daemon has made: it stands in its alias, so that the next process finds what one has left behind.
use crate::{
    process::Process,
    uplink::{self, Identity, UplinkError},
};
use std::{fmt, fs, os::unix::fs::MetadataExt, str::FromStr};

/// Aliases of what processes make for themselves start with this, as if it were a runtime directory.
const PREFIX: &str = "direct-";

/// Whose an interface is, as it stands in its alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    process: Process,
    /// Inode of the PID namespace in which the process has its id: several containers may share the host's network.
    namespace: u64,
}

impl Owner {
    /// This process.
    pub(super) fn own() -> Option<Self> {
        Some(Self {
            process: Process::own()?,
            namespace: fs::metadata("/proc/self/ns/pid").ok()?.ino(),
        })
    }

    /// Removes what processes that have ended could not remove themselves. Those of other PID namespaces cannot be looked up from
    /// here, nor can those of former versions, whose aliases do not tell the namespace: what is theirs stays.
    pub(super) fn remove_stale(self) -> Result<(), UplinkError> {
        uplink::remove_by_alias(|alias| {
            let owner = Identity::owner(alias).and_then(|owner| owner.parse::<Self>().ok());
            owner
                .is_some_and(|owner| owner.namespace == self.namespace && !owner.process.is_alive())
        })
        .map(drop)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-{}", self.process, self.namespace)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.strip_prefix(PREFIX).ok_or(())?;
        let (process, namespace) = text.rsplit_once('-').ok_or(())?;
        Ok(Self {
            process: process.parse()?,
            namespace: namespace.parse().map_err(drop)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn owners_are_read_back_from_aliases() {
        let own = Owner::own().unwrap();
        let identity = Identity::new(Path::new(&own.to_string()), "eth1", "52:54:00:00:00:01");
        let owner = Identity::owner(identity.alias()).unwrap();
        assert_eq!(owner.parse(), Ok(own));
        assert!(own.process.is_alive());
    }

    #[test]
    fn aliases_of_former_versions_have_no_owner() {
        for owner in ["direct-12-345", "/run/netbackend", "direct-1-2-x"] {
            assert_eq!(owner.parse::<Owner>(), Err(()), "{owner}");
        }
    }
}
