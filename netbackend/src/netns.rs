//! Doing something in another network namespace.
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns, unshare},
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    thread,
};

/// Where `ip netns` keeps its names.
pub(crate) const NAMES: &str = "/run/netns";

/// Why the namespace cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetnsError {
    #[error("network namespace {name} cannot be opened at {}: {source} (make it with `ip netns add {name}`)", path.display())]
    Missing {
        name: String,
        path: PathBuf,
        source: io::Error,
    },
    #[error("network namespace {name} cannot be entered now: {source} (allow netbackend more open files with `ulimit -n` or LimitNOFILE=, and to read {})", path.display())]
    Unavailable {
        name: String,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "entering network namespace {0} is not permitted (netbackend needs CAP_SYS_ADMIN for that: run it as root)"
    )]
    NotPermitted(String),
    #[error("start a thread for network namespace {name}: {source}")]
    Thread { name: String, source: io::Error },
}

impl From<NetnsError> for io::Error {
    fn from(error: NetnsError) -> Self {
        Self::other(error)
    }
}

/// Does `work` in the namespace `name`, or here without one.
///
/// A namespace is entered by a thread, and a thread that has done so is of no further use.
pub(crate) fn within<T, E>(
    name: Option<&str>,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E>
where
    T: Send,
    E: From<NetnsError> + Send,
{
    let Some(name) = name else {
        return work();
    };
    let broken = |source| NetnsError::Thread {
        name: name.to_owned(),
        source,
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into());
        let thread = thread.spawn_scoped(scope, || {
            enter(name)?;
            work()
        });
        let panicked = || Err(broken(io::Error::other("it panicked")).into());
        thread
            .map_err(broken)?
            .join()
            .unwrap_or_else(|_| panicked())
    })
}

fn enter(name: &str) -> Result<(), NetnsError> {
    let path = PathBuf::from(NAMES).join(name);
    let namespace = File::open(&path).map_err(|source| failed(name, &path, source))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
        Errno::EPERM => NetnsError::NotPermitted(name.to_owned()),
        errno => failed(name, &path, errno.into()),
    })
}

/// Only some errors say that there is no such namespace: others would have all that is in it taken for gone.
fn failed(name: &str, path: &Path, source: io::Error) -> NetnsError {
    let (name, path) = (name.to_owned(), path.to_owned());
    match source.raw_os_error().map(Errno::from_raw) {
        // The last: a file that is no namespace.
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::EINVAL) => {
            NetnsError::Missing { name, path, source }
        }
        _ => NetnsError::Unavailable { name, path, source },
    }
}

/// Gives this thread, which must be in a namespace of its own by [`within`], that namespace's /sys: it shows the interfaces of
/// the namespace that it was mounted in.
pub(crate) fn mount_sysfs() -> io::Result<()> {
    use nix::mount::{MsFlags, mount};
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    // What is mounted from here on is this thread's only.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some("sysfs"), "/sys", Some("sysfs"), flags, none)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_exist_is_missing() {
        let failed = |errno: Errno| failed("n", Path::new("/run/netns/n"), errno.into());
        for errno in [Errno::ENOENT, Errno::ENOTDIR, Errno::EINVAL] {
            assert!(matches!(failed(errno), NetnsError::Missing { .. }));
        }
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EACCES] {
            assert!(matches!(failed(errno), NetnsError::Unavailable { .. }));
        }
    }
}
