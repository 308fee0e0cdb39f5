//! One question on its way to an upstream server: a socket of its own, hence a random port, and a random id (RFC 5452).
use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;

use super::message::{Answer, Query};
use crate::services::cursor::{Put, Reader};
use crate::{Family, Host, HostError, Outgoing, SocketId, Token};

/// How long one server has, over UDP.
pub(crate) const UDP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it has over TCP, with the connection made.
pub(crate) const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// Datagrams looked at per event. Only the first that matches counts; a flood of forged ones shall not hold up others.
const BATCH: usize = 16;

/// How far an exchange is.
#[derive(Debug)]
pub(crate) enum Progress {
    /// nothing yet
    Waiting,
    /// the answer
    Answered(Answer),
    /// this server is of no help
    Failed,
}

/// A question that one server was asked.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) server: SocketAddr,
    id: u16,
    socket: SocketId,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Udp,
    Tcp(TcpState),
}

#[derive(Debug)]
struct TcpState {
    connected: bool,
    /// the query with its length, and what of it is not sent yet
    outgoing: Vec<u8>,
    sent: usize,
    incoming: Vec<u8>,
}

impl Exchange {
    /// Asks over UDP.
    pub(crate) fn udp(
        host: &mut dyn Host,
        token: Token,
        server: SocketAddr,
        query: &Query,
        id: u16,
    ) -> Result<Self, HostError> {
        let socket = host.udp_open(token, Family::of(server.ip()))?;
        let payload = query.forwarded(id);
        let datagram = Outgoing {
            to: server,
            from: None,
            payload: &payload,
            segment: None,
            hop_limit: None,
            dont_fragment: false,
            traffic_class: 0,
        };
        if let Err(error) = host.send(socket, &datagram) {
            host.close(socket);
            return Err(error);
        }
        Ok(Self {
            server,
            id,
            socket,
            transport: Transport::Udp,
        })
    }

    /// Asks over TCP.
    pub(crate) fn tcp(
        host: &mut dyn Host,
        token: Token,
        server: SocketAddr,
        query: &Query,
        id: u16,
    ) -> Result<Self, HostError> {
        let message = query.forwarded(id);
        let mut outgoing = Vec::with_capacity(message.len() + 2);
        outgoing.put_u16(u16::try_from(message.len()).map_err(|_| HostError::MessageTooLong)?);
        outgoing.put(&message);
        let socket = host.tcp_connect(token, server)?;
        let state = TcpState {
            connected: false,
            outgoing,
            sent: 0,
            incoming: Vec::new(),
        };
        Ok(Self {
            server,
            id,
            socket,
            transport: Transport::Tcp(state),
        })
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.transport, Transport::Tcp(_))
    }

    /// Something happened to the socket.
    pub(crate) fn advance(&mut self, host: &mut dyn Host, query: &Query) -> Progress {
        match &mut self.transport {
            Transport::Udp => receive(host, self.socket, self.server, self.id, query),
            Transport::Tcp(state) => match state.advance(host, self.socket) {
                Ok(Some(message)) => {
                    let answer = Answer::parse(message, self.id, query);
                    answer.map_or(Progress::Failed, Progress::Answered)
                }
                Ok(None) | Err(HostError::WouldBlock) => Progress::Waiting,
                Err(_) => Progress::Failed,
            },
        }
    }

    pub(crate) fn close(self, host: &mut dyn Host) {
        host.close(self.socket);
    }
}

fn receive(
    host: &mut dyn Host,
    socket: SocketId,
    server: SocketAddr,
    id: u16,
    query: &Query,
) -> Progress {
    let mut answer = None;
    let mut look = |datagram: crate::Incoming<'_>| {
        // Who else sends here, or guesses, is passed over: the true answer may still come.
        if datagram.from == server && answer.is_none() {
            let mut messages = datagram.datagrams();
            answer = messages.find_map(|message| Answer::parse(message, id, query));
        }
    };
    loop {
        match host.receive(socket, BATCH, &mut look) {
            Ok(BATCH) => {}
            Ok(_) | Err(HostError::WouldBlock) => break,
            Err(_) if answer.is_none() => return Progress::Failed,
            Err(_) => break,
        }
    }
    if let Some(answer) = answer {
        return Progress::Answered(answer);
    }
    if host.receive_error(socket).is_some() {
        return Progress::Failed;
    }
    Progress::Waiting
}

impl TcpState {
    fn advance(
        &mut self,
        host: &mut dyn Host,
        socket: SocketId,
    ) -> Result<Option<&[u8]>, HostError> {
        if !self.connected {
            host.tcp_connected(socket)?;
            self.connected = true;
        }
        while let Some(rest) = self
            .outgoing
            .get(self.sent..)
            .filter(|rest| !rest.is_empty())
        {
            self.sent += host.write(socket, &[IoSlice::new(rest)])?;
        }
        let mut piece = [0; 4096];
        loop {
            let read = host.read(socket, &mut [IoSliceMut::new(&mut piece)])?;
            self.incoming.extend(piece.iter().take(read));
            let mut reader = Reader::new(&self.incoming);
            let whole = reader
                .u16()
                .is_some_and(|len| reader.rest().len() >= len.into());
            if whole {
                break;
            }
            if read == 0 {
                return Err(HostError::Reset);
            }
        }
        let mut reader = Reader::new(&self.incoming);
        Ok(reader.u16().and_then(|len| reader.take(len.into())))
    }
}
