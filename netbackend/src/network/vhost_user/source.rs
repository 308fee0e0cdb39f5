//! Where the front-ends of a port come from: they connect to our socket, or they listen and the supervisor connects for us (a
//! worker opens nothing).
use crate::channel;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
};

/// A source of connections. Asking for one does not wait.
#[derive(Debug)]
pub(crate) struct Source(Kind);

#[derive(Debug)]
enum Kind {
    Listening(UnixListener),
    Handed {
        /// We send a message when we want a connection; it comes in the answer.
        feed: OwnedFd,
        asked: bool,
    },
    /// The supervisor has closed its end.
    Dry,
}

impl Source {
    /// Front-ends connect.
    pub(crate) fn listening(socket: UnixListener) -> io::Result<Self> {
        // Accepting must not block: the front-end that woke us may have gone again.
        socket.set_nonblocking(true)?;
        Ok(Self(Kind::Listening(socket)))
    }

    /// Connections to front-ends come over `feed`, a `SOCK_SEQPACKET` socket.
    pub(crate) fn handed(feed: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&feed, FcntlArg::F_GETFL)?);
        fcntl(&feed, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let asked = false;
        Ok(Self(Kind::Handed { feed, asked }))
    }

    /// Readable when there is a connection; `None`: there will be none.
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Kind::Listening(socket) => Some(socket.as_fd()),
            Kind::Handed { feed, .. } => Some(feed.as_fd()),
            Kind::Dry => None,
        }
    }

    /// Says that the next connection is welcome.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        if let Kind::Handed { feed, asked } = &mut self.0
            && !*asked
        {
            channel::send(feed, &(), &[])?;
            *asked = true;
        }
        Ok(())
    }

    /// The next connection, if it is there already.
    pub(super) fn next(&mut self) -> io::Result<Option<UnixStream>> {
        let next = match &mut self.0 {
            Kind::Listening(socket) => socket.accept().map(|(stream, _)| Some(stream)),
            Kind::Handed { feed, asked } => match channel::receive::<()>(&*feed) {
                Ok(Some(((), fds))) => {
                    *asked = false;
                    Ok(fds.into_iter().next().map(UnixStream::from))
                }
                Ok(None) => {
                    self.0 = Kind::Dry;
                    Ok(None)
                }
                Err(error) => Err(error),
            },
            Kind::Dry => Ok(None),
        };
        match next {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            next => next,
        }
    }
}
