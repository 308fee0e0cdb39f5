//! The half of a connection that sends to the guest: what was not acknowledged, and when it is sent again.
use super::congestion::Congestion;
use super::ranges::Ranges;
use super::ring::{MAX_RING, Pool, Ring};
use super::rtt::Rtt;
use super::segment::Segment;
use super::seq::Seq;
use std::time::Duration;

/// Most payload of a frame that stands for several: with its headers, 40 + 20 bytes, the packet is at most 65 535 long.
const MAX_PAYLOAD: usize = 65_535 - 60;
/// Most segments that one frame stands for: what the software that may have to cut it accepts.
const MAX_SEGMENTS: usize = 64;
/// Frames that what is read at once fills.
const FRAMES_AT_ONCE: usize = 2;
/// What is read at first: ten segments of an Ethernet link, with which a connection begins (RFC 6928).
const FIRST: usize = 16 << 10;
/// ACKs in a row for the same byte that mean a loss (RFC 5681, 3.2).
const DUPLICATES: u8 = 3;

/// What the retransmission timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// nothing was acknowledged: send again
    Retransmit,
    /// a tail loss probe (RFC 8985, 7)
    TailProbe,
    /// the window is closed: ask whether it still is (RFC 9293, 3.8.6.1)
    Persist,
}

/// A part of the stream to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seq: Seq,
    pub(crate) len: usize,
    pub(crate) fin: bool,
    pub(crate) again: bool,
}

/// What is to be done after a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    Nothing,
    /// parts are to be sent again
    Again,
    /// an old sequence number is to be sent, which is answered with the window
    Probe,
}

#[derive(Debug)]
pub(crate) struct Sender {
    ring: Ring,
    len: usize,
    /// most that was stored since the ring got its storage
    peak: usize,
    /// capacity that a ring without storage begins with: a flow that was fast goes on as fast after a pause
    first_capacity: usize,
    /// first that is not acknowledged
    una: Seq,
    /// first that was not sent
    nxt: Seq,
    fin_queued: bool,
    fin_acked: bool,
    /// the guest's window, where it was told, and its scale
    window: usize,
    window_at: (Seq, Seq),
    shift: u8,
    mss: u16,
    congestion: Congestion,
    /// what the guest has behind a gap
    sacked: Ranges,
    /// part that is taken for lost: next to send again, and its end
    lost: Option<(Seq, Seq)>,
    /// during recovery: what had been sent when the loss was seen
    recover: Option<Seq>,
    duplicates: u8,
    rtt: Rtt,
    timed: Option<(Seq, Duration)>,
    timer: Option<(Duration, Timer)>,
}

impl Sender {
    /// The half that begins after our SYN; `window` is what came with the guest's, unscaled.
    pub(crate) fn new(start: Seq, mss: u16, shift: u8, window: usize) -> Self {
        Self {
            ring: Ring::default(),
            len: 0,
            peak: 0,
            first_capacity: Ring::capacity_for(FIRST),
            una: start,
            nxt: start,
            fin_queued: false,
            fin_acked: false,
            window,
            window_at: (Seq(0), start),
            shift,
            mss,
            congestion: Congestion::new(mss, MAX_RING),
            sacked: Ranges::default(),
            lost: None,
            recover: None,
            duplicates: 0,
            rtt: Rtt::new(),
            timed: None,
            timer: None,
        }
    }

    pub(crate) const fn mss(&self) -> u16 {
        self.mss
    }

    /// First sequence number that was not sent.
    pub(crate) const fn next(&self) -> Seq {
        self.nxt
    }

    /// First sequence number that was not acknowledged.
    pub(crate) const fn unacknowledged(&self) -> Seq {
        self.una
    }

