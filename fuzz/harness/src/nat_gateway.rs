//! Target `nat_gateway`: frames of a guest, events of sockets and time, against a gateway whose host answers as the input says.
//!
//! What must hold: nothing panics, no frame is longer than it may be or written past its end, what one guest holds stays within its
//! quotas, and every socket that is opened is closed when its flow is gone.
use crate::input::Input;
use nat::{
    Config, Family, FrameMeta, Gateway, Host, HostError, Incoming, IncomingError, ListenAt,
    MacAddr, Outgoing, Output, PortId, Readiness, SocketId, Token, Unsent,
};
use std::{
    collections::HashMap,
    io::{IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

const GATEWAY: MacAddr = MacAddr([0x52, 0x55, 10, 0, 2, 2]);
const GUEST: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const MAX_FLOWS: usize = 64;

/// A host that says what the bytes of the input say.
#[derive(Debug, Default)]
struct Script {
    answers: Vec<u8>,
    at: usize,
    next: u32,
    open: HashMap<SocketId, Token>,
}

impl Script {
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
        Ok((
            self.open(token)?,
            SocketAddr::from(([192, 0, 2, 1], u16::from(answer))),
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

    fn send(&mut self, socket: SocketId, _datagram: &Outgoing<'_>) -> Result<(), HostError> {
        self.check(socket);
        self.outcome().map(drop)
    }

    fn flush(&mut self) {}

    fn take_unsent(&mut self) -> Option<Unsent> {
        None
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
        (answer > 128).then(|| IncomingError {
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
        false
    }
}

/// The network: frames that the gateway sends are looked at, and there is not always room.
#[derive(Debug, Default)]
struct Wire {
    full: bool,
    /// acknowledgement numbers and ports of the last segment, so that the input can answer it
    last: Vec<u8>,
}

impl Output for Wire {
    fn emit(&mut self, len: usize, meta: FrameMeta, fill: &mut dyn FnMut(&mut [u8])) -> bool {
        assert!((14..=65_549).contains(&len), "a frame of {len} bytes");
        if self.full {
            return false;
        }
        let mut frame = vec![0; len];
        fill(&mut frame);
        assert_eq!(frame[6..12], GATEWAY.0, "the source is the gateway");
        if let Some(gso) = meta.gso {
            assert!(gso.size > 0 && usize::from(gso.header_len) < len);
        }
        frame.truncate(128);
        self.last = frame;
        true
    }

    fn room(&mut self) -> usize {
        if self.full { 0 } else { 64 }
    }
}

/// Plays the input.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mut config = Config::new(GATEWAY);
    config.quotas.flows_per_guest = MAX_FLOWS;
    config.policy.gateway_is_host_loopback = input.u8().is_multiple_of(2);
    let len = usize::from(input.u8());
    let script = Script {
        answers: input.take(len).to_vec(),
        ..Script::default()
    };
    let mut gateway = Gateway::new(config, script, 7);
    let mut wire = Wire::default();
    let mut now = Duration::from_secs(1);
    while !input.is_empty() {
        match input.u8() % 8 {
            0..=3 => {
                let frame = frame(&mut input, &wire.last);
                let frame = (&frame[..], FrameMeta::default());
                gateway.input(now, PortId(1), frame, &mut wire);
            }
            4 => {
                let which = usize::from(input.u8());
                let mut tokens: Vec<_> = gateway.host_mut().open.iter().collect();
                tokens.sort_unstable_by_key(|(socket, _)| **socket);
                let token = tokens
                    .get(which % tokens.len().max(1))
                    .map(|(_, token)| **token);
                let bits = input.u8();
                let ready = Readiness {
                    readable: bits & 1 != 0,
                    writable: bits & 2 != 0,
                    peer_closed: bits & 4 != 0,
                    error: bits & 8 != 0,
                    urgent: bits & 16 != 0,
                };
                let token = token.unwrap_or(Token::from_bits(input.u64()));
                gateway.host_event(now, token, ready, &mut wire);
            }
            5 => now += Duration::from_millis(u64::from(input.u16()) * 16),
            6 => wire.full = input.u8().is_multiple_of(4),
            _ => {}
        }
        gateway.poll(now, &mut wire);
        assert!(
            gateway.flows(now).count() <= MAX_FLOWS,
            "more flows than there may be"
        );
    }
    // All of it ends by itself: a day without a sign of the guest.
    wire.full = false;
    for _ in 0..200 {
        now += Duration::from_mins(10);
        for _ in 0..64 {
            gateway.poll(now, &mut wire);
        }
    }
    let (flows, open) = (gateway.flows(now).count(), gateway.host_mut().open.len());
    assert!(
        open <= flows + MAX_FLOWS,
        "{open} sockets for {flows} flows"
    );
}

/// A frame of the guest: made up, or a whole one with its sums right and fields of the input.
fn frame(input: &mut Input<'_>, last: &[u8]) -> Vec<u8> {
    let kind = input.u8();
    let len = usize::from(input.u8()) * if kind & 0x80 == 0 { 1 } else { 64 };
    let mut frame = Vec::from(GATEWAY.0);
    frame.extend(GUEST.0);
    match kind % 4 {
        0 => {
            frame.extend([[8, 0], [0x86, 0xdd], [8, 6], [0x81, 0]][usize::from(kind >> 4 & 3)]);
            frame.extend(input.take(len));
        }
        1 => ipv4(&mut frame, 17, input.take(len)),
        2 => ipv4(&mut frame, 1, input.take(len)),
        _ => {
            // A segment that answers the last one: numbers near those that are right.
            let field = |at: usize| {
                let bytes = last.get(at..at + 4).and_then(|b| b.try_into().ok());
                u32::from_be_bytes(bytes.unwrap_or([0; 4]))
            };
            let mut tcp = vec![0x9c, 0x40 + input.u8() % 4, 0, 80 + input.u8() % 4];
            let near = |base: u32, input: &mut Input<'_>| {
                base.wrapping_add(u32::from(input.u16() >> (input.u8() % 16)))
                    .to_be_bytes()
            };
            tcp.extend(near(field(42), input));
            tcp.extend(near(field(38), input));
            tcp.extend([0x50 | (input.u8() & 0xf0), input.u8()]);
            tcp.extend(input.u16().to_be_bytes());
            tcp.extend([0, 0, 0, 0]);
            tcp.extend(input.take(len % 64));
            tcp.resize(tcp.len() + len, 7);
            ipv4(&mut frame, 6, &tcp);
        }
    }
    frame
}

/// An IPv4 packet, with sums that are right, so that the input gets past them.
fn ipv4(frame: &mut Vec<u8>, protocol: u8, payload: &[u8]) {
    let (source, destination) = ([10, 0, 2, 15], [192, 0, 2, 1]);
    let total = u16::try_from(20 + payload.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    header.extend(source);
    header.extend(destination);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    let mut payload = payload.to_vec();
    let len = u16::try_from(payload.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let pseudo = [&source[..], &destination, &[0, protocol], &len].concat();
    let (at, pseudo) = match protocol {
        6 => (16, &pseudo[..]),
        17 => (6, &pseudo[..]),
        _ => (2, &[][..]),
    };
    if let Some(field) = payload.get_mut(at..at + 2) {
        field.fill(0);
        let sum = checksum(&[pseudo, &payload]);
        payload[at..at + 2].copy_from_slice(&sum);
    }
    frame.extend([8, 0]);
    frame.extend(header);
    frame.extend(payload);
}

/// RFC 1071; all parts but the last are even.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap_or(0)).to_be_bytes()
}
