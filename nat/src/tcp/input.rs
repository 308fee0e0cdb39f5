//! What a segment of the guest does to its flow (RFC 9293, 3.10.7).
use super::flow::{Flow, Outcome, Peer, Phase};
use super::segment::{Header, Segment};
use crate::account::Account;
use crate::counters::DropReason;
use crate::env::Env;
use crate::host::HostError;
use std::io::IoSlice;
use std::time::Duration;

/// Payloads of at least this size go to the socket from the frame; smaller ones are collected, and written once per turn.
const DIRECT: usize = 16 << 10;

/// A byte that comes once more within this time was sent again because our acknowledgement got lost, or was late. Later than that
/// five of them would have had to get lost.
const SENT_AGAIN: Duration = Duration::from_secs(30);

/// What becomes of a flow after a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// it has something to do
    Listed,
    /// nothing changed
    Ignored,
    /// it is over
    Remove,
    /// it is over, and the segment begins another
    Replace,
}

impl Flow {
    pub(super) fn input(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) -> Input {
        match self.phase {
            Phase::Connecting => self.input_connecting(env, segment),
            Phase::SynReceived => self.input_syn_received(env, segment),
            Phase::SynSent => self.input_syn_sent(env, segment),
            Phase::Open => self.input_open(env, segment),
            // Its answer is on its way.
            Phase::Resetting => Input::Ignored,
            Phase::TimeWait => self.input_time_wait(segment),
        }
    }

    fn input_connecting(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) -> Input {
        if segment.rst && segment.seq == self.offer.irs + 1 {
            self.reset_peer(env);
            return Input::Remove;
        }
        self.input_new_syn(env, segment)
    }

    /// Before the connection is open, a SYN with another number is one of a guest that has forgotten the first.
    fn input_new_syn(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) -> Input {
        let is_new = segment.syn && segment.ack.is_none() && segment.seq != self.offer.irs;
        if is_new && !segment.rst {
            self.reset_peer(env);
            return Input::Replace;
        }
        Input::Ignored
    }

    fn input_syn_received(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) -> Input {
        if segment.rst {
            if segment.seq != self.receiver.next() {
                env.counters.drop(DropReason::OutOfWindow);
                return Input::Ignored;
            }
            self.reset_peer(env);
            return Input::Remove;
        }
        if segment.syn {
            // One that is due for want of room stays so, whatever comes: no timer runs until it is sent.
            let is_again = segment.seq == self.offer.irs;
            self.syn_due |= is_again;
            return if is_again {
                Input::Listed
            } else {
                self.input_new_syn(env, segment)
            };
        }
        match segment.ack {
            Some(ack) if ack == self.iss + 1 && self.receiver.accepts(segment) => {
                self.open(env, segment);
                self.input_open(env, segment)
            }
            Some(_) => {
                self.answer_with_reset(env, segment);
                Input::Ignored
            }
            None => Input::Ignored,
        }
    }

    fn input_syn_sent(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) -> Input {
        match segment.ack {
            Some(ack) if ack == self.iss + 1 => {}
            Some(_) => {
                self.answer_with_reset(env, segment);
                return Input::Ignored;
            }
            None => return Input::Ignored,
        }
        if segment.rst {
            env.counters.tcp_refused += 1;
            self.reset_peer(env);
            return Input::Remove;
        }
        if segment.syn {
            self.open_inbound(env, segment);
            return Input::Listed;
        }
        Input::Ignored
    }

    fn answer_with_reset(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) {
        env.counters.drop(DropReason::OutOfWindow);
        if let Some(header) = Header::reset_for(segment) {
            self.emit(env, &header);
        }
    }

    fn input_time_wait(&mut self, segment: &Segment<'_>) -> Input {
        if segment.rst {
            return Input::Remove;
        }
        // RFC 6191, 2: a SYN with a later number is a new connection.
        if segment.syn && segment.ack.is_none() && self.receiver.next().before(segment.seq) {
            return Input::Replace;
        }
        self.ack_due = true;
        Input::Listed
    }

