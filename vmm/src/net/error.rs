//! Why there is no session with a back-end.
use std::{io, path::PathBuf};
use thiserror::Error;
use virtqueue::QueueFault;

/// Why a back-end cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Nothing is there.
    #[error(
        "there is no vhost-user socket {} (start the back-end first, or correct socket=)",
        .0.display()
    )]
    NoSocket(PathBuf),
    /// The socket is left over from a dead process.
    #[error(
        "nobody listens on vhost-user socket {} (a stale socket: start the back-end again)",
        .0.display()
    )]
    Stale(PathBuf),
    /// The socket may not be opened.
    #[error(
        "no permission for vhost-user socket {} (run as a user that may write to it)",
        .0.display()
    )]
    Permission(PathBuf),
    /// Somebody else is attached.
    #[error(
        "vhost-user socket {} does not answer (is another VM attached to it? one socket serves one NIC)",
        .0.display()
    )]
    Busy(PathBuf),
    /// Connecting failed otherwise.
    #[error("connecting to vhost-user socket {}: {error}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// An exchange failed.
    #[error("vhost-user back-end: {step}: {error}")]
    Protocol {
        /// What was asked.
        step: &'static str,
        /// What happened.
        error: vhost::Error,
    },
    /// The kernel's vhost-net cannot be opened.
    #[error("/dev/vhost-net: {error} ({remedy})")]
    NoVhostNet {
        /// What happened.
        error: io::Error,
        /// What helps.
        remedy: &'static str,
    },
    /// The kernel refused a request.
    #[error("vhost-net: {step}: {error}")]
    Kernel {
        /// What was asked.
        step: &'static str,
        /// What happened.
        error: vhost::Error,
    },
    /// Too old.
    #[error("the back-end does not offer VIRTIO_F_VERSION_1: it is too old for this VMM")]
    Legacy,
    /// Fewer queues than asked for.
    #[error("the back-end does not serve {0} queue pairs (lower queues=)")]
    Queues(u16),
    /// It came back with less than the guest relies on.
    #[error("the back-end no longer offers features {0:#x} that the guest negotiated")]
    Features(u64),
    /// The ring is not in guest memory.
    #[error("ring {index}: {fault}")]
    Ring {
        /// Which ring.
        index: usize,
        /// What is wrong with it.
        fault: QueueFault,
    },
    /// A descriptor could not be had.
    #[error("connection to the back-end: {0}")]
    Resources(#[from] io::Error),
    /// A guest memory region has no file, or an address is not in it.
    #[error("guest memory cannot be shared")]
    Memory,
}

impl SessionError {
    /// A back-end that restarts looks like this: it is worth another try.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            // Its socket may be there before its owner and mode are.
            Self::NoSocket(_)
                | Self::Stale(_)
                | Self::Permission(_)
                | Self::Busy(_)
                | Self::Protocol { .. }
        )
    }
}
