//! How much may be under way to a guest (RFC 5681, with the reduction of RFC 9438).
//!
//! The link is memory: what is lost there was lost because the guest did not take it, so the window starts large, and shrinks when
//! something is lost.

/// Window of a new connection, at least.
const INITIAL: usize = 64 << 10;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Congestion {
    window: usize,
    threshold: usize,
    mss: usize,
    max: usize,
}

impl Congestion {
    pub(crate) fn new(mss: u16, max: usize) -> Self {
        let mss = usize::from(mss);
        Self {
            window: INITIAL.max(4 * mss),
            threshold: usize::MAX,
            mss,
            max,
        }
    }

    /// Segments are smaller from now on. The window stays: nothing says that there is too much under way (RFC 1191, 6.4).
    pub(crate) fn set_mss(&mut self, mss: u16) {
        self.mss = usize::from(mss);
    }

    pub(crate) const fn window(&self) -> usize {
        self.window
    }

    /// Something new was acknowledged, while `in_flight` bytes had been under way.
    pub(crate) fn acknowledged(&mut self, bytes: usize, in_flight: usize) {
        // A window that is not used does not grow (RFC 7661).
        if in_flight * 2 < self.window {
            return;
        }
        let grown = if self.window < self.threshold {
            bytes
        } else {
            (self.mss * bytes / self.window).max(1)
        };
        self.window = (self.window + grown).min(self.max);
    }

    /// Something new was acknowledged of what is sent again. After a timeout the window begins small and grows as at first (RFC 5681,
    /// 3.1); after a loss that later segments told of it is at its threshold, and stays.
    pub(crate) fn recovers(&mut self, bytes: usize) {
        if self.window < self.threshold {
            self.window = (self.window + bytes).min(self.threshold);
        }
    }

    /// A segment was lost, others arrived.
    pub(crate) fn lost(&mut self, in_flight: usize) {
        self.threshold = (in_flight / 10 * 7).max(4 * self.mss);
        self.window = self.threshold;
    }

    /// Nothing arrived for a whole timeout.
    pub(crate) fn timed_out(&mut self, in_flight: usize) {
        self.threshold = (in_flight / 10 * 7).max(4 * self.mss);
        self.window = 2 * self.mss;
    }
}
