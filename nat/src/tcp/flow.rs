//! A flow: one connection of a guest and what is at its other end.
use super::delay::AckDelay;
use super::receiver::Receiver;
use super::segment::{Header, Route};
use super::sender::Sender;
use super::seq::Seq;
use crate::MacAddr;
use crate::env::Env;
use crate::frame::{Link, Pseudo};
use crate::host::{HostError, SocketId};
use crate::services::StreamId;
use crate::status::{FlowDirection, FlowState, FlowStatus, Protocol};
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What tells a flow from all others. The guest is part of it: two guests with one address do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tuple {
    pub(crate) guest: u32,
    pub(crate) guest_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) guest_address: IpAddr,
    pub(crate) remote_address: IpAddr,
}

impl Tuple {
    pub(crate) fn local(&self) -> SocketAddr {
        SocketAddr::new(self.guest_address, self.guest_port)
    }

    /// The other end, as the guest sees it.
    pub(crate) fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.remote_address, self.remote_port)
    }
}

/// What is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Host(SocketId),
    Service(StreamId),
}

/// How far a flow has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// the host is asked for a connection
    Connecting,
    /// SYN-ACK was sent
    SynReceived,
    /// SYN was sent
    SynSent,
    /// data may flow
    Open,
    /// the other end is gone, and the guest does not know yet
    Resetting,
    /// all is over, and somebody may not know yet
    TimeWait,
}

/// Whom a connection that is being made waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// the world, or the guest that asked for it
    HalfOpen,
    /// the guest, whom the world asked for it
    Unanswered,
}

/// What the guest's SYN said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Offer {
    pub(crate) irs: Seq,
    pub(crate) window: u16,
    pub(crate) mss: u16,
    /// scale of the guest's windows; `None`: neither side scales
    pub(crate) shift: Option<u8>,
    pub(crate) sack: bool,
}

/// What becomes of a flow after something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Keep,
    /// there is more to do, when others had their turn
    Again,
    /// there was no room towards the network
    Blocked,
    /// it is over, and its socket closed
    Remove,
}

/// What happened at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PeerSide {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// an event said that it sends no more
    pub(crate) hung_up: bool,
    /// there has been urgent data
    pub(crate) urgent: bool,
    /// it was read to its end
    pub(crate) ended: bool,
    /// it was told that we send no more
    pub(crate) shut: bool,
}

#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) tuple: Tuple,
    pub(crate) mac: MacAddr,
    pub(crate) direction: FlowDirection,
    pub(crate) peer: Peer,
    pub(crate) phase: Phase,
    pub(crate) iss: Seq,
    pub(crate) offer: Offer,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) side: PeerSide,
    /// an acknowledgement is due
    pub(crate) ack_due: bool,
    /// when one is due that may wait
    pub(crate) delay: AckDelay,
    /// as many more: each tells of a gap (RFC 5681, 4.2)
    pub(crate) duplicates_due: u8,
    /// a probe is due: an old sequence number, which is answered with an acknowledgement
    pub(crate) probe_due: bool,
    /// SYN or SYN-ACK is due
    pub(crate) syn_due: bool,
    /// next deadline of handshake, TIME-WAIT or a rate limit
    pub(crate) wake_at: Option<Duration>,
    /// when nothing has happened for too long
    pub(crate) idle_at: Duration,
    /// the guest probes us, and the host the world since then
    pub(crate) kept_alive: bool,
    /// the guest sent FIN before we did
    pub(crate) guest_first: bool,
    /// timeouts since the guest was heard
    pub(crate) silent: u8,
    /// on the list of those with something to do
    pub(crate) listed: bool,
    /// bytes of storage that count against the guest
    pub(crate) accounted: usize,
    pub(crate) created: Duration,
    pub(crate) active: Duration,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// when it was busy the last time (see [`super::windows`])
    pub(crate) epoch: u64,
}

