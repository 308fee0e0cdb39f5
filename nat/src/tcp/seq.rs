//! Sequence numbers (RFC 9293, 3.4): a circle of 2³², where "before" means less than half of it away.
use std::ops::{Add, AddAssign};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    /// How far `self` is behind `earlier`; negative: in front of it.
    #[allow(clippy::cast_possible_wrap, reason = "that is what the circle means")]
    pub(crate) const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }

    /// How far `self` is behind `earlier`; 0: not at all.
    pub(crate) fn distance(self, earlier: Self) -> usize {
        usize::try_from(self.since(earlier)).unwrap_or(0)
    }

    pub(crate) const fn previous(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    pub(crate) const fn before(self, other: Self) -> bool {
        self.since(other) < 0
    }

    pub(crate) const fn at_or_before(self, other: Self) -> bool {
        self.since(other) <= 0
    }

    pub(crate) const fn later(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    pub(crate) const fn earlier(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }
}

impl Add<usize> for Seq {
    type Output = Self;

    #[allow(clippy::cast_possible_truncation, reason = "the circle has 32 bits")]
    fn add(self, n: usize) -> Self {
        Self(self.0.wrapping_add(n as u32))
    }
}

impl AddAssign<usize> for Seq {
    fn add_assign(&mut self, n: usize) {
        *self = *self + n;
    }
}
