//! What a datapath thread sleeps on.
use super::Source;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::{io, os::fd::AsFd};
use switch::PortId;

/// Events taken with one wait.
const EVENTS: usize = 256;
/// Event data of the inbox; sources take 32 bits.
const INBOX: u64 = u64::MAX;

/// Something happened on a watched fd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) source: Source,
    /// The fd has reported an error or that its other end is closed.
    pub(super) broken: bool,
}

/// An epoll set.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: Epoll,
    events: [EpollEvent; EVENTS],
    taken: usize,
}

impl Poller {
    pub(super) fn new(inbox: impl AsFd) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(inbox, EpollEvent::new(EpollFlags::EPOLLIN, INBOX))?;
        Ok(Self {
            epoll,
            events: [EpollEvent::empty(); EVENTS],
            taken: 0,
        })
    }

    /// Watches a kick fd. Edge-triggered: each kick is reported once and the fd never needs to be
    /// read, so whatever it is and whatever the peer does to it, we cannot block or spin on it.
    pub(super) fn watch_kick(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        Ok(self.epoll.add(fd, EpollEvent::new(flags, token(source)))?)
    }

    /// Watches a tap for frames.
    pub(super) fn watch_tap(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token(source));
        Ok(self.epoll.add(fd, event)?)
    }

    /// Watches an fd no more. Closing it is not enough: the peer still holds the open file.
    pub(super) fn forget(&self, fd: impl AsFd) {
        // Fails only if it is not watched (any more).
        let _ = self.epoll.delete(fd);
    }

    /// Waits for events; `None` waits without a limit.
    pub(super) fn wait(&mut self, timeout_ms: Option<u16>) {
        let timeout = timeout_ms.map_or(EpollTimeout::NONE, EpollTimeout::from);
        // EINTR: nothing was taken.
        self.taken = self.epoll.wait(&mut self.events, timeout).unwrap_or(0);
    }

    /// Hands out the events of the last wait, one by one.
    pub(super) fn take(&mut self) -> Option<Event> {
        while let Some(last) = self.taken.checked_sub(1) {
            self.taken = last;
            let event = self.events.get(last)?;
            if let Some(source) = source_of(event.data()) {
                let broken = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
                return Some(Event {
                    source,
                    broken: event.events().intersects(broken),
                });
            }
        }
        None
    }
}

fn token(source: Source) -> u64 {
    u64::from(source.port.0) << 16 | u64::from(source.queue)
}

/// `None`: the inbox, which the datapath looks at in every round anyway.
fn source_of(token: u64) -> Option<Source> {
    let part = |shift: u32| u16::try_from(token >> shift & 0xffff).ok();
    (token != INBOX).then_some(Source {
        port: PortId(part(16)?),
        queue: part(0)?,
    })
}
