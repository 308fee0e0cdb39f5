//! The host's own DNS servers, followed when they change.
use nat::services::dns::ResolvConf;
use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

/// Where a host says which servers it asks (`resolv.conf(5)`).
const PATH: &str = "/etc/resolv.conf";
/// Between two looks at the file at least.
const PAUSE: Duration = Duration::from_secs(2);

/// What tells one state of the file from the next.
type Stamp = (u64, u64, Option<SystemTime>);

/// What a network takes over from its host, because its settings leave that open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Follows {
    pub(super) servers: bool,
    pub(super) search: bool,
}

impl Follows {
    /// The resolver to ask, if one is to be.
    pub(super) fn resolver(self) -> Option<Resolver> {
        (self.servers || self.search).then(Resolver::new)
    }
}

/// The file as it was read last.
#[derive(Debug)]
pub(super) struct Resolver {
    path: PathBuf,
    stamp: Option<Stamp>,
    looked: Option<Duration>,
}

impl Resolver {
    fn new() -> Self {
        Self::of(PATH.into())
    }

    fn of(path: PathBuf) -> Self {
        Self {
            path,
            stamp: None,
            looked: None,
        }
    }

    /// What the file says, if that may have changed since it was asked last. To be asked while there is traffic: a silent network
    /// needs no servers.
    pub(super) fn changed(&mut self, now: Duration) -> Option<ResolvConf> {
        if self.looked.is_some_and(|looked| now < looked + PAUSE) {
            return None;
        }
        self.looked = Some(now);
        let stamp = self.stamp();
        if stamp.is_none() || stamp == self.stamp {
            return None;
        }
        self.stamp = stamp;
        let text = fs::read_to_string(&self.path).ok()?;
        Some(ResolvConf::parse(&text))
    }

    fn stamp(&self) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(&self.path).ok()?;
        Some((found.ino(), found.size(), found.modified().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_noticed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let mut resolver = Resolver::of(path.clone());
        assert_eq!(resolver.changed(Duration::ZERO), None);
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        // Not so soon after the last look.
        assert_eq!(resolver.changed(Duration::from_secs(1)), None);
        let found = resolver.changed(Duration::from_secs(2)).unwrap();
        assert_eq!(found.servers, ["192.0.2.1:53".parse().unwrap()]);
        assert_eq!(resolver.changed(Duration::from_secs(4)), None);
        // As resolvconf(8) and its like do it: a new file in place of the old one.
        let new = dir.path().join("new");
        fs::write(&new, "search example.org\nnameserver ::1\n").unwrap();
        fs::rename(&new, &path).unwrap();
        let found = resolver.changed(Duration::from_secs(6)).unwrap();
        assert_eq!(found.servers, ["[::1]:53".parse().unwrap()]);
        assert_eq!(found.search.len(), 1);
    }
}
