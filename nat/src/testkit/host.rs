//! A host whose sockets are queues.
use crate::{
    Family, Host, HostError, Incoming, IncomingError, ListenAt, Outgoing, SocketId, Token, Unsent,
};
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

/// A datagram that the gateway sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) to: SocketAddr,
    pub(crate) payload: Vec<u8>,
    pub(crate) segment: Option<u16>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) dont_fragment: bool,
    pub(crate) from: Option<IpAddr>,
}

/// A socket, as the test sees it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) token: Token,
    /// whom it was connected to, or where it listens
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) listen: Option<ListenAt>,
    /// what `tcp_connected` says
    pub(crate) connected: Result<(), HostError>,
    /// what the world sent
    pub(crate) inbox: VecDeque<u8>,
    /// the world sends no more, after `inbox`
    pub(crate) ended: bool,
    /// what reads and writes say instead
    pub(crate) broken: Option<HostError>,
    /// what the gateway wrote
    pub(crate) outbox: Vec<u8>,
    /// bytes that may be written
    pub(crate) room: usize,
    pub(crate) backlog: VecDeque<SocketAddr>,
    pub(crate) arrived: VecDeque<(SocketAddr, Vec<u8>)>,
    /// the address that these were sent to
    pub(crate) asked: Option<IpAddr>,
    /// each of these is several of this size
    pub(crate) segment: Option<u16>,
    pub(crate) errors: VecDeque<IncomingError>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) writes: usize,
    pub(crate) shut: bool,
    /// how often it was asked to be probed
    pub(crate) keep_alives: usize,
    pub(crate) closed: bool,
    pub(crate) reset: bool,
}

#[derive(Debug, Default)]
pub(crate) struct FakeHost {
    pub(crate) sockets: Vec<Socket>,
    /// what the next opening call says
    pub(crate) refuse: Option<HostError>,
    /// what the next `send` says
    pub(crate) refuse_send: Option<HostError>,
    /// what becomes of the next datagram that `send` takes
    pub(crate) lose: Option<HostError>,
    /// what has become so
    pub(crate) unsent: VecDeque<Unsent>,
    /// the next echo socket is not opened
    pub(crate) refuse_echo: Option<HostError>,
    /// addresses of this host
    pub(crate) own: Vec<IpAddr>,
}

impl FakeHost {
    fn open(&mut self, token: Token) -> Result<SocketId, HostError> {
        if let Some(error) = self.refuse {
            return Err(error);
        }
        self.sockets.push(Socket {
            token,
            remote: None,
            listen: None,
            connected: Err(HostError::WouldBlock),
            inbox: VecDeque::new(),
            ended: false,
            broken: None,
            outbox: Vec::new(),
            room: usize::MAX,
            backlog: VecDeque::new(),
            arrived: VecDeque::new(),
            asked: None,
            segment: None,
            errors: VecDeque::new(),
            sent: Vec::new(),
            writes: 0,
            shut: false,
            keep_alives: 0,
            closed: false,
            reset: false,
        });
        Ok(SocketId(u32::try_from(self.sockets.len() - 1).unwrap()))
    }

    /// Calls on a socket that was closed are mistakes of the gateway.
    #[track_caller]
    fn live(&mut self, id: SocketId) -> &mut Socket {
        let socket = &mut self.sockets[id.0 as usize];
        assert!(!socket.closed && !socket.reset, "{id:?} is closed");
        socket
    }

    /// Sockets that were not closed.
    pub(crate) fn open_count(&self) -> usize {
        self.sockets
            .iter()
            .filter(|s| !s.closed && !s.reset)
            .count()
    }
}

impl Host for FakeHost {
    fn tcp_connect(&mut self, token: Token, remote: SocketAddr) -> Result<SocketId, HostError> {
        let id = self.open(token)?;
        self.live(id).remote = Some(remote);
        Ok(id)
    }

    fn tcp_connected(&mut self, socket: SocketId) -> Result<(), HostError> {
        self.live(socket).connected
    }

    fn tcp_listen(&mut self, token: Token, at: &ListenAt) -> Result<SocketId, HostError> {
        let id = self.open(token)?;
        self.live(id).listen = Some(at.clone());
        Ok(id)
    }