impl Flow {
    pub(crate) fn new(
        env: &Env<'_>,
        tuple: Tuple,
        mac: MacAddr,
        direction: FlowDirection,
        peer: Peer,
        iss: Seq,
        offer: Offer,
    ) -> Self {
        let mut flow = Self {
            tuple,
            mac,
            direction,
            peer,
            phase: Phase::Connecting,
            iss,
            offer,
            sender: Sender::new(iss + 1, 1, 0, 0),
            receiver: Receiver::new(Seq(0), 0, 0),
            side: PeerSide::default(),
            ack_due: false,
            delay: AckDelay::default(),
            duplicates_due: 0,
            probe_due: false,
            syn_due: false,
            wake_at: Some(env.now + env.config.timeouts.tcp_transitory),
            idle_at: env.now + env.config.timeouts.tcp_idle,
            kept_alive: false,
            guest_first: false,
            silent: 0,
            listed: false,
            accounted: 0,
            created: env.now,
            active: env.now,
            sent: 0,
            received: 0,
            epoch: 0,
        };
        flow.accept_offer(env, offer);
        flow
    }

    /// Makes the halves of the connection for what the guest's SYN said.
    pub(crate) fn accept_offer(&mut self, env: &Env<'_>, offer: Offer) {
        use super::receiver::WINDOW_SHIFT;
        self.offer = offer;
        let mss = offer
            .mss
            .min(self.our_mss(env))
            .max(super::handshake::MIN_MSS);
        let shift = offer.shift.unwrap_or(0);
        self.sender = Sender::new(self.iss + 1, mss, shift, offer.window.into());
        let our_shift = offer.shift.map_or(0, |_| WINDOW_SHIFT);
        let limit = env.config.quotas.buffer_per_flow;
        // Without scaling a window is 64 KiB at most.
        let limit = offer.shift.map_or(limit.min(0xffff), |_| limit);
        self.receiver = Receiver::new(offer.irs + 1, our_shift, limit);
    }

    /// The largest segment that our side takes: what the network's MTU leaves.
    pub(crate) fn our_mss(&self, env: &Env<'_>) -> u16 {
        env.config.mtu.saturating_sub(self.headers())
    }

    /// Bytes of the headers of a segment with data, which has no options.
    pub(super) fn headers(&self) -> u16 {
        if self.tuple.guest_address.is_ipv4() {
            40
        } else {
            60
        }
    }

    /// Which quota of connections that are being made it counts against.
    pub(crate) fn opening(&self) -> Option<Opening> {
        match self.phase {
            Phase::Connecting | Phase::SynReceived => Some(Opening::HalfOpen),
            Phase::SynSent => Some(Opening::Unanswered),
            Phase::Open | Phase::Resetting | Phase::TimeWait => None,
        }
    }

    pub(crate) fn route(&self, env: &Env<'_>) -> Option<Route> {
        Some(Route {
            link: Link {
                source: env.config.mac,
                destination: self.mac,
            },
            pseudo: Pseudo::new(self.tuple.remote_address, self.tuple.guest_address)?,
            source_port: self.tuple.remote_port,
            destination_port: self.tuple.guest_port,
        })
    }

    /// Sends a segment without payload. False: there was no room.
    pub(crate) fn emit(&self, env: &mut Env<'_>, header: &Header) -> bool {
        // A flow whose addresses are of two families is not made.
        self.route(env)
            .is_none_or(|route| header.emit(env.out, &route, (&[], &[]), u16::MAX))
    }

    /// Ends the connection towards the guest by RST. False: there was no room for it.
    pub(crate) fn reset_guest(&mut self, env: &mut Env<'_>) -> bool {
        if matches!(self.phase, Phase::Connecting | Phase::TimeWait) {
            return true;
        }
        env.counters.tcp_aborted += 1;
        self.send_reset(env)
    }

    /// Sends RST. False: there was no room.
    pub(crate) fn send_reset(&self, env: &mut Env<'_>) -> bool {
        let header = Header {
            seq: self.sender.next(),
            ack: Some(self.receiver.next()),
            rst: true,
            ..Header::default()
        };
        self.emit(env, &header)
    }

    /// Ends the connection at the other end by RST.
    pub(crate) fn reset_peer(&mut self, env: &mut Env<'_>) {
        match self.peer {
            Peer::Host(socket) if !matches!(self.phase, Phase::Resetting | Phase::TimeWait) => {
                env.host.reset(socket);
            }
            Peer::Host(_) => {}
            Peer::Service(stream) => env.services.stream_closed(stream),
        }
    }

