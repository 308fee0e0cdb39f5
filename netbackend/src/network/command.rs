//! Commands from control threads to the datapath, each acknowledged.
//!
//! A control thread posts a command, wakes a worker and waits for the answer. A worker takes
//! commands only between bursts, when no burst holds guest memory: its answer says that it uses nothing of
//! what the command took away any more (the quiesce that GET_VRING_BASE, SET_MEM_TABLE and
//! REM_MEM_REG need before their reply). How a command reaches every worker that it concerns is in `mailbox`.
use super::{
    counters::PortShared,
    datapath::{Limits, MovedSource, SharedRing},
};
use control::PortPolicy;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};
use switch::{MacAddr, PortConfig, PortId};
use thiserror::Error;
use virtqueue::{MemoryMap, QueueConfig, QueueFault, RingPosition};

/// Index of a ring of a port, as vhost-user counts: receive rings are even, transmit rings odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RingId {
    pub(super) port: PortId,
    pub(super) index: u16,
}

/// How a front-end announces work.
#[derive(Debug, Clone)]
pub(super) enum Kick {
    /// It never does: the ring must be polled (VHOST_USER_VRING_NOFD_MASK).
    Polled,
    /// By this fd.
    Fd(Arc<File>),
}

/// Everything a ring needs to run.
#[derive(Debug, Clone)]
pub(super) struct RingStart {
    pub(super) memory: Arc<MemoryMap>,
    pub(super) config: QueueConfig,
    pub(super) kick: Kick,
    pub(super) call: Option<Arc<File>>,
    pub(super) err: Option<Arc<File>>,
    pub(super) enabled: bool,
}

/// What the driver behind a port negotiated about frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PortOffloads {
    /// Bytes of `struct virtio_net_hdr` in its rings: 12, or 10 without VERSION_1 and MRG_RXBUF.
    pub(super) header_len: u32,
    /// VIRTIO_NET_F_MRG_RXBUF
    pub(super) mergeable: bool,
    /// VIRTIO_NET_F_CSUM: it may send partial checksums
    pub(super) tx_checksum: bool,
    /// VIRTIO_NET_F_HOST_TSO4
    pub(super) tx_tso4: bool,
    /// VIRTIO_NET_F_HOST_TSO6
    pub(super) tx_tso6: bool,
    /// VIRTIO_NET_F_HOST_ECN
    pub(super) tx_ecn: bool,
    /// VIRTIO_NET_F_HOST_UFO
    pub(super) tx_ufo: bool,
    /// VIRTIO_NET_F_HOST_USO
    pub(super) tx_uso: bool,
    /// VIRTIO_NET_F_GUEST_CSUM: it takes partial checksums
    pub(super) rx_checksum: bool,
    /// VIRTIO_NET_F_GUEST_TSO4
    pub(super) rx_tso4: bool,
    /// VIRTIO_NET_F_GUEST_TSO6
    pub(super) rx_tso6: bool,
    /// VIRTIO_NET_F_GUEST_ECN
    pub(super) rx_ecn: bool,
    /// VIRTIO_NET_F_GUEST_UFO
    pub(super) rx_ufo: bool,
    /// VIRTIO_NET_F_GUEST_USO4
    pub(super) rx_uso4: bool,
    /// VIRTIO_NET_F_GUEST_USO6
    pub(super) rx_uso6: bool,
    /// The gateway: in its headers `hdr_len`, which nobody may rely on, is the port that a frame came in by.
    pub(super) wants_source: bool,
    /// The gateway: frames that it has no room for stay at their source for a while.
    pub(super) waited_for: bool,
}

/// What a new port is made of.
#[derive(Debug, Clone)]
pub(super) enum NewCarrier {
    /// Rings come later; this many at most.
    VhostUser {
        rings: u16,
        /// Where the workers meet over receive rings, by queue pair; empty: there is one worker only.
        receive: Arc<[SharedRing]>,
    },
    /// One non-blocking file per queue.
    Tap(Vec<Arc<File>>),
}

/// What the datapath is asked to do.
#[derive(Debug, Clone)]
pub(super) enum Command {
    /// A new port.
    AddPort {
        port: PortId,
        config: PortConfig,
        policy: PortPolicy,
        limits: Limits,
        carrier: NewCarrier,
        shared: Arc<PortShared>,
    },
    /// From now on two ports exchange frames with each other only.
    Join([PortId; 2]),
    /// Forget a port, its rings and what was learned on it.
    RemovePort(PortId),
    /// The uplink's host has another address now.
    SetUplinkAddress { port: PortId, mac: MacAddr },
    /// Tell everybody that a station is behind this port now.
    Announce { port: PortId, mac: MacAddr },
    /// Negotiated features of a port; running rings take them over.
    SetOffloads {
        port: PortId,
        offloads: PortOffloads,
    },
    /// Run a ring; one that runs already is replaced.
    StartRing { ring: RingId, start: Box<RingStart> },
    /// Stop a ring; the answer is where it stands.
    StopRing(RingId),
    /// Let running rings go on, from where they stand, with another map, addresses or ring features.
    Reconfigure {
        port: PortId,
        memory: Arc<MemoryMap>,
        rings: Vec<(u16, QueueConfig)>,
    },
    /// Use or do not use a ring for frames.
    EnableRing { ring: RingId, enabled: bool },
    /// Another call fd for a running ring.
    SetCall {
        ring: RingId,
        call: Option<Arc<File>>,
    },
    /// Another error fd for a running ring.
    SetErr {
        ring: RingId,
        err: Option<Arc<File>>,
    },
    /// The front-end is gone: forget its rings and memory.
    Disconnect(PortId),
    /// End the datapath.
    Stop,
}

