//! A NIC's link to its back-end: connected at start, and again whenever the back-end comes back.
//!
//! # Theory of operation
//! Everything agreed with the guest is in a [`LinkRecord`]. Changes go to the record first and then
//! to the session, if there is one; a session that fails is dropped. A monitor thread waits for the
//! end of the session and then retries the whole handshake, not only the connection: a back-end that
//! accepts and dies must not count as reached. On success it replays the record, with each ring
//! resumed at its used index, and signals kicks and calls once, because the dead back-end may have
//! owed either. Only a back-end that stays away takes the guest's link down, or one that says that there is no network behind it.
//! The kernel's vhost-net does not go away; it tells of a ring that it cannot use, and its macvtap of the carrier. One that has been made
//! again is reached by a session of its own.
mod monitor;

use super::{
    backend::{Backend, Target},
    error::SessionError,
    record::LinkRecord,
    session::Start,
};
use crate::{limit::RateLimit, memory::GuestRam, virtio::Call};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// How long a back-end may be away before the guest sees the link go down. A guest without a link
/// drops its frames; until then they wait in the rings, and a back-end that is merely restarted
/// costs none.
const GRACE: Duration = Duration::from_secs(3);

/// A link that lives as long as its NIC.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    monitor: Option<JoinHandle<()>>,
}

/// A way to the link for the control queue's thread.
#[derive(Debug, Clone)]
pub struct LinkHandle(Arc<Shared>);

/// What a NIC hears of its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// [`Link::is_up`] may have changed.
    Changed,
    /// A ring of the guest cannot be used: no ring runs until the driver resets the NIC.
    Broken,
}

/// Hears of each event; runs on the monitor's thread.
struct Listener(Box<dyn Fn(LinkEvent) + Send + Sync>);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

#[derive(Debug)]
struct Shared {
    target: Target,
    pairs: u16,
    memory: GuestRam,
    /// Features of the first back-end: what the guest was offered.
    features: u64,
    listener: OnceLock<Listener>,
    /// A back-end is there, or was until a moment ago.
    attached: AtomicBool,
    /// There is a network behind it, as it said last.
    carries: AtomicBool,
    /// A back-end may come and go as fast as it likes.
    warnings: RateLimit,
    news: RateLimit,
    state: Mutex<State>,
    /// The monitor must look at the state.
    wake: EventFd,
    stop: EventFd,
}

#[derive(Debug)]
struct State {
    session: Option<Backend>,
    record: Option<LinkRecord>,
    /// A ring of the record cannot be used: none runs, whoever serves them, until the driver starts anew.
    is_latched: bool,
    grace: Duration,
}

impl Link {
    /// Connects to the back-end, which must be there and serve `pairs` queue pairs.
    pub fn connect(target: &Target, pairs: u16, memory: GuestRam) -> Result<Self, SessionError> {
        let session = Backend::connect(target, pairs, &memory)?;
        let resources = SessionError::Resources;
        let shared = Arc::new(Shared {
            target: target.clone(),
            pairs,
            memory,
            features: session.features(),
            listener: OnceLock::new(),
            attached: AtomicBool::new(true),
            carries: AtomicBool::new(session.carries()),
            warnings: RateLimit::new(),
            news: RateLimit::new(),
            state: Mutex::new(State {
                session: Some(session),
                record: None,
                is_latched: false,
                grace: GRACE,
            }),
            wake: EventFd::new(EFD_NONBLOCK).map_err(resources)?,
            stop: EventFd::new(EFD_NONBLOCK).map_err(resources)?,
        });
        let monitored = Arc::clone(&shared);
        let monitor = std::thread::Builder::new()
            .name("vhost-link".into())
            .spawn(move || {
                if let Err(error) = monitored.monitor() {
                    tracing::error!(%error, "a NIC's link is no longer watched");
                }
            })
            .map_err(resources)?;
        Ok(Self {
            shared,
            monitor: Some(monitor),
        })
    }

    /// Virtio features the back-end offers.
    pub fn features(&self) -> u64 {
        self.shared.features
    }

