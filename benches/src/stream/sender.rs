//! What may be sent of an endless stream, and when again: the sender's half of TCP (RFC 9293, 3.8), without congestion control,
//! which knows of losses only that nothing is acknowledged for a while (go back to the first loss).

use std::time::Duration;

use anyhow::ensure;

/// First wait for an acknowledgement; it doubles with each. As short as Linux's shortest (`TCP_RTO_MIN`; RFC 6298, 2.4 has 1 s, for
/// longer ways than that to a back-end).
pub(crate) const TIMEOUT: Duration = Duration::from_millis(200);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(2);
/// A peer that acknowledges nothing for so long is stuck, or its window shut for good.
pub(crate) const STUCK: Duration = Duration::from_secs(10);
/// Segment size of a peer that tells none (RFC 9293, 3.7.1).
const DEFAULT_MSS: u16 = 536;
/// Least segment size that is followed, that of Linux (`TCP_MIN_MSS`): segments would be all headers, and more of them in a
/// frame than back-ends cut.
const LEAST_MSS: u16 = 88;
/// RFC 7323, 2.3: larger shifts mean this one.
const MOST_SHIFT: u8 = 14;
/// Bytes of payload that one IPv4 packet holds behind a TCP header without options (RFC 791, 3.1).
const MOST: u16 = u16::MAX - 40;

/// What the peer told with its SYN.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) seq: u32,
    pub(crate) window: u16,
    pub(crate) mss: Option<u16>,
    pub(crate) shift: Option<u8>,
}

/// A piece of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// First byte.
    pub(crate) at: u64,
    pub(crate) len: u32,
    /// The end of the stream instead of bytes.
    pub(crate) fin: bool,
}

/// What an acknowledgement was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    Taken,
    /// Of what was acknowledged before.
    Old,
    /// Of what was never sent.
    Unsent,
}

/// Places are counted from the first byte of the stream on; the end takes one more.
#[derive(Debug)]
pub(crate) struct Sender {
    /// Sequence number of the first byte.
    first: u32,
    /// SND.UNA
    acked: u64,
    /// What is sent next: behind `high`, or less if it is sent again.
    next: u64,
    /// SND.NXT
    high: u64,
    /// End of the stream, once it is known.
    end: Option<u64>,
    /// Behind the last byte that the peer takes.
    edge: u64,
    /// Largest window that it has offered.
    widest: u64,
    /// SND.WL1 and SND.WL2: what the edge was last told by.
    told: (u32, u64),
    shift: u8,
    mss: u16,
    /// Pieces end at multiples of it.
    period: u64,
    timer: Duration,
    timeout: Duration,
    /// When something was acknowledged last.
    progress: Duration,
    /// Something has to be sent whatever the window is.
    probe: bool,
    /// Frames that were sent.
    frames: u64,
    /// Of these: once more.
    again: u64,
}

impl Sender {
    /// To a peer that has acknowledged our SYN with sequence number `iss`. Pieces do not go across multiples of `period`.
    pub(crate) fn new(iss: u32, offer: &Offer, period: u64, now: Duration) -> Self {
        // The window of a SYN is not scaled (RFC 7323, 2.2).
        let window = u64::from(offer.window);
        Self {
            first: iss.wrapping_add(1),
            acked: 0,
            next: 0,
            high: 0,
            end: None,
            edge: window,
            widest: window,
            told: (offer.seq, 0),
            shift: offer.shift.unwrap_or(0).min(MOST_SHIFT),
            mss: offer.mss.unwrap_or(DEFAULT_MSS).clamp(LEAST_MSS, MOST),
            period: period.max(1),
            timer: now + TIMEOUT,
            timeout: TIMEOUT,
            progress: now,
            probe: false,
            frames: 0,
            again: 0,
        }
    }

    /// Largest segment.
    pub(crate) fn mss(&self) -> u16 {
        self.mss
    }

