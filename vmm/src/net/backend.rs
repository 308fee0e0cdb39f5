//! What serves a NIC's rings: somebody behind a socket, or the kernel.
use super::{
    error::SessionError,
    record::LinkRecord,
    session::{Session, Start},
    vhost_net::VhostNet,
};
use crate::memory::GuestRam;
use netbackend::direct::Bare;
use std::{fmt, os::unix::net::UnixStream, path::PathBuf, sync::Arc};
use vmm_sys_util::eventfd::EventFd;

/// Where a back-end is to be had.
#[derive(Debug, Clone)]
pub enum Target {
    /// A vhost-user back-end behind this socket.
    Socket(PathBuf),
    /// The kernel's vhost-net, with the queues of this macvtap behind it.
    VhostNet(Arc<Bare>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::VhostNet(_) => f.write_str("vhost-net"),
        }
    }
}

/// A back-end that is there.
#[derive(Debug)]
pub(super) enum Backend {
    User(Box<Session>),
    Kernel(VhostNet),
}

/// What a back-end may say, and where.
#[derive(Debug)]
pub(super) enum Ends {
    /// The connection, of which the end is to be waited for, and where news come.
    User {
        stream: Arc<UnixStream>,
        news: Option<Arc<UnixStream>>,
    },
    /// The macvtap, of which carrier and queues may change, and where the kernel tells that it cannot use a ring.
    Kernel {
        macvtap: Arc<Bare>,
        errors: Arc<EventFd>,
    },
}

impl Backend {
    pub(super) fn connect(
        target: &Target,
        pairs: u16,
        memory: &GuestRam,
    ) -> Result<Self, SessionError> {
        Ok(match target {
            Target::Socket(path) => Self::User(Box::new(Session::connect(path, pairs)?)),
            Target::VhostNet(macvtap) => Self::Kernel(VhostNet::open(macvtap, pairs, memory)?),
        })
    }

    pub(super) fn features(&self) -> u64 {
        match self {
            Self::User(session) => session.features(),
            Self::Kernel(kernel) => kernel.features(),
        }
    }

    pub(super) fn ends(&self) -> Ends {
        match self {
            Self::User(session) => Ends::User {
                stream: session.stream(),
                news: session.news(),
            },
            Self::Kernel(kernel) => kernel.ends(),
        }
    }

    /// Whether that is its connection.
    pub(super) fn is_behind(&self, stream: &Arc<UnixStream>) -> bool {
        matches!(self, Self::User(session) if Arc::ptr_eq(&session.stream(), stream))
    }

    pub(super) fn take_news(&mut self) -> Result<(), SessionError> {
        match self {
            Self::User(session) => session.take_news(),
            Self::Kernel(_) => Ok(()),
        }
    }

    /// Whether there is a network behind it.
    pub(super) fn carries(&self) -> bool {
        match self {
            Self::User(session) => session.carries(),
            Self::Kernel(kernel) => kernel.carries(),
        }
    }

    /// Whether it moves frames to and from a macvtap that there is no more: another one has taken its place.
    pub(super) fn is_outdated(&self) -> bool {
        matches!(self, Self::Kernel(kernel) if kernel.is_outdated())
    }

    /// Has the kernel stop if it cannot use a ring of the guest; whether that is so.
    pub(super) fn take_fault(&mut self) -> bool {
        match self {
            // Keeps that to itself.
            Self::User(_) => false,
            Self::Kernel(kernel) => kernel.take_fault(),
        }
    }

    /// Tells everything in `record`, and lets the enabled rings run.
    pub(super) fn start(
        &mut self,
        record: &LinkRecord,
        memory: &GuestRam,
        start: Start,
    ) -> Result<(), SessionError> {
        match self {
            Self::User(session) => session.start(record, memory, start),
            Self::Kernel(kernel) => kernel.start(record, memory, start),
        }
    }

    pub(super) fn enable(&mut self, index: usize, enabled: bool) -> Result<(), SessionError> {
        match self {
            Self::User(session) => session.enable(index, enabled),
            Self::Kernel(kernel) => kernel.enable(index, enabled),
        }
    }

    pub(super) fn set_call(&mut self, index: usize, call: &EventFd) -> Result<(), SessionError> {
        match self {
            Self::User(session) => session.set_call(index, call),
            Self::Kernel(kernel) => kernel.set_call(index, call),
        }
    }

    /// Afterwards it touches guest memory no more.
    pub(super) fn stop(&mut self, record: &LinkRecord) -> Result<(), SessionError> {
        match self {
            Self::User(session) => session.stop(record),
            Self::Kernel(kernel) => kernel.stop(record),
        }
    }
}
