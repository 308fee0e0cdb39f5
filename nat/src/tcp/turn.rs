//! A flow's turn: bytes move between the socket and the guest, as far as both let them, and within a budget.
use super::flow::{Flow, Outcome, Peer, Phase};
use super::ring::Ring;
use super::segment::Header;
use super::sender::Expired;
use crate::env::Env;
use crate::host::HostError;
use crate::limit::Limit;
use std::time::Duration;

/// Bytes that one turn sends to the guest.
const BUDGET: usize = 256 << 10;
/// ACKs at once: fast retransmit needs three, more tell nothing new.
const MAX_DUPLICATES: u8 = 4;
/// How long TIME-WAIT lasts. Twice the lifetime of a segment on a link that is memory is next to nothing; a second is for a guest
/// that was stopped for a moment.
const TIME_WAIT: Duration = Duration::from_secs(2);
/// Between probes of an idle connection, and how many are sent.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const MAX_KEEP_ALIVES: u8 = 4;
/// Timeouts in a row without a sign of the guest, after which it is gone: about 100 s (RFC 9293, 3.8.3, R2).
const MAX_SILENCE: u8 = 9;
/// When a flow that its rate limit has stopped looks again.
const RATE_PAUSE: Duration = Duration::from_millis(4);

/// What is worth a call, or a segment, if there is as much: an Ethernet segment.
const LEAST: usize = 1460;

/// How much of `wanted` bytes a limit lets pass now; `None`: not enough to be worth it.
fn allowed(wanted: usize, limit: Option<(&mut Limit, Duration)>) -> Option<usize> {
    let Some((limit, now)) = limit else {
        return Some(wanted);
    };
    let room = limit.room(now);
    (room >= wanted.min(LEAST)).then_some(wanted.min(room))
}

/// The connection cannot go on: the other end is gone.
struct Gone;

impl Flow {
    pub(super) fn turn(&mut self, env: &mut Env<'_>) -> Outcome {
        match self.phase {
            Phase::Connecting => self.connect(env),
            Phase::SynReceived | Phase::SynSent if self.syn_due => self.send_syn(env),
            Phase::SynReceived | Phase::SynSent => Outcome::Keep,
            Phase::Open => self.turn_open(env).unwrap_or_else(|Gone| {
                let told = self.reset_guest(env);
                self.close_peer(env);
                self.phase = Phase::Resetting;
                if told {
                    Outcome::Remove
                } else {
                    Outcome::Blocked
                }
            }),
            Phase::Resetting if self.send_reset(env) => Outcome::Remove,
            Phase::Resetting => Outcome::Blocked,
            Phase::TimeWait => {
                if self.ack_due && !self.send_ack(env) {
                    return Outcome::Blocked;
                }
                Outcome::Keep
            }
        }
    }

    fn turn_open(&mut self, env: &mut Env<'_>) -> Result<Outcome, Gone> {
        self.write_to_peer(env)?;
        self.receiver.set_share(env.windows.share());
        let mut outcome = self.read_from_peer(env)?;
        match self.send_data(env) {
            Outcome::Keep => {}
            other => outcome = other,
        }
        if outcome != Outcome::Blocked && !self.send_control(env) {
            outcome = Outcome::Blocked;
        }
        self.sender.release_if_empty(env.pool);
        self.receiver.release_if_empty(env.pool);
        self.account(env);
        if outcome != Outcome::Blocked && self.is_over() {
            return Ok(self.end(env));
        }
        Ok(outcome)
    }