    fn input_open(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) -> Input {
        if segment.rst && segment.seq == self.receiver.next() {
            env.counters.tcp_aborted += 1;
            self.reset_peer(env);
            return Input::Remove;
        }
        let in_window = self.receiver.accepts(segment);
        if !in_window || segment.rst || segment.syn {
            // Out of the window, or a blind attack (RFC 5961, 3.2 and 4.2): who is really there answers an ACK as it is right.
            if !in_window {
                env.counters.drop(DropReason::OutOfWindow);
                self.keep_alive(env, segment);
            }
            self.ack_due |= in_window || !segment.rst;
            return Input::Listed;
        }
        if segment.ack.is_none() {
            return Input::Ignored;
        }
        self.touch(env);
        if !self.sender.acknowledge(segment, env.now) {
            self.ack_due = true;
            return Input::Listed;
        }
        if segment.len() == 0 {
            return Input::Listed;
        }
        env.windows.note(env.now, &mut self.epoch);
        let (before, had_gap) = (self.receiver.next(), self.receiver.has_gap());
        if !self.take_payload(env, segment) {
            self.reset_guest(env);
            self.reset_peer(env);
            return Input::Remove;
        }
        self.receiver.note_fin(segment);
        // What fills a gap or a part of one, opens one or comes again is told at once (RFC 5681, 4.2), and so is an end.
        let news = self.receiver.next().distance(before);
        let gap = had_gap || self.receiver.has_gap();
        let is_plain = !segment.fin && news == segment.len() && !gap;
        let (mss, window) = (self.sender.mss(), self.receiver.promised());
        if !is_plain || self.delay.received(env.now, news, mss, window) {
            self.ack_due = true;
        }
        self.account(env);
        Input::Listed
    }

    /// A guest that probes us wants to know whether the other end is still there: so do we then (RFC 1122, 4.2.3.6).
    fn keep_alive(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) {
        if let Peer::Host(socket) = self.peer
            && self.is_probe(env, segment)
            && !std::mem::replace(&mut self.kept_alive, true)
        {
            env.host.keep_alive(socket);
        }
    }

    /// Whether a segment out of the window is a keep-alive probe (RFC 9293, 3.8.4). One with a byte looks like a segment of one byte
    /// that is sent again, but for the time: a probe comes when nothing else has for long. One that comes sooner does not count, and
    /// as a probe is no activity itself, the next ones do. Who sends a byte again after it was stopped for long is taken for one
    /// that probes: nothing tells the two apart, and the host looks at a connection once more than it had to.
    fn is_probe(&self, env: &Env<'_>, segment: &Segment<'_>) -> bool {
        let quiet = env.now.saturating_sub(self.active);
        segment.seq == self.receiver.next().previous()
            && !(segment.fin || segment.syn || segment.rst)
            && match segment.len() {
                0 => true,
                1 => quiet >= SENT_AGAIN,
                _ => false,
            }
    }

    /// Moves a segment's payload on. False: the other end is gone.
    fn take_payload(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) -> bool {
        let (mut start, mut bytes) = self.receiver.trim(segment);
        if bytes.is_empty() {
            return true;
        }
        let in_order = start == self.receiver.next();
        let limited = env
            .guests
            .get(self.tuple.guest)
            .is_none_or(Account::is_upload_limited);
        if in_order
            && bytes.len() >= DIRECT
            && self.receiver.waiting() == 0
            && self.side.writable
            && !limited
        {
            match self.write_peer(env, &[IoSlice::new(bytes)]) {
                Ok(taken) => {
                    self.side.writable = taken == bytes.len();
                    self.sent += taken as u64;
                    self.receiver.passed(taken.min(bytes.len()));
                    // It may be more that is in order now: what came early before.
                    let skip = self.receiver.next().distance(start).min(bytes.len());
                    start += skip;
                    bytes = bytes.get(skip..).unwrap_or_default();
                }
                Err(HostError::WouldBlock) => self.side.writable = false,
                Err(_) => return false,
            }
        }
        if bytes.is_empty() {
            return true;
        }
        let needed = self.receiver.needed_capacity(start, bytes.len());
        let more = needed.saturating_sub(self.receiver.capacity());
        if more > 0 && !self.may_grow(env, more) {
            env.counters.drop(DropReason::BufferQuota);
            return true;
        }
        if !self.receiver.store(env.pool, start, bytes) {
            env.counters.drop(DropReason::BufferQuota);
        }
        if !in_order {
            self.duplicates_due = self.duplicates_due.saturating_add(1);
        }
        true
    }

    /// What a timer does.
    pub(super) fn expire(&mut self, env: &mut Env<'_>) -> Outcome {
        let due = self.wake_at.is_some_and(|at| at <= env.now);
        if due {
            self.wake_at = None;
        }
        match self.phase {
            Phase::Connecting if due => {
                self.refuse(env, HostError::TimedOut);
                self.reset_peer(env);
                Outcome::Remove
            }
            Phase::SynReceived | Phase::SynSent if due => self.syn_timeout(env),
            Phase::TimeWait if due => Outcome::Remove,
            Phase::Open => self.expire_open(env, due),
            _ => Outcome::Keep,
        }
    }
}