    /// Ends the connection at the other end by its rules.
    pub(crate) fn close_peer(&mut self, env: &mut Env<'_>) {
        match self.peer {
            Peer::Host(socket) => env.host.close(socket),
            Peer::Service(stream) => env.services.stream_closed(stream),
        }
    }

    pub(crate) fn write_peer(
        &self,
        env: &mut Env<'_>,
        from: &[IoSlice<'_>],
    ) -> Result<usize, HostError> {
        match self.peer {
            Peer::Host(socket) => env.host.write(socket, from),
            Peer::Service(stream) => {
                let Some(first) = from.iter().find(|slice| !slice.is_empty()) else {
                    return Ok(0);
                };
                // A flow's guest is known for as long as the flow is there.
                let port = env.guests.port_of(self.tuple.guest);
                let port = port.ok_or(HostError::Reset)?;
                let stream = (stream, port);
                match env.with_services(|services, cx| services.stream_input(cx, stream, first)) {
                    0 => Err(HostError::WouldBlock),
                    taken => Ok(taken),
                }
            }
        }
    }

    pub(crate) fn read_peer(
        peer: Peer,
        env: &mut Env<'_>,
        into: &mut [IoSliceMut<'_>],
    ) -> Result<usize, HostError> {
        match peer {
            Peer::Host(socket) => env.host.read(socket, into),
            Peer::Service(stream) => {
                let Some(first) = into.iter_mut().find(|slice| !slice.is_empty()) else {
                    return Err(HostError::WouldBlock);
                };
                match env.services.stream_output(stream, first) {
                    None => Ok(0),
                    Some(0) => Err(HostError::WouldBlock),
                    Some(len) => Ok(len),
                }
            }
        }
    }

    /// Counts storage that was taken or given back against the guest.
    pub(crate) fn account(&mut self, env: &mut Env<'_>) {
        let held = self.sender.capacity() + self.receiver.capacity();
        if held != self.accounted {
            let before = self.accounted;
            env.guests.count(self.tuple.guest, |all| {
                all.buffered = (all.buffered + held).saturating_sub(before);
            });
            self.accounted = held;
        }
    }

    /// Whether the rings may grow by so much.
    pub(crate) fn may_grow(&self, env: &Env<'_>, more: usize) -> bool {
        env.guests.may_buffer(self.tuple.guest, more)
    }

    /// Gives storage back.
    pub(crate) fn release(&mut self, env: &mut Env<'_>) {
        self.sender.release(env.pool);
        self.receiver.release(env.pool);
        self.account(env);
    }

    /// When it wants to be woken.
    pub(crate) fn deadline(&self) -> Duration {
        let ours = self.wake_at.unwrap_or(Duration::MAX);
        if self.phase != Phase::Open {
            // Nothing is sent again, and nobody is probed: what those timers still say is of the past.
            return ours;
        }
        let timers = [self.sender.deadline(), self.delay.deadline()];
        timers
            .into_iter()
            .flatten()
            .fold(ours.min(self.idle_at), Duration::min)
    }

    pub(crate) fn status(&self, now: Duration) -> FlowStatus {
        let state = match self.phase {
            Phase::Connecting => FlowState::Connecting,
            Phase::SynReceived | Phase::SynSent => FlowState::HandShake,
            Phase::Resetting | Phase::TimeWait => FlowState::Closing,
            Phase::Open => match (self.receiver.finished(), self.sender.fin_queued()) {
                (false, false) => FlowState::Established,
                (true, false) => FlowState::GuestClosed,
                (false, true) => FlowState::WorldClosed,
                (true, true) => FlowState::Closing,
            },
        };
        FlowStatus {
            protocol: Protocol::Tcp,
            direction: self.direction,
            mac: self.mac,
            guest: self.tuple.local(),
            remote: self.tuple.remote(),
            state,
            sent: self.sent,
            received: self.received,
            buffered: self.sender.len() + self.receiver.waiting(),
            age: now.saturating_sub(self.created),
            idle: now.saturating_sub(self.active),
        }
    }
}
