//! The half of a connection that the guest sends to: what is in order, what came early, and how much more may come.
use super::ranges::Ranges;
use super::ring::{MAX_RING, Pool, Ring};
use super::segment::{MAX_SACKS, Segment};
use super::seq::Seq;

/// Window of a new flow. It doubles with each window's worth that the world takes without delay.
const INITIAL_LIMIT: usize = 128 << 10;
/// Scale of the windows that we tell: enough for [`MAX_RING`].
pub(crate) const WINDOW_SHIFT: u8 = 7;

#[derive(Debug)]
pub(crate) struct Receiver {
    ring: Ring,
    /// first that did not go to the world: at the ring's offset 0
    read: Seq,
    /// next in order
    nxt: Seq,
    /// ranges behind a gap
    early: Ranges,
    /// where the range begins that came last
    latest: Seq,
    fin: Option<Seq>,
    finished: bool,
    /// bytes that may lie here
    limit: usize,
    max_limit: usize,
    /// what all flows together leave to this one
    share: usize,
    since_growth: usize,
    /// end of the window that the guest was told
    edge: Seq,
    shift: u8,
}

impl Receiver {
    /// The half that begins after the guest's SYN. `shift`: of our windows, 0 if the guest does not scale.
    pub(crate) fn new(start: Seq, shift: u8, max_limit: usize) -> Self {
        let max_limit = max_limit.min(MAX_RING);
        Self {
            ring: Ring::default(),
            read: start,
            nxt: start,
            early: Ranges::default(),
            latest: start,
            fin: None,
            finished: false,
            limit: INITIAL_LIMIT.min(max_limit),
            max_limit,
            share: usize::MAX,
            since_growth: 0,
            edge: start,
            shift,
        }
    }

    /// What an acknowledgement says.
    pub(crate) const fn next(&self) -> Seq {
        self.nxt
    }

    /// The guest sends no more, and all of it came.
    pub(crate) const fn finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Something came early, and what is before it did not come yet.
    pub(crate) fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    /// Bytes that the guest may send by what it was told.
    pub(crate) fn promised(&self) -> usize {
        self.edge.distance(self.nxt)
    }

    /// Bytes in order that wait for the world.
    pub(crate) fn waiting(&self) -> usize {
        self.nxt.distance(self.read) - usize::from(self.finished)
    }

    /// Whether a segment is one of this connection's now (RFC 9293, 3.10.7.4).
    pub(crate) fn accepts(&self, segment: &Segment<'_>) -> bool {
        let end = segment.seq + segment.len();
        if segment.len() == 0 {
            self.nxt.at_or_before(segment.seq) && segment.seq.at_or_before(self.edge)
        } else {
            self.nxt.before(end) && segment.seq.before(self.edge)
        }
    }

