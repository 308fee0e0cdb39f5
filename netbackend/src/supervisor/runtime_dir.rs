//! The runtime directory: one daemon at a time, nobody else's.
use super::parent;
use anyhow::{Context, bail};
use nix::{
    fcntl::{Flock, FlockArg},
    unistd::Uid,
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
};

/// A runtime directory that this process has locked.
#[derive(Debug)]
pub(super) struct RuntimeDir {
    path: PathBuf,
    /// Made by us, for removal.
    made: Mutex<Vec<PathBuf>>,
    _lock: Flock<File>,
}

impl RuntimeDir {
    /// Makes the directory if it is missing, and locks it.
    pub(super) fn claim(path: &Path) -> anyhow::Result<Self> {
        make_dir(path).with_context(|| {
            format!(
                "make the runtime directory {} (choose one that you may write with --runtime-dir)",
                path.display()
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            made: Mutex::default(),
            _lock: lock(path)?,
        })
    }

    /// Makes the directory for the sockets of a network.
    pub(super) fn make_network_dir(&self, network: &str) -> anyhow::Result<()> {
        let path = self.path.join(network);
        make_dir(&path).with_context(|| format!("make the directory {}", path.display()))?;
        if let Ok(mut made) = self.made.lock()
            && !made.contains(&path)
        {
            made.push(path);
        }
        Ok(())
    }

    /// Removes the directory of a network that is gone.
    pub(super) fn remove_network_dir(&self, network: &str) {
        let path = self.path.join(network);
        if let Ok(mut made) = self.made.lock()
            && made.contains(&path)
        {
            made.retain(|other| *other != path);
            // Stays if something else is in it.
            drop(fs::remove_dir(path));
        }
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        for path in self.made.get_mut().into_iter().flatten() {
            // Stays if something else is in it.
            drop(fs::remove_dir(path));
        }
    }
}

/// Others may enter what root makes (its sockets have modes of their own); a user's is private.
fn make_dir(path: &Path) -> anyhow::Result<()> {
    let user = Uid::effective();
    let mode = if user.is_root() { 0o755 } else { 0o700 };
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(parent(path))?;
    match DirBuilder::new().mode(mode).create(path) {
        // Once more, as the umask has its say in the above.
        Ok(()) => return Ok(fs::set_permissions(path, Permissions::from_mode(mode))?),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    // It may be in /tmp, where anybody may have made it: whoever owns it could replace our sockets.
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        bail!("it exists and is not a directory");
    }
    if found.uid() != user.as_raw() {
        bail!("it belongs to user {}, not to {user}", found.uid());
    }
    Ok(())
}

fn lock(runtime_dir: &Path) -> anyhow::Result<Flock<File>> {
    let path = runtime_dir.join("lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(&path)
        .with_context(|| format!("open the lock file {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)
                .and_then(|()| writeln!(lock, "{}", std::process::id()))
                .with_context(|| format!("write the lock file {}", path.display()))?;
            Ok(lock)
        }
        Err((mut file, nix::Error::EWOULDBLOCK)) => {
            let mut pid = String::new();
            // Only for the message.
            drop(file.read_to_string(&mut pid));
            bail!(
                "another netbackend (pid {}) runs in {} (stop it, or choose another --runtime-dir)",
                pid.trim(),
                runtime_dir.display()
            )
        }
        Err((_, error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}