    /// How long a back-end may be away before the guest is told; three seconds by default.
    pub fn set_grace(&self, grace: Duration) {
        self.shared.lock().grace = grace;
    }

    /// The link that the guest sees: a back-end is connected, or was until a moment ago, and has a network behind it.
    pub fn is_up(&self) -> bool {
        let Shared {
            attached, carries, ..
        } = &*self.shared;
        attached.load(Ordering::Acquire) && carries.load(Ordering::Acquire)
    }

    /// Whom to tell when something happens to the link.
    pub fn set_listener(&self, listener: impl Fn(LinkEvent) + Send + Sync + 'static) {
        // Set once; a second device would be a bug of ours.
        let _ = self.shared.listener.set(Listener(Box::new(listener)));
    }

    /// The driver runs. If the back-end fails or is not there, the link starts when it comes back.
    pub fn start(&self, record: LinkRecord) {
        let mut state = self.shared.lock();
        state.is_latched = false;
        let mut result = Ok(());
        if let Some(session) = &mut state.session {
            result = session.start(&record, &self.shared.memory, Start::Fresh);
        }
        state.record = Some(record);
        self.shared.check(&mut state, result);
    }

    /// The driver stopped. Returns when the back-end uses guest memory no more, or is cut off.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        let Some(record) = state.record.take() else {
            return;
        };
        state.is_latched = false;
        let result = match &mut state.session {
            Some(session) => session.stop(&record),
            None => Ok(()),
        };
        self.shared.check(&mut state, result);
    }

    /// A ring signals elsewhere from now on.
    pub fn set_call(&self, index: usize, call: Call) {
        let mut state = self.shared.lock();
        let Some((record, session)) = state.running() else {
            return;
        };
        let Some(ring) = record.rings.iter_mut().find(|ring| ring.index == index) else {
            return;
        };
        ring.call = call;
        let result = session.map_or(Ok(()), |session| {
            session.set_call(index, ring.call.eventfd())
        });
        // The old interrupt may have been signalled and lost.
        ring.call.signal();
        self.shared.check(&mut state, result);
    }

    /// A handle for another thread.
    pub fn handle(&self) -> LinkHandle {
        LinkHandle(Arc::clone(&self.shared))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop();
        let _ = self.shared.stop.write(1);
        if let Some(monitor) = self.monitor.take() {
            let _ = monitor.join();
        }
    }
}

impl LinkHandle {
    /// The driver uses this many queue pairs from now on.
    pub fn set_pairs(&self, pairs: u16) {
        let mut state = self.0.lock();
        let Some((record, session)) = state.running() else {
            return;
        };
        let changed = record.set_pairs(pairs);
        let result = session.map_or(Ok(()), |session| {
            changed
                .into_iter()
                .try_for_each(|(index, enabled)| session.enable(index, enabled))
        });
        self.0.check(&mut state, result);
    }
}

impl State {
    /// What the driver has, while it runs, and who serves its rings.
    fn running(&mut self) -> Option<(&mut LinkRecord, Option<&mut Backend>)> {
        let session = self.session.as_mut().filter(|_| !self.is_latched);
        Some((self.record.as_mut()?, session))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops a session that failed, and has the monitor find another.
    fn check(&self, state: &mut State, result: Result<(), SessionError>) {
        if let Err(error) = result {
            self.warn(&error, "back-end failed; reconnecting");
            state.session = None;
            let _ = self.wake.write(1);
        }
    }

    /// False: there were too many warnings, so this one is lost.
    fn warn(&self, error: &SessionError, message: &str) -> bool {
        let allowed = self.warnings.allow();
        if allowed {
            tracing::warn!(%error, backend = %self.target, "{message}");
        }
        allowed
    }

    fn tell(&self, event: LinkEvent) {
        if let Some(Listener(tell)) = self.listener.get() {
            tell(event);
        }
    }

    /// Changes a part of what [`Link::is_up`] is made of.
    fn set(&self, part: &AtomicBool, value: bool) {
        if part.swap(value, Ordering::AcqRel) != value {
            self.tell(LinkEvent::Changed);
        }
    }
}
