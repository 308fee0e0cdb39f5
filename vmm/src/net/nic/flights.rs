//! Packets on their way: what the wire reports as sent in any order is reported to the driver in its own.
use crate::net::wire::Wire;
use std::collections::VecDeque;

/// Packets given to the wire, and what is to be done when they are sent.
#[derive(Debug)]
pub struct Flights<T> {
    /// Oldest first.
    queue: VecDeque<(T, Frames)>,
    /// Of a packet whose frames did not all find room yet.
    open: Frames,
    /// Number of the oldest packet.
    first: u32,
    /// Tokens of past lives are recognized by it.
    epoch: u32,
}

/// Frames of one packet.
#[derive(Debug, Clone, Copy, Default)]
struct Frames {
    /// The wire still reads them.
    outstanding: u32,
    /// It does no longer.
    returned: u16,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            open: Frames::default(),
            first: 0,
            epoch: 0,
        }
    }
}

impl<T> Flights<T> {
    /// The token for frames of the next packet.
    pub fn token(&self) -> u64 {
        let number = u32::try_from(self.queue.len())
            .map_or(self.first, |count| self.first.wrapping_add(count));
        u64::from(self.epoch) << 32 | u64::from(number)
    }

    /// The wire took a frame of the next packet.
    pub fn launched(&mut self) {
        self.open.outstanding += 1;
    }

    /// The wire took the next packet as a whole, or it has no frames.
    pub fn close(&mut self, item: T) {
        self.queue.push_back((item, std::mem::take(&mut self.open)));
    }

    /// Takes back what the wire has sent.
    pub fn reap(&mut self, wire: &mut dyn Wire) {
        while let Some(token) = wire.sent() {
            if token >> 32 != u64::from(self.epoch) {
                continue;
            }
            let number = u32::try_from(token & 0xffff_ffff).unwrap_or(0);
            let index = usize::try_from(number.wrapping_sub(self.first)).unwrap_or(usize::MAX);
            let frames = if index == self.queue.len() {
                Some(&mut self.open)
            } else {
                self.queue.get_mut(index).map(|(_, frames)| frames)
            };
            if let Some(frames) = frames {
                frames.outstanding = frames.outstanding.saturating_sub(1);
                frames.returned = frames.returned.saturating_add(1);
            }
        }
    }

    /// The oldest packet, if all of it was sent.
    pub fn pop(&mut self) -> Option<T> {
        let (item, _) = self
            .queue
            .pop_front_if(|(_, frames)| frames.outstanding == 0)?;
        self.first = self.first.wrapping_add(1);
        Some(item)
    }

    /// Packets on their way.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Of the next packet this many frames were sent in a past life.
    pub fn resume(&mut self, returned: u16) {
        self.open.returned = returned;
    }

    /// Frames of the oldest packet that the wire has sent.
    pub fn returned(&self) -> u16 {
        let oldest = self.queue.front().map_or(&self.open, |(_, frames)| frames);
        oldest.returned
    }

    /// The packets, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.queue.iter().map(|(item, _)| item)
    }

    /// Forgets everything; true: the wire still reads what was given to it and must be restarted.
    pub fn clear(&mut self) -> bool {
        let mut all = self.queue.iter().map(|(_, frames)| frames);
        let flying = self.open.outstanding > 0 || all.any(|frames| frames.outstanding > 0);
        self.queue.clear();
        self.open = Frames::default();
        self.first = 0;
        self.epoch = self.epoch.wrapping_add(1);
        flying
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::FakeWire, *};

    #[test]
    fn packets_come_back_in_their_order_and_from_this_life_only() {
        let mut wire = FakeWire::able();
        let mut flights = Flights::default();
        let tokens: Vec<_> = ["a", "b"]
            .map(|item| {
                let token = flights.token();
                flights.launched();
                flights.launched();
                flights.close(item);
                token
            })
            .to_vec();
        wire.flying.extend([tokens[1], tokens[1], tokens[0]]);
        flights.reap(&mut wire);
        assert_eq!(flights.pop(), None, "a frame of it is still out");
        wire.flying.push_back(tokens[0]);
        flights.reap(&mut wire);
        assert_eq!([flights.pop(), flights.pop()], [Some("a"), Some("b")]);
        // A packet half of which is out.
        let open = flights.token();
        flights.launched();
        assert!(flights.clear());
        wire.flying.push_back(open);
        flights.launched();
        flights.reap(&mut wire);
        flights.close("c");
        assert_eq!(flights.pop(), None);
        wire.flying.push_back(u64::MAX);
        flights.reap(&mut wire);
        assert!(flights.clear());
        assert!(!flights.clear());
    }
}
