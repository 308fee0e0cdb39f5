//! What the gateway's thread sleeps on.
use nat::{Readiness, Token};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::{io, os::fd::AsFd, sync::Arc, time::Duration};

/// Events taken with one look.
const EVENTS: usize = 256;
/// Event data that is no [`Token`]: its upper eight bits would be a class, of which there are five.
const WAKE: u64 = u64::MAX;

/// Where sockets are put to be watched.
#[derive(Debug, Clone)]
pub(super) struct Watch(Arc<Epoll>);

impl Watch {
    /// Watches a socket for everything, by edges.
    pub(super) fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLPRI
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        Ok(self.0.add(socket, EpollEvent::new(flags, token))?)
    }

    /// Watches a socket no more that stays open.
    pub(super) fn remove(&self, socket: impl AsFd) {
        // Fails only if it is not watched.
        let _ = self.0.delete(socket);
    }
}

/// The epoll set and what it has told.
#[derive(Debug)]
pub(super) struct Events {
    watch: Watch,
    found: Box<[EpollEvent; EVENTS]>,
    taken: usize,
}

impl Events {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            watch: Watch(Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?)),
            found: Box::new([EpollEvent::empty(); EVENTS]),
            taken: 0,
        })
    }

    pub(super) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Has an eventfd end a sleep whenever it is written to; it need not be read.
    pub(super) fn wake_by(&self, fd: impl AsFd) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        Ok(self.watch.0.add(fd, EpollEvent::new(flags, WAKE))?)
    }

    /// Looks for events without waiting, unless some are not handed out yet.
    pub(super) fn look(&mut self) {
        if self.taken == 0 {
            self.wait(Some(Duration::ZERO));
        }
    }

    /// Waits until something happens, or for `timeout`; without one for ever.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| {
            // Rounded up: a timer that is not due yet would only be waited for once more.
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
        });
        // Interrupted: nothing was taken.
        self.taken = self.watch.0.wait(&mut *self.found, timeout).unwrap_or(0);
    }

    /// Hands out what the last wait has found, one by one.
    pub(super) fn take(&mut self) -> Option<(Token, Readiness)> {
        while let Some(last) = self.taken.checked_sub(1) {
            self.taken = last;
            let event = self.found.get(last)?;
            if event.data() == WAKE {
                continue;
            }
            let has = |flags| event.events().intersects(flags);
            let readiness = Readiness {
                readable: has(EpollFlags::EPOLLIN),
                writable: has(EpollFlags::EPOLLOUT),
                peer_closed: has(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP),
                error: has(EpollFlags::EPOLLERR),
                urgent: has(EpollFlags::EPOLLPRI),
            };
            return Some((Token::from_bits(event.data()), readiness));
        }
        None
    }
}
