//! Who received what.
use super::frames::{self, Frame, Station, Tag};
use std::fmt;

/// Somebody who sees frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Receiver {
    Station(Station),
    /// The link between the endpoints and the relay, in the direction of the relay.
    Wire,
}

impl Receiver {
    /// Whether a frame that comes to it is for it: a host is not given what is for others, as its NIC would filter it.
    pub(super) fn takes(self, frame: &[u8]) -> bool {
        let to_group = frame[0] & 1 == 1;
        self != Self::Station(Station::Host) || to_group || frame[..6] == Station::Host.mac()
    }
}

impl From<Station> for Receiver {
    fn from(station: Station) -> Self {
        Self::Station(station)
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Station(station) => station.fmt(f),
            Self::Wire => f.write_str("wire"),
        }
    }
}

/// One arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival {
    pub(super) receiver: Receiver,
    /// Whether it arrived as it was sent.
    pub(super) intact: bool,
}

/// All arrivals of one frame, in order; a receiver that got it twice is there twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Arrivals(pub(super) Vec<Arrival>);

impl Arrivals {
    /// Those whose receiver passes.
    pub(super) fn only(&self, pass: impl Fn(Receiver) -> bool) -> Self {
        let kept = self.0.iter().filter(|arrival| pass(arrival.receiver));
        Self(kept.copied().collect())
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody");
        }
        for (place, arrival) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            let changed = if arrival.intact { "" } else { " (changed)" };
            write!(f, "{comma}{}{changed}", arrival.receiver)?;
        }
        Ok(())
    }
}

/// The arrivals of every step of a script.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) rows: Vec<Arrivals>,
}

impl Matrix {
    pub(super) fn new(script: &[Frame], received: Vec<(Receiver, Vec<u8>)>) -> Self {
        let mut rows = vec![Arrivals::default(); script.len()];
        for (receiver, bytes) in received {
            let Some(Tag::Step(step)) = frames::tag(&bytes) else {
                continue;
            };
            let step = step as usize;
            let intact = bytes == script[step].bytes;
            rows[step].0.push(Arrival { receiver, intact });
        }
        for row in &mut rows {
            row.0.sort();
        }
        Self { rows }
    }

    pub(super) fn arrivals(&self) -> usize {
        self.rows.iter().map(|row| row.0.len()).sum()
    }
}
