//! Where the vhost-user socket is.
use anyhow::Context;
use nix::unistd::mkdtemp;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A private directory with the socket.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn make() -> anyhow::Result<Self> {
        let template = std::env::temp_dir().join("netbackend-XXXXXX");
        // A name of its own, mode 0700: a process that was killed leaves its directory behind, and process ids come round.
        let path = mkdtemp(&template)
            .with_context(|| format!("make a directory like {}", template.display()))?;
        Ok(Self(path))
    }

    /// Where the socket is.
    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("vhost-user.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let gone = fs::remove_file(self.socket()).and_then(|()| fs::remove_dir(&self.0));
        if let Err(error) = gone {
            tracing::debug!(%error, path = %Path::display(&self.0), "remove a directory");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn directories_are_private_and_never_in_the_way_of_each_other() {
        // The first is one that was left behind.
        let left = std::mem::ManuallyDrop::new(Directory::make().unwrap());
        let next = Directory::make().unwrap();
        assert_ne!(left.0, next.0);
        let mode = fs::metadata(&next.0).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o700);
        fs::remove_dir(&left.0).unwrap();
    }
}
