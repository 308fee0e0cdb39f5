//! The host's sockets for the gateway: non-blocking, each watched once, by edges.
//!
//! # Theory of operation
//! A socket is registered with epoll when it is opened, for everything and edge-triggered, under the gateway's token; that never
//! changes. Datagrams that are sent are held back for a moment: those that follow one another to one place and are of one
//! size leave as one system call (UDP_SEGMENT). [`HostSockets::flush`] ends that moment, once per burst.
mod datagram;
mod echo;
mod error;
mod error_queue;
mod listen;
mod outbox;
mod own;
mod sys;
mod table;
mod tcp;

pub(crate) use echo::raw_sockets;
pub(crate) use listen::{GivenSocket, open_listener};

use super::events::Watch;
use datagram::Reception;
use listen::Given;
use nat::{
    Family, Host, HostError, Incoming, IncomingError, ListenAt, Outgoing, SocketId, Token, Unsent,
    forward::Transport,
};
use outbox::Outbox;
use own::OwnAddresses;
use std::{
    io::{IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};
use table::{Kind, Table};

/// The sockets of one gateway.
#[derive(Debug)]
pub(super) struct HostSockets {
    watch: Watch,
    table: Table,
    given: Given,
    raw_echo: echo::RawPool,
    outbox: Outbox,
    reception: Reception,
    own: OwnAddresses,
}

impl HostSockets {
    pub(super) fn new(watch: Watch, raw_echo: Vec<OwnedFd>) -> Self {
        Self {
            watch,
            table: Table::default(),
            given: Given::default(),
            raw_echo: echo::RawPool::new(raw_echo),
            outbox: Outbox::default(),
            reception: Reception::new(),
            own: OwnAddresses::default(),
        }
    }

    /// Keeps a listening socket that the supervisor opened until somebody listens there.
    pub(super) fn give(&mut self, socket: GivenSocket) {
        self.given.add(socket);
    }

    /// Forgets sockets that nobody listened on.
    pub(super) fn take_back(&mut self) {
        self.given.clear();
    }

    /// Sockets that are open.
    pub(super) fn count(&self) -> usize {
        self.table.len()
    }

    /// Watches a socket and puts it into the table.
    fn enter(&mut self, socket: OwnedFd, kind: Kind, token: Token) -> Result<SocketId, HostError> {
        self.watch
            .add(&socket, token.to_bits())
            .map_err(error::of)?;
        self.table.insert(socket, kind, token)
    }
}

impl Host for HostSockets {
    fn tcp_connect(&mut self, token: Token, remote: SocketAddr) -> Result<SocketId, HostError> {
        let socket = tcp::connect(remote).map_err(error::of)?;
        self.enter(socket, Kind::Stream, token)
    }

    fn tcp_connected(&mut self, socket: SocketId) -> Result<(), HostError> {
        tcp::outcome(self.table.fd(socket)?)
    }

    fn tcp_listen(&mut self, token: Token, at: &ListenAt) -> Result<SocketId, HostError> {
        let socket = self.given.take(Transport::Tcp, at);
        let socket = socket
            .map_or_else(|| listen::tcp(at), Ok)
            .map_err(error::of)?;
        self.enter(socket, Kind::Listener, token)
    }

    fn tcp_accept(
        &mut self,
        listener: SocketId,
        token: Token,
    ) -> Result<(SocketId, SocketAddr), HostError> {
        let (socket, peer) = tcp::accept(self.table.fd(listener)?)?;
        Ok((self.enter(socket, Kind::Stream, token)?, peer))
    }

    fn read(&mut self, socket: SocketId, into: &mut [IoSliceMut<'_>]) -> Result<usize, HostError> {
        tcp::read(self.table.fd(socket)?, into)
    }

    fn write(&mut self, socket: SocketId, from: &[IoSlice<'_>]) -> Result<usize, HostError> {
        tcp::write(self.table.fd(socket)?, from)
    }

    fn keep_alive(&mut self, socket: SocketId) {
        if let Ok(fd) = self.table.fd(socket) {
            tcp::keep_alive(fd);
        }
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        if let Ok(fd) = self.table.fd(socket) {
            tcp::shutdown_write(fd);
        }
    }

    fn close(&mut self, socket: SocketId) {
        // What is held back was sent by its owner before.
        self.outbox.flush_of(socket, &mut self.table);
        if let Some(entry) = self.table.remove(socket)
            && let Kind::RawEcho { family, .. } = entry.kind
        {
            // Its filter is set anew for the next one.
            self.watch.remove(&entry.socket);
            self.raw_echo.put(family, entry.socket);
        }
    }

    fn reset(&mut self, socket: SocketId) {
        if let Some(entry) = self.table.remove(socket) {
            tcp::reset(&entry.socket);
        }
    }

    fn udp_open(&mut self, token: Token, family: Family) -> Result<SocketId, HostError> {
        let socket = datagram::open(family).map_err(error::of)?;
        self.enter(socket, Kind::datagram(family), token)
    }

    fn udp_listen(&mut self, token: Token, at: &ListenAt) -> Result<SocketId, HostError> {
        let socket = self.given.take(Transport::Udp, at);
        let socket = socket
            .map_or_else(|| listen::udp(at), Ok)
            .map_err(error::of)?;
        let family = listen::family_of(&socket).map_err(error::of)?;
        datagram::prepare(&socket, family).map_err(error::of)?;
        if at.address.is_none() {
            datagram::tell_destinations(&socket, family).map_err(error::of)?;
        }
        self.enter(socket, Kind::datagram(family), token)
    }

    fn echo_open(&mut self, token: Token, family: Family) -> Result<SocketId, HostError> {
        let (socket, kind) = self.raw_echo.open(family)?;
        self.enter(socket, kind, token)
    }

    fn send(&mut self, socket: SocketId, datagram: &Outgoing<'_>) -> Result<(), HostError> {
        self.outbox.send(&mut self.table, socket, datagram)
    }

    fn flush(&mut self) {
        self.outbox.flush(&mut self.table);
    }

    fn take_unsent(&mut self) -> Option<Unsent> {
        self.outbox.unsent.pop_front()
    }

    fn receive(
        &mut self,
        socket: SocketId,
        limit: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, HostError> {
        self.reception
            .receive(self.table.entry(socket)?, limit, sink)
    }

    fn receive_error(&mut self, socket: SocketId) -> Option<IncomingError> {
        let entry = self.table.entry(socket).ok()?;
        error_queue::take(entry)
    }

    fn is_own_address(&mut self, address: IpAddr) -> bool {
        self.own.contains(address)
    }
}

#[cfg(test)]
#[path = "host_test.rs"]
mod tests;
