//! A few ranges of sequence numbers that do not touch: what arrived early, or what the peer has.
use super::seq::Seq;

/// Most ranges of one direction of a flow: what would be one more is not remembered.
const MAX: usize = 32;

/// Ranges in order. Takes no memory while there are none.
#[derive(Debug, Default)]
pub(crate) struct Ranges(Vec<(Seq, Seq)>);

impl Ranges {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (Seq, Seq)> + '_ {
        self.0.iter().copied()
    }

    /// Bytes in all.
    pub(crate) fn total(&self) -> usize {
        self.iter().map(|(start, end)| end.distance(start)).sum()
    }

    /// End of the last.
    pub(crate) fn end(&self) -> Option<Seq> {
        self.0.last().map(|(_, end)| *end)
    }

    /// Adds a range, merging what it touches. False: there are too many, nothing changed.
    pub(crate) fn insert(&mut self, start: Seq, end: Seq) -> bool {
        if end.at_or_before(start) {
            return true;
        }
        let first = self.0.partition_point(|(_, e)| e.before(start));
        let last = self.0.partition_point(|(s, _)| s.at_or_before(end));
        if first == last {
            if self.0.len() >= MAX {
                return false;
            }
            self.0.insert(first, (start, end));
            return true;
        }
        let merged = self
            .0
            .drain(first..last)
            .fold((start, end), |(s, e), range| {
                (s.earlier(range.0), e.later(range.1))
            });
        self.0.insert(first, merged);
        true
    }

    /// Forgets everything before `to`, and every range that `to` is in or touches; returns the end of that one.
    pub(crate) fn advance(&mut self, to: Seq) -> Seq {
        let count = self.0.partition_point(|(start, _)| start.at_or_before(to));
        let end = self
            .0
            .drain(..count)
            .fold(to, |end, range| end.later(range.1));
        if self.0.is_empty() {
            self.clear();
        }
        end
    }

    /// The first gap from `from` on: where it starts, and where it ends if a range follows.
    pub(crate) fn gap(&self, from: Seq) -> (Seq, Option<Seq>) {
        let mut start = from;
        for (s, e) in self.iter() {
            if start.before(s) {
                return (start, Some(s));
            }
            start = start.later(e);
        }
        (start, None)
    }
}

#[cfg(test)]
#[path = "ranges_test.rs"]
mod tests;