    /// Bytes that wait in the receiver go to the world.
    fn write_to_peer(&mut self, env: &mut Env<'_>) -> Result<(), Gone> {
        while self.side.writable && self.receiver.waiting() > 0 {
            let waiting = self.receiver.waiting();
            let Some(most) = allowed(waiting, self.upload(env)) else {
                self.pause(env);
                break;
            };
            match self.write_peer(env, &self.receiver.to_write(most)) {
                Ok(len) => {
                    self.sent += len as u64;
                    self.receiver.consumed(len);
                    if let Some((limit, _)) = self.upload(env) {
                        limit.passed(len);
                    }
                    let service = matches!(self.peer, Peer::Service(_));
                    // A service takes one part at a time, and may have its answer ready.
                    self.side.writable = len == most || service;
                    self.side.readable |= service;
                }
                Err(HostError::WouldBlock) => self.side.writable = false,
                Err(_) => return Err(Gone),
            }
        }
        if self.receiver.finished() && self.receiver.waiting() == 0 && !self.side.shut {
            self.side.shut = true;
            match self.peer {
                Peer::Host(socket) => env.host.shutdown_write(socket),
                Peer::Service(stream) => {
                    env.services.stream_finished(stream);
                    self.side.readable = true;
                }
            }
        }
        Ok(())
    }

