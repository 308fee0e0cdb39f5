//! The open sockets, by the numbers that the gateway knows them by.
use nat::{Family, HostError, SocketId, Token};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A TCP connection.
    Stream,
    /// A socket that takes TCP connections.
    Listener,
    /// A UDP socket.
    Datagram { family: Family, settings: Settings },
    /// A "ping" socket: the kernel sees to identifier and checksum.
    Echo { family: Family, settings: Settings },
    /// A raw socket that does the work of a ping socket.
    RawEcho {
        family: Family,
        settings: Settings,
        /// Identifier of its echo requests.
        identifier: u16,
    },
}

/// What is set at a socket for the datagrams it sends; `None`: as it came from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Settings {
    pub(super) hop_limit: Option<u8>,
    pub(super) traffic_class: Option<u8>,
    pub(super) dont_fragment: Option<bool>,
}

impl Kind {
    pub(super) fn datagram(family: Family) -> Self {
        Self::Datagram {
            family,
            settings: Settings::default(),
        }
    }

    /// Of a socket that sends datagrams: its family and what is set.
    pub(super) fn settings(&mut self) -> Option<(Family, &mut Settings)> {
        match self {
            Self::Stream | Self::Listener => None,
            Self::Datagram { family, settings }
            | Self::Echo { family, settings }
            | Self::RawEcho {
                family, settings, ..
            } => Some((*family, settings)),
        }
    }
}

/// An open socket.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) socket: OwnedFd,
    pub(super) kind: Kind,
    /// Whose it is.
    pub(super) token: Token,
}

/// All open sockets.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

impl Table {
    pub(super) fn insert(
        &mut self,
        socket: OwnedFd,
        kind: Kind,
        token: Token,
    ) -> Result<SocketId, HostError> {
        let entry = Some(Entry {
            socket,
            kind,
            token,
        });
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slot(index)
        {
            *slot = entry;
            return Ok(SocketId(index));
        }
        let index = u32::try_from(self.entries.len()).map_err(|_| HostError::NoResources)?;
        self.entries.push(entry);
        Ok(SocketId(index))
    }

    pub(super) fn remove(&mut self, id: SocketId) -> Option<Entry> {
        let entry = self.slot(id.0)?.take()?;
        self.free.push(id.0);
        Some(entry)
    }

    pub(super) fn entry(&mut self, id: SocketId) -> Result<&mut Entry, HostError> {
        let entry = self.slot(id.0).and_then(Option::as_mut);
        entry.ok_or(HostError::Reset)
    }

    pub(super) fn fd(&self, id: SocketId) -> Result<BorrowedFd<'_>, HostError> {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        let entry = self.entries.get(index).and_then(Option::as_ref);
        entry
            .map(|entry| entry.socket.as_fd())
            .ok_or(HostError::Reset)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    fn slot(&mut self, index: u32) -> Option<&mut Option<Entry>> {
        self.entries.get_mut(usize::try_from(index).ok()?)
    }
}
