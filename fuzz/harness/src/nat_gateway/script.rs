//! The world, as the input has it.
use nat::{
    Family, Host, HostError, Incoming, IncomingError, ListenAt, Outgoing, SocketId, Token, Unsent,
};
use std::{
    collections::BTreeMap,
    io::{IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr},
};

/// A host that says what the bytes of the input say.
#[derive(Debug, Default)]
pub(super) struct Script {
    answers: Vec<u8>,
    at: usize,
    next: u32,
    /// by number, so that an input always means the same
    pub(super) open: BTreeMap<SocketId, Token>,
    /// Errors that were told in a row: no queue of them is without end.
    errors: u8,
    /// What was taken to be sent and cannot be.
    unsent: Option<Unsent>,
    /// The world's addresses are the host's own.
    pub(super) is_own: bool,
}

impl Script {
    pub(super) fn new(answers: &[u8]) -> Self {
        Self {
            answers: answers.to_vec(),
            ..Self::default()
        }
    }

    fn answer(&mut self) -> u8 {
        let answer = self.answers.get(self.at).copied().unwrap_or(0);
        self.at = (self.at + 1) % self.answers.len().max(1);
        answer
    }

    fn outcome(&mut self) -> Result<usize, HostError> {
        const ERRORS: [HostError; 8] = [
            HostError::WouldBlock,
            HostError::Refused,
            HostError::Reset,
            HostError::HostUnreachable,
            HostError::TimedOut,
            HostError::NotPermitted,
            HostError::MessageTooLong,
            HostError::NoResources,
        ];
        let answer = self.answer();
        match ERRORS.get(usize::from(answer).wrapping_sub(200)) {
            Some(error) => Err(*error),
            None => Ok(usize::from(answer)),
        }
    }

    fn open(&mut self, token: Token) -> Result<SocketId, HostError> {
        self.outcome()?;
        self.next += 1;
        self.open.insert(SocketId(self.next), token);
        Ok(SocketId(self.next))
    }

    /// No call may be about a socket that is closed.
    fn check(&self, socket: SocketId) {
        assert!(self.open.contains_key(&socket), "{socket:?} is not open");
    }
}

impl Host for Script {
    fn tcp_connect(&mut self, token: Token, _remote: SocketAddr) -> Result<SocketId, HostError> {
        self.open(token)
    }

    fn tcp_connected(&mut self, socket: SocketId) -> Result<(), HostError> {
        self.check(socket);
        self.outcome().map(drop)
    }

    fn tcp_listen(&mut self, token: Token, _at: &ListenAt) -> Result<SocketId, HostError> {
        self.open(token)
    }

    fn tcp_accept(
        &mut self,
        listener: SocketId,
        token: Token,
    ) -> Result<(SocketId, SocketAddr), HostError> {
        self.check(listener);
        let answer = self.answer();
        if answer < 128 {
            return Err(HostError::WouldBlock);
        }
        let client = match answer % 4 {
            0 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
            _ => IpAddr::from([192, 0, 2, answer % 4]),
        };
        Ok((
            self.open(token)?,
            SocketAddr::new(client, u16::from(answer)),
        ))
    }

    fn read(&mut self, socket: SocketId, into: &mut [IoSliceMut<'_>]) -> Result<usize, HostError> {
        self.check(socket);
        let room: usize = into.iter().map(|slice| slice.len()).sum();
        Ok((self.outcome()? * 300).min(room))
    }

    fn write(&mut self, socket: SocketId, from: &[IoSlice<'_>]) -> Result<usize, HostError> {
        self.check(socket);
        let all: usize = from.iter().map(|slice| slice.len()).sum();
        Ok((self.outcome()? * 300).clamp(1, all))
    }

    fn keep_alive(&mut self, socket: SocketId) {
        self.check(socket);
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        self.check(socket);
    }

    fn close(&mut self, socket: SocketId) {
        assert!(
            self.open.remove(&socket).is_some(),
            "{socket:?} is closed twice"
        );
    }

    fn reset(&mut self, socket: SocketId) {
        self.close(socket);
    }

    fn udp_open(&mut self, token: Token, _family: Family) -> Result<SocketId, HostError> {
        self.open(token)
    }

    fn udp_listen(&mut self, token: Token, _at: &ListenAt) -> Result<SocketId, HostError> {
        self.open(token)
    }

    fn echo_open(&mut self, token: Token, _family: Family) -> Result<SocketId, HostError> {
        self.open(token)
    }

    fn send(&mut self, socket: SocketId, datagram: &Outgoing<'_>) -> Result<(), HostError> {
        self.check(socket);
        if self.outcome()? % 4 == 3
            && let Err(error) = self.outcome()
            && let Some(token) = self.open.get(&socket)
        {
            self.unsent = Some(Unsent {
                token: *token,
                socket,
                to: datagram.to,
                from: datagram.from,
                error,
                count: 1,
                quoted: datagram.payload.to_vec(),
            });
        }
        Ok(())
    }

    fn flush(&mut self) {}

    fn take_unsent(&mut self) -> Option<Unsent> {
        self.unsent.take()
    }

    fn receive(
        &mut self,
        socket: SocketId,
        limit: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, HostError> {
        self.check(socket);
        let count = (self.outcome()? % 4).min(limit);
        for _ in 0..count {
            let len = usize::from(self.answer());
            sink(Incoming {
                from: SocketAddr::from(([192, 0, 2, self.answer()], 53)),
                to: None,
                payload: &vec![0; len],
                segment: None,
                hop_limit: Some(self.answer()),
                traffic_class: 0,
            });
        }
        Ok(count)
    }

    fn receive_error(&mut self, socket: SocketId) -> Option<IncomingError> {
        self.check(socket);
        let answer = self.answer();
        let is_there = answer > 128 && self.errors < 3;
        self.errors = if is_there { self.errors + 1 } else { 0 };
        is_there.then(|| IncomingError {
            destination: SocketAddr::from(([192, 0, 2, answer], 53)),
            offender: None,
            icmp_type: answer,
            icmp_code: 0,
            sequence: None,
            mtu: None,
            quoted: vec![answer; usize::from(answer) * 16],
        })
    }

    fn is_own_address(&mut self, _address: IpAddr) -> bool {
        self.is_own
    }
}
