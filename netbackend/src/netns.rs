//! Doing something in another network namespace.
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns, unshare},
};
use std::{fs::File, io, path::PathBuf, thread};

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
    #[error(
        "entering network namespace {0} is not permitted (netbackend needs CAP_SYS_ADMIN for that: run it as root)"
    )]
    NotPermitted(String),
    #[error("start a thread for network namespace {name}: {source}")]
    Thread { name: String, source: io::Error },
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
    let missing = |source| NetnsError::Missing {
        name: name.to_owned(),
        path: path.clone(),
        source,
    };
    let namespace = File::open(&path).map_err(missing)?;
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
        Errno::EPERM => NetnsError::NotPermitted(name.to_owned()),
        errno => missing(errno.into()),
    })
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