    /// Bytes that were acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.min(self.end.unwrap_or(u64::MAX))
    }

    /// Frames that were sent, and how many of them once more.
    pub(crate) fn frames(&self) -> (u64, u64) {
        (self.frames, self.again)
    }

    /// Sequence number of a segment without payload.
    pub(crate) fn seq(&self) -> u32 {
        self.seq_of(self.high)
    }

    /// Sequence number of a place.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the circle has 32 bits (RFC 9293, 3.4)"
    )]
    pub(crate) fn seq_of(&self, place: u64) -> u32 {
        self.first.wrapping_add(place as u32)
    }

    /// Nothing follows what was sent so far.
    pub(crate) fn finish(&mut self) {
        self.end.get_or_insert(self.high);
    }

    /// Whether the peer has acknowledged the end.
    pub(crate) fn is_finished(&self) -> bool {
        self.end.is_some_and(|end| self.acked > end)
    }

    /// When [`Self::check`] is due.
    pub(crate) fn timer(&self) -> Duration {
        self.timer
    }

    /// Takes what a segment says. Windows are those of the latest segment, not of one that was overtaken (RFC 9293, 3.10.7.4).
    pub(crate) fn take(&mut self, seq: u32, ack: u32, window: u16, now: Duration) -> Ack {
        let ahead = ack.wrapping_sub(self.seq_of(self.acked)).cast_signed();
        let Ok(ahead) = u64::try_from(ahead) else {
            return Ack::Old;
        };
        let ack = self.acked + ahead;
        if ack > self.high {
            return Ack::Unsent;
        }
        if ahead > 0 {
            self.acked = ack;
            // It may acknowledge what was about to be sent again.
            self.next = self.next.max(ack);
            self.progress = now;
            self.timeout = TIMEOUT;
            self.timer = now + TIMEOUT;
        }
        let (told_seq, told_ack) = self.told;
        let later = seq.wrapping_sub(told_seq).cast_signed();
        if later > 0 || (later == 0 && told_ack <= ack) {
            let window = u64::from(window) << self.shift;
            self.told = (seq, ack);
            self.edge = ack + window;
            self.widest = self.widest.max(window);
        }
        Ack::Taken
    }

    /// What to send now; nothing: the window or the peer's acknowledgement is waited for.
    pub(crate) fn due(&self) -> Option<Piece> {
        let at = self.next;
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(at));
        if left == 0 {
            let fin = self.end == Some(at) && self.acked == at;
            return fin.then_some(Piece { at, len: 0, fin });
        }
        let whole = u64::from(MOST / self.mss * self.mss);
        let wanted = whole.min(left).min(self.period - at % self.period);
        // A probe is one byte, whatever the window (RFC 9293, 3.8.6.1).
        let usable = self.edge.saturating_sub(at).max(self.probe.into());
        let len = wanted.min(usable);
        if len == 0 || !(self.probe || len == wanted || self.is_worth(len)) {
            return None;
        }
        let len = u32::try_from(len).ok()?;
        let fin = false;
        Some(Piece { at, len, fin })
    }

    /// Whether to send less than one would like: not while larger frames follow from waiting for acknowledgements, and no
    /// crumbs at all (silly windows, RFC 9293, 3.8.6.2.1).
    fn is_worth(&self, len: u64) -> bool {
        let alone = self.next == self.acked;
        len >= self.widest.div_ceil(2) || (alone && len >= self.mss.into())
    }

    /// A piece that was due has been sent.
    pub(crate) fn sent(&mut self, piece: Piece, now: Duration) {
        if self.next == self.acked {
            self.timer = now + self.timeout;
        }
        self.frames += 1;
        self.again += u64::from(piece.at < self.high);
        self.next = piece.at + u64::from(piece.len) + u64::from(piece.fin);
        self.high = self.high.max(self.next);
        self.probe = false;
    }

    /// Looks whether too long was waited for the peer: then all that it has not acknowledged is sent again, or its window is probed.
    pub(crate) fn check(&mut self, now: Duration) -> anyhow::Result<()> {
        if now < self.timer || self.is_finished() {
            return Ok(());
        }
        ensure!(
            now.saturating_sub(self.progress) < STUCK,
            "the peer has acknowledged nothing for {STUCK:?}: {} of {} bytes so far, and its window has {} more",
            self.acked,
            self.high,
            self.edge.saturating_sub(self.acked)
        );
        self.next = self.acked;
        self.probe = true;
        self.timeout = (self.timeout * 2).min(LONGEST);
        self.timer = now + self.timeout;
        Ok(())
    }
}

#[cfg(test)]
#[path = "sender_test.rs"]
mod tests;