    /// Bytes that the guest has not acknowledged, sent or not.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    pub(crate) const fn fin_acknowledged(&self) -> bool {
        self.fin_acked
    }

    pub(crate) const fn fin_queued(&self) -> bool {
        self.fin_queued
    }

    pub(crate) fn sample_rtt(&mut self, rtt: Duration) {
        self.rtt.sample(rtt);
    }

    /// The first window that counts, of the segment that ends the handshake.
    pub(crate) fn set_window(&mut self, segment: &Segment<'_>) {
        self.window_at = (segment.seq, segment.ack.unwrap_or(self.una));
        let shift = if segment.syn { 0 } else { self.shift };
        self.window = usize::from(segment.window) << shift;
    }

    /// The world sends no more.
    pub(crate) fn finish(&mut self) {
        self.fin_queued = true;
    }

    /// Capacity to read from the world into: the ring doubles when it is full and it is the ring that keeps the guest waiting.
    pub(crate) fn wanted_capacity(&self, max: usize) -> usize {
        let capacity = self.ring.capacity();
        let useful = self.congestion.window().min(self.window);
        if capacity == 0 {
            self.first_capacity.min(max)
        } else if self.is_tight() && useful >= capacity {
            (capacity * 2).min(max)
        } else {
            capacity
        }
    }

    /// The ring is full, or, one that is smaller than a connection begins with, has been.
    fn is_tight(&self) -> bool {
        let capacity = self.ring.capacity();
        self.len == capacity || (capacity < FIRST && self.peak >= capacity)
    }

    pub(crate) fn reserve(&mut self, pool: &mut Pool, capacity: usize) {
        self.ring.reserve(pool, self.len, capacity);
    }

    /// Bytes to read from the world at once: they are still in a near cache when they are sent, and fill frames.
    pub(crate) fn room(&self) -> usize {
        let frame = self.max_payload();
        let unsent = self.len.saturating_sub(self.in_flight());
        let wanted = FRAMES_AT_ONCE * frame - unsent % frame;
        wanted.min(self.ring.capacity() - self.len)
    }

    /// The place for so many bytes.
    pub(crate) fn room_mut(&mut self, most: usize) -> [std::io::IoSliceMut<'_>; 2] {
        let room = (self.ring.capacity() - self.len).min(most);
        self.ring.room(self.len, room)
    }

    /// Bytes were put into [`Sender::room_mut`].
    pub(crate) fn filled(&mut self, len: usize) {
        self.len = (self.len + len).min(self.ring.capacity());
        self.peak = self.peak.max(self.len);
    }

    /// Gives storage back if nothing is stored.
    pub(crate) fn release_if_empty(&mut self, pool: &mut Pool) {
        let capacity = self.ring.capacity();
        if self.len == 0 && capacity > 0 {
            let half = (capacity / 2).max(Ring::capacity_for(1));
            // A read that found nothing says nothing of what is needed.
            if self.peak >= capacity {
                self.first_capacity = capacity.max(FIRST);
            } else if self.peak > half {
                self.first_capacity = capacity;
            } else if self.peak > 0 {
                self.first_capacity = half;
            }
            self.peak = 0;
            self.ring.release(pool);
        }
    }

    pub(crate) fn slices(&self, plan: &Plan) -> (&[u8], &[u8]) {
        self.ring.slices(plan.seq.distance(self.una), plan.len)
    }

    /// Bytes of data, and FIN, that were sent and not acknowledged.
    fn in_flight(&self) -> usize {
        self.nxt.distance(self.una)
    }

    /// Of those, the ones that are still thought to be under way.
    fn pipe(&self) -> usize {
        let lost = self.lost.map_or(0, |(from, to)| {
            let held: usize = self
                .sacked
                .iter()
                .map(|(s, e)| e.earlier(to).distance(s.later(from)))
                .sum();
            to.distance(from).saturating_sub(held)
        });
        self.in_flight().saturating_sub(self.sacked.total() + lost)
    }

    /// The next part to send, if there is one that may be sent now.
    pub(crate) fn plan(&self) -> Option<Plan> {
        self.plan_again().or_else(|| self.plan_new())
    }

    fn max_payload(&self) -> usize {
        let mss = usize::from(self.mss);
        (MAX_PAYLOAD / mss).clamp(1, MAX_SEGMENTS) * mss
    }

    fn plan_again(&self) -> Option<Plan> {
        let (from, to) = self.lost?;
        let (seq, end) = self.sacked.gap(from);
        let end = end.map_or(to, |end| end.earlier(to));
        let span = end.distance(seq);
        // The first that is missing is sent however much is under way: all else waits for it (RFC 6675, 5, 4.3).
        if span == 0 || (seq != self.una && self.pipe() >= self.congestion.window()) {
            return None;
        }
        let data_end = self.una + self.len;
        let len = data_end
            .earlier(end)
            .distance(seq)
            .min(self.max_payload())
            .min(self.congestion.window().max(self.mss.into()));
        let fin = self.fin_queued && seq + len == data_end && data_end.before(end);
        (len > 0 || fin).then_some(Plan {
            seq,
            len,
            fin,
            again: true,
        })
    }

    fn plan_new(&self) -> Option<Plan> {
        let in_flight = self.in_flight();
        let available = self.len.saturating_sub(in_flight);
        let fin_left =
            self.fin_queued && !self.fin_acked && self.nxt.at_or_before(self.una + self.len);
        let room = self
            .window
            .saturating_sub(in_flight)
            .min(self.congestion.window().saturating_sub(self.pipe()));
        let mss = usize::from(self.mss);
        let mut len = available.min(room).min(self.max_payload());
        if len < available {
            if len < mss && in_flight > 0 {
                // Rather wait for a window that is worth a segment (RFC 9293, 3.8.6.2.1).
                return None;
            }
            if len > mss {
                len -= len % mss;
            }
        }
        let fin = fin_left && len == available;
        (len > 0 || fin).then_some(Plan {
            seq: self.nxt,
            len,
            fin,
            again: false,
        })
    }

    /// A part was sent.
    pub(crate) fn sent(&mut self, plan: &Plan, now: Duration) {
        let end = plan.seq + plan.len + usize::from(plan.fin);
        if plan.again {
            self.timed = None;
            if let Some((from, _)) = &mut self.lost {
                *from = end;
            }
        } else {
            self.nxt = end;
            if self.timed.is_none() {
                self.timed = Some((end, now));
            }
        }
        if !matches!(self.timer, Some((_, Timer::Retransmit | Timer::TailProbe))) {
            self.restart_timer(now);
        }
    }

    fn restart_timer(&mut self, now: Duration) {
        if self.una == self.nxt {
            self.timer = None;
            return;
        }
        let timeout = self.rtt.timeout();
        let probe = self
            .rtt
            .probe_timeout()
            .filter(|probe| *probe < timeout && self.recover.is_none() && self.rtt.attempts() == 0);
        self.timer = Some(match probe {
            Some(probe) => (now + probe, Timer::TailProbe),
            None => (now + timeout, Timer::Retransmit),
        });
    }

    /// Sees to it that a closed window does not stay unnoticed. To be called when there is nothing to send.
    pub(crate) fn idle(&mut self, now: Duration) {
        let waiting = self.len > self.in_flight();
        if waiting && self.in_flight() == 0 && self.timer.is_none() {
            self.timer = Some((now + self.rtt.timeout(), Timer::Persist));
        }
    }

    /// When [`Sender::expire`] is due.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.timer.map(|(at, _)| at)
    }

    /// Runs the timer, if it is time.
    pub(crate) fn expire(&mut self, now: Duration) -> Expired {
        let Some((at, timer)) = self.timer else {
            return Expired::Nothing;
        };
        if at > now {
            return Expired::Nothing;
        }
        match timer {
            Timer::Persist => {
                self.rtt.back_off();
                self.timer = Some((now + self.rtt.timeout(), Timer::Persist));
                Expired::Probe
            }
            Timer::TailProbe => {
                let tail = self.in_flight().min(self.mss.into());
                let from = self.una + (self.in_flight() - tail);
                self.take_for_lost(from, self.nxt);
                // Whatever comes back behind a gap now tells that there is one.
                self.duplicates = DUPLICATES - 1;
                self.timer = Some((now + self.rtt.timeout(), Timer::Retransmit));
                Expired::Again
            }
            Timer::Retransmit => {
                self.rtt.back_off();
                self.congestion.timed_out(self.pipe());
                self.recover = Some(self.nxt);
                self.lost = Some((self.una, self.nxt));
                self.timed = None;
                self.duplicates = 0;
                self.timer = Some((now + self.rtt.timeout(), Timer::Retransmit));
                Expired::Again
            }
        }
    }

    /// Takes the acknowledgement of an acceptable segment. False: it acknowledges what was never sent.
    pub(crate) fn acknowledge(&mut self, segment: &Segment<'_>, now: Duration) -> bool {
        let Some(ack) = segment.ack else {
            return true;
        };
        if self.nxt.before(ack) {
            return false;
        }
        let window_before = self.window;
        self.update_window(segment, ack);
        let sacked_before = self.sacked.total();
        self.note_sacks(segment);
        if self.una.before(ack) {
            self.advance(ack, now);
        } else if ack == self.una
            && self.in_flight() > 0
            && segment.len() == 0
            && (self.window == window_before || self.sacked.total() > sacked_before)
        {
            self.duplicates = self.duplicates.saturating_add(1);
        }
        self.detect_loss();
        true
    }

    fn update_window(&mut self, segment: &Segment<'_>, ack: Seq) {
        let (seq_at, ack_at) = self.window_at;
        let newer = seq_at.before(segment.seq)
            || seq_at == segment.seq && ack_at.at_or_before(ack)
            || ack_at.before(ack);
        if !newer || ack.before(self.una) {
            return;
        }
        self.window = usize::from(segment.window) << self.shift;
        self.window_at = (segment.seq, ack);
        if self.window > 0 && matches!(self.timer, Some((_, Timer::Persist))) {
            self.timer = None;
            self.rtt.acknowledged();
        }
    }

    fn note_sacks(&mut self, segment: &Segment<'_>) {
        for (start, end) in segment.options.sacks.into_iter().flatten() {
            // D-SACKs (RFC 2883) and inventions are outside of what is under way.
            if self.una.before(start) && start.before(end) && end.at_or_before(self.nxt) {
                self.sacked.insert(start, end);
            }
        }
    }

    fn advance(&mut self, ack: Seq, now: Duration) {
        let in_flight = self.in_flight();
        let acked = ack.distance(self.una);
        let data = acked.min(self.len);
        self.fin_acked |= acked > data && self.fin_queued;
        self.ring.consume(data);
        self.len -= data;
        self.una = ack;
        if !self.sacked.is_empty() {
            // A range that begins here would mean that the guest dropped what it had told to hold: then it is sent again.
            self.sacked.advance(ack);
        }
        if let Some((from, to)) = &mut self.lost {
            *from = from.later(ack);
            *to = to.later(ack);
        }
        if let Some((end, since)) = self.timed
            && end.at_or_before(ack)
        {
            self.rtt.sample(now.saturating_sub(since));
            self.timed = None;
        }
        self.rtt.acknowledged();
        self.duplicates = 0;
        match self.recover {
            Some(recover) if ack.before(recover) => {
                self.congestion.recovers(acked);
                if self.sacked.is_empty()
                    && let Some((from, to)) = &mut self.lost
                    && from == to
                {
                    // RFC 6582, 3.2: a partial acknowledgement is where the next loss begins.
                    *from = ack;
                    *to = (ack + usize::from(self.mss)).earlier(recover);
                }
            }
            // What of the lost is left was sent since, and is not known to have come: it is sent again as before.
            Some(_) => self.recover = None,
            None => self.congestion.acknowledged(acked, in_flight),
        }
        if self.una == self.nxt {
            self.lost = None;
        }
        self.restart_timer(now);
    }

    fn detect_loss(&mut self) {
        let held = self.sacked.end();
        if self.recover.is_some() {
            if let (Some((from, to)), Some(end)) = (&mut self.lost, held) {
                *to = to.later(end);
                *from = from.earlier(*to);
            }
            return;
        }
        let enough = self.sacked.total() > usize::from(DUPLICATES) * usize::from(self.mss);
        if self.in_flight() == 0 || (self.duplicates < DUPLICATES && !enough) {
            return;
        }
        self.congestion.lost(self.pipe());
        self.recover = Some(self.nxt);
        let first = (self.una + usize::from(self.mss)).earlier(self.nxt);
        self.take_for_lost(self.una, held.unwrap_or(first));
        self.timed = None;
    }

    /// A part is lost, besides what is already. Of two parts, all between them is sent again, too.
    fn take_for_lost(&mut self, from: Seq, to: Seq) {
        self.lost = match self.lost {
            Some((first, last)) if first.before(last) => {
                Some((first.earlier(from), last.later(to)))
            }
            _ => Some((from, to)),
        };
    }

    /// Whether a segment that begins there was sent, and not acknowledged.
    pub(crate) fn is_under_way(&self, seq: Seq) -> bool {
        self.una.at_or_before(seq) && seq.before(self.nxt)
    }

    /// A segment was too big for the way to the guest: smaller ones from there on, again and at once, as nothing else would tell of
    /// the loss (RFC 1191, 6.4). What is told of segments as small as those now was sent before.
    pub(crate) fn shrink(&mut self, mss: u16, seq: Seq, now: Duration) {
        if mss >= self.mss {
            return;
        }
        self.mss = mss;
        self.congestion.set_mss(mss);
        // What was behind it was as big. It was not lost for want of room: this is no recovery, and the window stays.
        self.take_for_lost(seq, self.nxt);
        self.timed = None;
        // What is sent again has as long to be acknowledged as what is sent first (RFC 6298, 5.1).
        self.restart_timer(now);
    }

    pub(crate) fn release(&mut self, pool: &mut Pool) {
        self.ring.release(pool);
    }
}

#[cfg(test)]
#[path = "sender_test.rs"]
mod tests;