    fn tcp_accept(
        &mut self,
        listener: SocketId,
        token: Token,
    ) -> Result<(SocketId, SocketAddr), HostError> {
        let peer = self
            .live(listener)
            .backlog
            .pop_front()
            .ok_or(HostError::WouldBlock)?;
        let id = self.open(token)?;
        self.live(id).remote = Some(peer);
        Ok((id, peer))
    }

    fn read(&mut self, socket: SocketId, into: &mut [IoSliceMut<'_>]) -> Result<usize, HostError> {
        let socket = self.live(socket);
        if let Some(error) = socket.broken {
            return Err(error);
        }
        let mut total = 0;
        for slice in into {
            let len = slice.len().min(socket.inbox.len());
            for (place, byte) in slice.iter_mut().zip(socket.inbox.drain(..len)) {
                *place = byte;
            }
            total += len;
        }
        if total == 0 && !socket.ended {
            return Err(HostError::WouldBlock);
        }
        Ok(total)
    }

    fn write(&mut self, socket: SocketId, from: &[IoSlice<'_>]) -> Result<usize, HostError> {
        let socket = self.live(socket);
        if let Some(error) = socket.broken {
            return Err(error);
        }
        assert!(!socket.shut, "written after shutdown");
        socket.writes += 1;
        let mut total = 0;
        for slice in from {
            let len = slice.len().min(socket.room);
            socket.outbox.extend(&slice[..len]);
            socket.room -= len;
            total += len;
        }
        if total == 0 {
            return Err(HostError::WouldBlock);
        }
        Ok(total)
    }

    fn keep_alive(&mut self, socket: SocketId) {
        self.live(socket).keep_alives += 1;
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        self.live(socket).shut = true;
    }

    fn close(&mut self, socket: SocketId) {
        self.live(socket).closed = true;
    }

    fn reset(&mut self, socket: SocketId) {
        self.live(socket).reset = true;
    }

    fn udp_open(&mut self, token: Token, _family: Family) -> Result<SocketId, HostError> {
        self.open(token)
    }

    fn udp_listen(&mut self, token: Token, at: &ListenAt) -> Result<SocketId, HostError> {
        self.tcp_listen(token, at)
    }

    fn echo_open(&mut self, token: Token, _family: Family) -> Result<SocketId, HostError> {
        if let Some(error) = self.refuse_echo.take() {
            return Err(error);
        }
        self.open(token)
    }

    fn send(&mut self, socket: SocketId, datagram: &Outgoing<'_>) -> Result<(), HostError> {
        if let Some(error) = self.refuse_send.take() {
            return Err(error);
        }
        if let Some(error) = self.lose.take() {
            let token = self.live(socket).token;
            self.unsent.push_back(Unsent {
                token,
                socket,
                to: datagram.to,
                from: datagram.from,
                error,
                count: 1,
                quoted: datagram.payload.to_vec(),
            });
            return Ok(());
        }
        self.live(socket).sent.push(Sent {
            to: datagram.to,
            payload: datagram.payload.to_vec(),
            segment: datagram.segment,
            hop_limit: datagram.hop_limit,
            dont_fragment: datagram.dont_fragment,
            from: datagram.from,
        });
        Ok(())
    }

    fn flush(&mut self) {}

    fn take_unsent(&mut self) -> Option<Unsent> {
        self.unsent.pop_front()
    }

    fn receive(
        &mut self,
        socket: SocketId,
        limit: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, HostError> {
        let socket = self.live(socket);
        let count = limit.min(socket.arrived.len());
        let (to, segment) = (socket.asked, socket.segment);
        for (from, payload) in socket.arrived.drain(..count) {
            sink(Incoming {
                from,
                to,
                payload: &payload,
                segment,
                hop_limit: Some(57),
                traffic_class: 0,
            });
        }
        Ok(count)
    }

    fn receive_error(&mut self, socket: SocketId) -> Option<IncomingError> {
        self.live(socket).errors.pop_front()
    }

    fn is_own_address(&mut self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }
}