    /// The part of a segment's payload that is new and within the window, and where it begins.
    pub(crate) fn trim<'a>(&self, segment: &Segment<'a>) -> (Seq, &'a [u8]) {
        let end = segment.seq + segment.payload.len();
        let start = segment.seq.later(self.nxt);
        let skip = start.distance(segment.seq);
        let len = end.earlier(self.edge).distance(start);
        if self.finished {
            return (start, &[]);
        }
        let bytes = segment.payload.get(skip..).unwrap_or_default();
        (start, bytes.get(..len).unwrap_or(bytes))
    }

    /// Remembers where the stream ends; the first that says so is right.
    pub(crate) fn note_fin(&mut self, segment: &Segment<'_>) {
        if segment.fin && self.fin.is_none() {
            let at = segment.seq + segment.payload.len();
            if self.nxt.at_or_before(at) && at.at_or_before(self.edge) {
                self.fin = Some(at);
            }
        }
        self.finish();
    }

    fn finish(&mut self) {
        if self.fin == Some(self.nxt) && !self.finished {
            self.finished = true;
            self.nxt += 1;
            self.early.clear();
        }
    }

    /// Storage that [`Receiver::store`] would need for bytes that begin at `start`.
    pub(crate) fn needed_capacity(&self, start: Seq, len: usize) -> usize {
        let used = start.distance(self.read) + len;
        Ring::capacity_for(used).max(self.capacity())
    }

    /// Takes bytes that [`Receiver::trim`] gave. False: they came early and there are too many gaps, or no room.
    pub(crate) fn store(&mut self, pool: &mut Pool, start: Seq, bytes: &[u8]) -> bool {
        let offset = start.distance(self.read);
        let end = start + bytes.len();
        let last = self.early.end().map_or(self.nxt, |end| end.later(self.nxt));
        let used = last.distance(self.read);
        self.ring.reserve(pool, used, offset + bytes.len());
        if offset + bytes.len() > self.ring.capacity() {
            return false;
        }
        if start != self.nxt {
            if !self.early.insert(start, end) {
                return false;
            }
            self.ring.write(offset, bytes);
            self.latest = start;
            return true;
        }
        self.ring.write(offset, bytes);
        self.in_order_until(end);
        true
    }

    /// Bytes in order went to the world without being stored.
    pub(crate) fn passed(&mut self, len: usize) {
        self.ring.consume(len);
        self.read += len;
        self.in_order_until(self.read.later(self.nxt));
        self.delivered(len);
    }

    fn in_order_until(&mut self, end: Seq) {
        self.nxt = if self.early.is_empty() {
            end
        } else {
            self.early.advance(end)
        };
        self.finish();
    }

    /// Bytes for the world, in order.
    pub(crate) fn to_write(&self, max: usize) -> [std::io::IoSlice<'_>; 2] {
        self.ring.to_write(0, self.waiting().min(max))
    }

    /// The world took bytes of [`Receiver::to_write`].
    pub(crate) fn consumed(&mut self, len: usize) {
        let len = len.min(self.waiting());
        self.ring.consume(len);
        self.read += len;
        if self.waiting() == 0 {
            self.delivered(len);
        }
    }

    fn delivered(&mut self, len: usize) {
        self.since_growth += len;
        if self.since_growth >= self.limit {
            self.since_growth = 0;
            self.limit = (self.limit * 2).min(self.max_limit);
        }
    }

    pub(crate) fn release_if_empty(&mut self, pool: &mut Pool) {
        if self.waiting() == 0 && self.early.is_empty() {
            self.ring.release(pool);
        }
    }

    pub(crate) fn release(&mut self, pool: &mut Pool) {
        self.ring.release(pool);
    }

    /// Windows from now on promise no more than this.
    pub(crate) fn set_share(&mut self, share: usize) {
        self.share = share;
    }

    fn limit(&self) -> usize {
        self.limit.min(self.share)
    }

    /// End of the window as it could be told now; it never moves back (RFC 9293, 3.8.6).
    fn possible_edge(&self) -> Seq {
        let free = self.limit().saturating_sub(self.waiting());
        (self.nxt + free).later(self.edge)
    }

    /// Whether the guest may be waiting for a window, and now there is one that it should be told (RFC 9293, 3.8.6.2.2).
    pub(crate) fn window_grew(&self) -> bool {
        let enough = self.limit() / 4;
        !self.finished
            && self.edge.distance(self.nxt) < enough
            && self.possible_edge().distance(self.edge) >= enough
    }

    /// The window to tell, which is a promise from now on.
    pub(crate) fn advertise(&mut self, syn: bool) -> u16 {
        let shift = if syn { 0 } else { self.shift };
        let window = self.possible_edge().distance(self.nxt) >> shift;
        let window = u16::try_from(window).unwrap_or(u16::MAX);
        self.edge = self.edge.later(self.nxt + (usize::from(window) << shift));
        window
    }

    /// What to tell of what came early: the latest first (RFC 2018, 4).
    pub(crate) fn sacks(&self) -> [Option<(Seq, Seq)>; MAX_SACKS] {
        let mut sacks = [None; MAX_SACKS];
        if self.early.is_empty() {
            return sacks;
        }
        let is_latest =
            |&(start, end): &(Seq, Seq)| start.at_or_before(self.latest) && self.latest.before(end);
        let latest = self.early.iter().find(is_latest);
        let others = self.early.iter().rev().filter(|range| !is_latest(range));
        for (sack, range) in sacks.iter_mut().zip(latest.into_iter().chain(others)) {
            *sack = Some(range);
        }
        sacks
    }
}