    /// The limit of what goes to the world, and the time.
    fn upload<'e>(&self, env: &'e mut Env<'_>) -> Option<(&'e mut Limit, Duration)> {
        let account = env.guests.get_mut(self.tuple.guest)?;
        Some((account.upload.as_mut()?, env.now))
    }

    /// The limit of what the guest is sent, and the time.
    fn download<'e>(&self, env: &'e mut Env<'_>) -> Option<(&'e mut Limit, Duration)> {
        let account = env.guests.get_mut(self.tuple.guest)?;
        Some((account.download.as_mut()?, env.now))
    }

    fn pause(&mut self, env: &Env<'_>) {
        self.wake_at = Some(env.now + RATE_PAUSE);
    }

    /// Bytes of the world come into the sender's ring, as many as it may hold.
    fn read_from_peer(&mut self, env: &mut Env<'_>) -> Result<Outcome, Gone> {
        if !self.side.readable || self.side.ended {
            return Ok(Outcome::Keep);
        }
        let wanted = self
            .sender
            .wanted_capacity(env.config.quotas.buffer_per_flow);
        // Without storage of the wanted capacity the least will do.
        let least = Ring::capacity_for(1).min(wanted);
        let held = self.sender.capacity();
        for capacity in [wanted, least] {
            if capacity > self.sender.capacity() && self.may_grow(env, capacity - held) {
                self.sender.reserve(env.pool, capacity);
                self.account(env);
            }
        }
        let room = self.sender.room();
        if room == 0 {
            // It goes on when something is acknowledged; without any storage nothing will be.
            if self.sender.capacity() == 0 {
                self.pause(env);
            }
            return Ok(Outcome::Keep);
        }
        match Self::read_peer(self.peer, env, &mut self.sender.room_mut(room)) {
            Ok(0) => {
                self.side.ended = true;
                self.guest_first = self.receiver.finished();
                self.sender.finish();
            }
            Ok(len) => {
                self.received += len as u64;
                self.active = env.now;
                self.sender.filled(len);
                // Less than there was room for: there was no more. But an end that came with it is not announced again, and a read
                // stops at a mark of urgent data whatever comes behind it.
                let service = matches!(self.peer, Peer::Service(_));
                self.side.readable =
                    len >= room || self.side.hung_up || self.side.urgent || service;
                // It may have waited for this to take more questions.
                self.side.writable |= service;
                if self.side.readable {
                    return Ok(Outcome::Again);
                }
            }
            Err(HostError::WouldBlock) => self.side.readable = false,
            Err(_) => return Err(Gone),
        }
        Ok(Outcome::Keep)
    }

    /// Bytes go to the guest, as far as its window and the budget let them.
    fn send_data(&mut self, env: &mut Env<'_>) -> Outcome {
        let Some(route) = self.route(env) else {
            return Outcome::Remove;
        };
        let mut budget = BUDGET;
        while let Some(mut plan) = self.sender.plan() {
            if budget == 0 {
                return Outcome::Again;
            }
            let now = env.now;
            let Some(most) = allowed(plan.len, self.download(env)) else {
                self.pause(env);
                return Outcome::Keep;
            };
            if most < plan.len {
                plan.len = most;
                plan.fin = false;
            }
            let end = self.sender.unacknowledged() + self.sender.len();
            let header = Header {
                seq: plan.seq,
                ack: Some(self.receiver.next()),
                fin: plan.fin,
                psh: plan.seq + plan.len == end,
                window: self.receiver.advertise(false),
                ..Header::default()
            };
            let payload = self.sender.slices(&plan);
            if !header.emit(env.out, &route, payload, self.sender.mss()) {
                return Outcome::Blocked;
            }
            env.counters.tcp_retransmits += u64::from(plan.again);
            self.sender.sent(&plan, now);
            if let Some((limit, _)) = self.download(env) {
                limit.passed(plan.len);
            }
            budget = budget.saturating_sub(plan.len.max(1));
            // Data acknowledge by the way; what is told of gaps they have no room for.
            self.ack_due &= self.duplicates_due > 0;
            self.delay.answered(now);
        }
        self.sender.idle(env.now);
        Outcome::Keep
    }

    /// Sends what has no data: acknowledgements and probes. False: there was no room.
    fn send_control(&mut self, env: &mut Env<'_>) -> bool {
        if self.probe_due {
            let header = Header {
                seq: self.sender.unacknowledged().previous(),
                ack: Some(self.receiver.next()),
                window: self.receiver.advertise(false),
                ..Header::default()
            };
            if !self.emit(env, &header) {
                return false;
            }
            self.probe_due = false;
        }
        if self.receiver.window_grew() {
            self.ack_due = true;
        }
        !self.ack_due || self.send_ack(env)
    }

    fn send_ack(&mut self, env: &mut Env<'_>) -> bool {
        let sacks = if self.offer.sack {
            self.receiver.sacks()
        } else {
            Default::default()
        };
        let header = Header {
            seq: self.sender.next(),
            ack: Some(self.receiver.next()),
            window: self.receiver.advertise(false),
            sacks,
            ..Header::default()
        };
        // With SACK one tells of all gaps.
        let count = if self.offer.sack {
            1
        } else {
            self.duplicates_due.clamp(1, MAX_DUPLICATES)
        };
        for _ in 0..count {
            if !self.emit(env, &header) {
                return false;
            }
        }
        self.ack_due = false;
        self.duplicates_due = 0;
        self.delay.acknowledged();
        true
    }

    fn is_over(&self) -> bool {
        self.sender.fin_acknowledged() && self.receiver.finished() && self.receiver.waiting() == 0
    }

    /// Both sides have ended.
    fn end(&mut self, env: &mut Env<'_>) -> Outcome {
        self.close_peer(env);
        self.phase = Phase::TimeWait;
        if self.guest_first {
            return Outcome::Remove;
        }
        self.wake_at = Some(env.now + TIME_WAIT);
        Outcome::Keep
    }

    /// `due`: the end of a pause has come, too.
    pub(super) fn expire_open(&mut self, env: &mut Env<'_>, due: bool) -> Outcome {
        let mut max = MAX_SILENCE;
        let waited = self.delay.expire(env.now);
        self.ack_due |= waited;
        match self.sender.expire(env.now) {
            Expired::Nothing if self.idle_at <= env.now => {
                self.probe_due = true;
                self.silent += 1;
                self.idle_at = env.now + KEEP_ALIVE;
                max = MAX_KEEP_ALIVES;
            }
            Expired::Nothing if due || waited => {}
            // The deadline has moved since it was set.
            Expired::Nothing => return Outcome::Keep,
            Expired::Again => self.silent += 1,
            Expired::Probe => {
                self.probe_due = true;
                self.silent += 1;
            }
        }
        if self.silent > max {
            self.reset_guest(env);
            self.reset_peer(env);
            return Outcome::Remove;
        }
        Outcome::Again
    }
}