/// What the datapath answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Done.
    Done,
    /// Done; the ring stood here.
    Position(RingPosition),
}

/// Why the datapath refused.
#[derive(Debug, Error)]
pub(super) enum CommandError {
    /// The ring cannot be set up.
    #[error("set up ring {index}: {fault}")]
    Ring { index: u16, fault: QueueFault },
    /// The kick fd cannot be watched.
    #[error("watch an fd of the port: {0}")]
    Watch(#[source] io::Error),
    /// The switch refused the port.
    #[error(transparent)]
    Port(#[from] switch::PortError),
    /// The port or ring is not there.
    #[error("no such port or ring")]
    NotFound,
    /// The datapath has ended.
    #[error("the datapath has ended")]
    Gone,
}

/// What a worker is sent.
#[derive(Debug)]
pub(super) enum Letter {
    /// By a control thread.
    Command(Envelope),
    /// By another worker: a source to serve from now on.
    Source(MovedSource),
}

/// A posted command and where its answer goes.
#[derive(Debug)]
pub(super) struct Envelope {
    command: Command,
    answer: mpsc::SyncSender<Result<Answer, CommandError>>,
}

impl Envelope {
    /// Hands the command out together with the way to answer it.
    pub(super) fn open(self) -> (Command, impl FnOnce(Result<Answer, CommandError>)) {
        let Self { command, answer } = self;
        // The asking thread cannot be gone: it waits without a limit. If it is, nobody cares.
        (command, move |result| drop(answer.send(result)))
    }
}

/// An answer to come.
#[derive(Debug)]
pub(super) struct Pending(mpsc::Receiver<Result<Answer, CommandError>>);

impl Pending {
    /// Waits for it.
    pub(super) fn wait(self) -> Result<Answer, CommandError> {
        self.0.recv().unwrap_or(Err(CommandError::Gone))
    }
}

/// Where one worker finds what it is sent.
#[derive(Debug)]
pub(super) struct Inbox {
    posted: Mutex<Posted>,
    /// Set while something is posted: what the worker looks at between bursts.
    pending: AtomicBool,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct Posted {
    letters: VecDeque<Letter>,
    closed: bool,
}

impl Inbox {
    /// An empty inbox.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            posted: Mutex::default(),
            pending: AtomicBool::new(false),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
        })
    }

    /// Posts a command.
    pub(super) fn post(&self, command: Command) -> Result<Pending, CommandError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let letter = Letter::Command(Envelope { command, answer });
        self.send(letter).map_err(|_| CommandError::Gone)?;
        Ok(Pending(answered))
    }

    /// Posts a command and waits for the answer.
    pub(super) fn call(&self, command: Command) -> Result<Answer, CommandError> {
        self.post(command)?.wait()
    }

    /// Posts a letter; gives it back if nobody is there to read it.
    pub(super) fn send(&self, letter: Letter) -> Result<(), Box<Letter>> {
        let mut posted = self.lock();
        if posted.closed {
            return Err(Box::new(letter));
        }
        posted.letters.push_back(letter);
        // Pairs with the acquire load in `is_pending`; the lock orders the rest. The wake-up is
        // written under the lock as well: written later it could outlive the taking of what it
        // announces, and keep the worker awake for ever.
        self.pending.store(true, Ordering::Release);
        // Cannot fail short of 2^64 unread wake-ups.
        let _ = self.wake.write(1);
        Ok(())
    }

    /// Whether something is posted: one load.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Takes everything posted so far.
    pub(super) fn take(&self) -> VecDeque<Letter> {
        let mut posted = self.lock();
        self.pending.store(false, Ordering::Release);
        // Not an error: several posts may have been taken with one wake-up.
        let _ = self.wake.read();
        std::mem::take(&mut posted.letters)
    }

    fn lock(&self) -> MutexGuard<'_, Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses everything from now on; what is posted is dropped, which its senders notice.
    pub(super) fn close(&self) {
        let mut posted = self.lock();
        posted.closed = true;
        posted.letters.clear();
    }
}

impl AsFd for Inbox {
    /// Readable when something is posted.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
