//! The thread that waits for what a back-end does by itself.
use super::{LinkEvent, Shared};
use crate::{
    eventfd,
    net::{
        backend::{Backend, Ends},
        error::SessionError,
        session::Start,
    },
    wait::{wait, wait_or_hangup},
};
use netbackend::direct::Bare;
use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    sync::Arc,
    time::{Duration, Instant},
};
use vmm_sys_util::eventfd::EventFd;

/// Pause between attempts to reconnect while the guest still has its link: short, because the
/// guests of a back-end that restarts should be back together, or they send to nobody.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause between attempts after that.
const LONG_PAUSE: Duration = Duration::from_secs(1);
/// Whether the monitor goes on.
type GoesOn = bool;

impl Shared {
    /// Watches the session until told to stop.
    pub(super) fn monitor(&self) -> io::Result<()> {
        loop {
            let ends = self.lock().session.as_ref().map(Backend::ends);
            let goes_on = match ends {
                Some(Ends::User { stream, news }) => self.watch(&stream, news.as_deref())?,
                Some(Ends::Kernel { macvtap, errors }) => self.watch_kernel(&macvtap, &errors)?,
                None => self.reconnect()?,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn watch(&self, stream: &Arc<UnixStream>, news: Option<&UnixStream>) -> io::Result<GoesOn> {
        let mut sources: Vec<&dyn AsRawFd> = vec![&self.stop, &self.wake];
        sources.extend(news.map(|news| news as &dyn AsRawFd));
        let ready = wait_or_hangup(&sources, &**stream, None)?;
        if ready & 1 != 0 {
            return Ok(false);
        }
        let _ = self.wake.read();
        if ready & 1 << sources.len() != 0 {
            self.lost(stream);
        } else if news.is_some() && ready & 4 != 0 {
            self.heed(stream);
        }
        Ok(true)
    }

    fn watch_kernel(&self, macvtap: &Bare, errors: &EventFd) -> io::Result<GoesOn> {
        let changed = macvtap.changed();
        let ready = wait(&[&self.stop, &self.wake, changed, errors], None)?;
        if ready & 1 != 0 {
            return Ok(false);
        }
        let _ = self.wake.read();
        if ready & 4 != 0 {
            // Before the look: what changes meanwhile is told again.
            let _ = changed.read();
            self.drop_outdated();
            self.set(&self.carries, macvtap.carries());
        }
        if ready & 8 != 0 {
            self.latch();
        }
        Ok(true)
    }

    /// A session with a macvtap that has been made again is of no use.
    fn drop_outdated(&self) {
        let mut state = self.lock();
        if state.session.as_ref().is_some_and(Backend::is_outdated) {
            state.session = None;
        }
    }

    /// The kernel has told that a ring cannot be used.
    fn latch(&self) {
        let mut state = self.lock();
        let Some(session) = &mut state.session else {
            return;
        };
        if session.take_fault() && state.record.is_some() {
            state.is_latched = true;
            if self.warnings.allow() {
                tracing::warn!(backend = %self.target, "a ring of the guest cannot be used; its NIC stands still until it is reset");
            }
            // Under the lock: a driver that resets the NIC comes after it, and must not find it broken again.
            self.tell(LinkEvent::Broken);
        }
    }

    /// The back-end of `stream` has news.
    fn heed(&self, stream: &Arc<UnixStream>) {
        let mut state = self.lock();
        let session = state.session.as_mut();
        let Some(session) = session.filter(|session| session.is_behind(stream)) else {
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
        if session.is_some_and(|session| session.is_behind(stream)) {
            if self.warnings.allow() {
                tracing::warn!(backend = %self.target, "back-end is gone; reconnecting");
            }
            state.session = None;
        }
    }

    /// Tries until there is a session; false: told to stop.
    fn reconnect(&self) -> io::Result<bool> {
        let lost = Instant::now();
        let mut told = String::new();
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
                Err(error) => self.failed(&error, &mut told),
            }
        }
    }

    /// Tells each reason for which a back-end that is there cannot be used, but not at every attempt.
    fn failed(&self, error: &SessionError, told: &mut String) {
        let text = error.to_string();
        let away = matches!(error, SessionError::NoSocket(_) | SessionError::Stale(_));
        if !away && *told != text && self.warn(error, "reconnecting failed; trying on") {
            *told = text;
        } else {
            tracing::debug!(%error, backend = %self.target, "reconnecting failed");
        }
    }

    /// One attempt: handshake, and replay of the record.
    fn resume(&self) -> Result<(), SessionError> {
        let mut session = Backend::connect(&self.target, self.pairs, &self.memory)?;
        let mut state = self.lock();
        if let Some(record) = state.record.as_ref().filter(|_| !state.is_latched) {
            session.start(record, &self.memory, Start::Resume)?;
            for ring in record.rings.iter().filter(|ring| ring.enabled) {
                eventfd::signal(&ring.kick);
                ring.call.signal();
            }
        }
        self.set(&self.carries, session.carries());
        state.session = Some(session);
        self.set(&self.attached, true);
        if self.news.allow() {
            tracing::info!(backend = %self.target, "back-end is connected again");
        }
        Ok(())
    }
}
