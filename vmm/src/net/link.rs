//! A NIC's link to its back-end: connected at start, and again whenever the back-end comes back.
//!
//! # Theory of operation
//! Everything agreed with the guest is in a [`LinkRecord`]. Changes go to the record first and then
//! to the session, if there is one; a session that fails is dropped. A monitor thread waits for the
//! end of the session and then retries the whole handshake, not only the connection: a back-end that
//! accepts and dies must not count as reached. On success it replays the record, with each ring
//! resumed at its used index, and signals kicks and calls once, because the dead back-end may have
//! owed either. Only a back-end that stays away takes the guest's link down, or one that says that there is no network behind it.
use super::{
    record::LinkRecord,
    session::{Session, SessionError, Start},
};
use crate::{
    limit::RateLimit,
    memory::GuestRam,
    virtio::Call,
    wait::{wait, wait_or_hangup},
};
use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Pause between attempts to reconnect while the guest still has its link: short, because the
/// guests of a back-end that restarts should be back together, or they send to nobody.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause between attempts after that.
const LONG_PAUSE: Duration = Duration::from_secs(1);
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

/// Hears of each change of the link; runs on the monitor's thread.
struct Listener(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
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
    session: Option<Session>,
    record: Option<LinkRecord>,
    grace: Duration,
}

impl Link {
    /// Connects to the back-end behind `path`, which must be there and serve `pairs` queue pairs.
    pub fn connect(path: &Path, pairs: u16, memory: GuestRam) -> Result<Self, SessionError> {
        let session = Session::connect(path, pairs)?;
        let resources = |error| SessionError::Connect {
            path: path.into(),
            error,
        };
        let shared = Arc::new(Shared {
            path: path.into(),
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

    /// Whom to tell when the link goes up or down.
    pub fn set_listener(&self, listener: impl Fn() + Send + Sync + 'static) {
        // Set once; a second device would be a bug of ours.
        let _ = self.shared.listener.set(Listener(Box::new(listener)));
    }

    /// The driver runs. If the back-end fails or is not there, the link starts when it comes back.
    pub fn start(&self, record: LinkRecord) {
        let mut state = self.shared.lock();
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
        let result = match &mut state.session {
            Some(session) => session.stop(&record),
            None => Ok(()),
        };
        self.shared.check(&mut state, result);
    }

    /// A ring signals elsewhere from now on.
    pub fn set_call(&self, index: usize, call: Call) {
        let mut state = self.shared.lock();
        let State {
            session,
            record: Some(record),
            ..
        } = &mut *state
        else {
            return;
        };
        let Some(ring) = record.rings.iter_mut().find(|ring| ring.index == index) else {
            return;
        };
        ring.call = call;
        let result = session.as_mut().map_or(Ok(()), |session| {
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
        let State {
            session,
            record: Some(record),
            ..
        } = &mut *state
        else {
            return;
        };
        let changed = record.set_pairs(pairs);
        let result = session.as_mut().map_or(Ok(()), |session| {
            changed
                .into_iter()
                .try_for_each(|(index, enabled)| session.enable(index, enabled))
        });
        self.0.check(&mut state, result);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops a session that failed, and has the monitor find another.
    fn check(&self, state: &mut State, result: Result<(), SessionError>) {
        if let Err(error) = result {
            self.warn(&error, "vhost-user back-end failed; reconnecting");
            state.session = None;
            let _ = self.wake.write(1);
        }
    }

    fn warn(&self, error: &SessionError, message: &str) {
        if self.warnings.allow() {
            tracing::warn!(%error, socket = %self.path.display(), "{message}");
        }
    }

    /// Changes a part of what [`Link::is_up`] is made of.
    fn set(&self, part: &AtomicBool, value: bool) {
        if part.swap(value, Ordering::AcqRel) != value
            && let Some(Listener(tell)) = self.listener.get()
        {
            tell();
        }
    }

    /// Watches the session until told to stop.
    fn monitor(&self) -> io::Result<()> {
        loop {
            let ends = self
                .lock()
                .session
                .as_ref()
                .map(|session| (session.stream(), session.news()));
            match ends {
                Some((stream, news)) => {
                    let mut sources: Vec<&dyn AsRawFd> = vec![&self.stop, &self.wake];
                    sources.extend(news.as_deref().map(|news| news as &dyn AsRawFd));
                    let ready = wait_or_hangup(&sources, &*stream, None)?;
                    if ready & 1 != 0 {
                        return Ok(());
                    }
                    let _ = self.wake.read();
                    if ready & 1 << sources.len() != 0 {
                        self.lost(&stream);
                    } else if news.is_some() && ready & 4 != 0 {
                        self.heed(&stream);
                    }
                }
                None => {
                    if !self.reconnect()? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The back-end of `stream` has news.
    fn heed(&self, stream: &Arc<UnixStream>) {
        let mut state = self.lock();
        let session = state.session.as_mut();
        let Some(session) = session.filter(|session| Arc::ptr_eq(&session.stream(), stream)) else {
            return;
        };
        let result = session.take_news();
        let carries = session.carries();
        self.check(&mut state, result);
        drop(state);
        self.set(&self.carries, carries);
    }

    /// The other end of `stream` is gone.
    fn lost(&self, stream: &Arc<UnixStream>) {
        let mut state = self.lock();
        let session = state.session.as_ref();
        if session.is_some_and(|session| Arc::ptr_eq(&session.stream(), stream)) {
            if self.warnings.allow() {
                tracing::warn!(socket = %self.path.display(), "vhost-user back-end is gone; reconnecting");
            }
            state.session = None;
        }
    }

    /// Tries until there is a session; false: told to stop.
    fn reconnect(&self) -> io::Result<bool> {
        let lost = Instant::now();
        loop {
            let grace = self.lock().grace;
            let mut pause = PAUSE;
            if lost.elapsed() >= grace {
                self.set(&self.attached, false);
                pause = LONG_PAUSE.min(lost.elapsed() / 2).max(PAUSE);
            }
            if wait(&[&self.stop], Some(pause))? != 0 {
                return Ok(false);
            }
            match self.resume() {
                Ok(()) => return Ok(true),
                Err(error) => {
                    tracing::debug!(%error, socket = %self.path.display(), "reconnecting failed");
                }
            }
        }
    }

    /// One attempt: handshake, and replay of the record.
    fn resume(&self) -> Result<(), SessionError> {
        let mut session = Session::connect(&self.path, self.pairs)?;
        let mut state = self.lock();
        if let Some(record) = &state.record {
            session.start(record, &self.memory, Start::Resume)?;
            for ring in record.rings.iter().filter(|ring| ring.enabled) {
                let _ = ring.kick.write(1);
                ring.call.signal();
            }
        }
        self.set(&self.carries, session.carries());
        state.session = Some(session);
        self.set(&self.attached, true);
        if self.news.allow() {
            tracing::info!(socket = %self.path.display(), "vhost-user back-end is connected again");
        }
        Ok(())
    }
}
