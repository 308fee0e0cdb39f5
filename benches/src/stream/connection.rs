//! A TCP connection that only sends (RFC 9293, 3.10): it begins, carries an endless stream, ends. What the peer sends is
//! acknowledged and forgotten. Time is a parameter.

use std::time::Duration;

use anyhow::{bail, ensure};
use smoltcp::wire::TcpControl;

use super::{
    packet::{Header, OUR_WINDOW, Segment},
    sender::{Ack, Offer, Piece, STUCK, Sender},
};

/// What we take in one segment, so that it fits an Ethernet frame.
const OUR_MSS: u16 = 1460;
/// First wait for an answer to our SYN (RFC 6298, 2.1); it doubles with each.
const SYN_TIMEOUT: Duration = Duration::from_secs(1);
/// How often SYN is sent.
const SYNS: u32 = 4;

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) header: Header,
    /// Of the stream, with the segment.
    pub(crate) piece: Option<Piece>,
}

#[derive(Debug)]
enum Phase {
    /// SYN is to be sent as soon as the time has come.
    Connecting { syns: u32, again: Duration },
    /// All that follows.
    Open(Sender),
}

/// The guest's end of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    iss: u32,
    period: u64,
    phase: Phase,
    /// RCV.NXT
    expected: u32,
    /// An acknowledgement is to be sent.
    answer: bool,
    /// Since when we have ended, and the peer has not.
    ended: Option<Duration>,
    peer_ended: bool,
}

impl Connection {
    /// One that begins with sequence number `iss`; the stream repeats after `period` bytes.
    pub(crate) fn new(iss: u32, period: u64, now: Duration) -> Self {
        Self {
            iss,
            period,
            phase: Phase::Connecting {
                syns: 0,
                again: now,
            },
            expected: 0,
            answer: false,
            ended: None,
            peer_ended: false,
        }
    }

    /// The sending half, once the peer has answered.
    pub(crate) fn sender(&self) -> Option<&Sender> {
        match &self.phase {
            Phase::Connecting { .. } => None,
            Phase::Open(sender) => Some(sender),
        }
    }

    /// Bytes that the peer has acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.sender().map_or(0, Sender::acked)
    }

    /// Ends the stream behind what was sent so far.
    pub(crate) fn finish(&mut self, now: Duration) {
        if let Phase::Open(sender) = &mut self.phase {
            sender.finish();
            self.ended = Some(now);
        }
    }

    /// Whether both sides have ended and know it of each other.
    pub(crate) fn is_over(&self) -> bool {
        self.peer_ended && !self.answer && self.sender().is_some_and(Sender::is_finished)
    }

    /// When [`Self::check`] is due.
    pub(crate) fn timer(&self) -> Duration {
        match &self.phase {
            Phase::Connecting { again, .. } => *again,
            Phase::Open(sender) => sender.timer(),
        }
    }

    /// Looks whether too long was waited for the peer.
    pub(crate) fn check(&mut self, now: Duration) -> anyhow::Result<()> {
        match &mut self.phase {
            Phase::Connecting { syns, again } => ensure!(
                *syns < SYNS || now < *again,
                "nobody has answered a SYN, which was sent {SYNS} times"
            ),
            Phase::Open(sender) => {
                sender.check(now)?;
                let ended = self.ended.filter(|_| sender.is_finished());
                ensure!(
                    self.peer_ended
                        || ended.is_none_or(|ended| now.saturating_sub(ended) < 2 * STUCK),
                    "the peer has not ended the connection, which we have"
                );
            }
        }
        Ok(())
    }

    /// What to send now.
    pub(crate) fn due(&self, now: Duration) -> Option<Due> {
        let sender = match &self.phase {
            Phase::Connecting { syns, again } => {
                return (*syns < SYNS && now >= *again).then(|| self.syn());
            }
            Phase::Open(sender) => sender,
        };
        let piece = sender.due();
        if piece.is_none() && !self.answer {
            return None;
        }
        let control = match piece {
            Some(piece) if piece.fin => TcpControl::Fin,
            Some(_) => TcpControl::Psh,
            None => TcpControl::None,
        };
        let header = Header {
            control,
            seq: piece.map_or_else(|| sender.seq(), |piece| sender.seq_of(piece.at)),
            ack: Some(self.expected),
            mss: None,
        };
        Some(Due { header, piece })
    }

    fn syn(&self) -> Due {
        let header = Header {
            control: TcpControl::Syn,
            seq: self.iss,
            ack: None,
            mss: Some(OUR_MSS),
        };
        Due {
            header,
            piece: None,
        }
    }

    /// What was due has been sent.
    pub(crate) fn sent(&mut self, due: Due, now: Duration) {
        match &mut self.phase {
            Phase::Connecting { syns, again } => {
                *again = now + SYN_TIMEOUT * (1 << (*syns).min(SYNS));
                *syns += 1;
            }
            Phase::Open(sender) => {
                self.answer = false;
                if let Some(piece) = due.piece {
                    sender.sent(piece, now);
                }
            }
        }
    }

    /// Takes a segment that came.
    pub(crate) fn take(&mut self, segment: &Segment, now: Duration) -> anyhow::Result<()> {
        match self.phase {
            Phase::Connecting { .. } => self.take_answer(segment, now),
            Phase::Open(_) => self.take_in_order(segment, now),
        }
    }

    /// RFC 9293, 3.10.7.3. What does not acknowledge our SYN is of no connection of ours.
    fn take_answer(&mut self, segment: &Segment, now: Duration) -> anyhow::Result<()> {
        if segment.ack != Some(self.iss.wrapping_add(1)) {
            return Ok(());
        }
        match segment.control {
            TcpControl::Rst => bail!("the connection was refused (RST)"),
            TcpControl::Syn => {
                let offer = Offer {
                    seq: segment.seq,
                    window: segment.window,
                    mss: segment.mss,
                    shift: segment.shift,
                };
                self.expected = segment.seq.wrapping_add(1);
                self.phase = Phase::Open(Sender::new(self.iss, &offer, self.period, now));
                self.answer = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 9293, 3.10.7.4, and RFC 5961 for what may be of an earlier connection.
    fn take_in_order(&mut self, segment: &Segment, now: Duration) -> anyhow::Result<()> {
        let ahead = segment.seq.wrapping_sub(self.expected);
        let is_reset = segment.control == TcpControl::Rst;
        if is_reset && ahead == 0 {
            bail!(
                "the peer has reset the connection (RST) after {} bytes",
                self.acked()
            );
        }
        if ahead >= u32::from(OUR_WINDOW) || is_reset || segment.control == TcpControl::Syn {
            // A reset that is nowhere near is answered by nothing (RFC 5961, 3.2).
            self.answer |= !is_reset || ahead < u32::from(OUR_WINDOW);
            return Ok(());
        }
        let Phase::Open(sender) = &mut self.phase else {
            return Ok(());
        };
        let Some(ack) = segment.ack else {
            return Ok(());
        };
        if sender.take(segment.seq, ack, segment.window, now) == Ack::Unsent {
            self.answer = true;
            return Ok(());
        }
        let fin = segment.control == TcpControl::Fin;
        if segment.len > 0 || fin {
            self.answer = true;
            // What came early is not kept: it comes again.
            if ahead == 0 {
                self.expected = self.expected.wrapping_add(segment.len);
                self.expected = self.expected.wrapping_add(fin.into());
                self.peer_ended |= fin;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
