//! One file on its way to one client: blocks in a window, acknowledged and repeated (RFC 1350, 2; RFC 7440).
use std::ops::Range;
use std::time::Duration;

use super::directory::File;
use super::message::{DEFAULT_BLOCK, ErrorCode, Options, data, error};

/// Time until what is not acknowledged is repeated, unless the client wants another.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Repetitions until the client is taken for gone.
const MAX_REPEATS: u8 = 5;

/// Whether a transfer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Continues,
    Ended,
}

/// A transfer.
#[derive(Debug)]
pub(crate) struct Transfer {
    file: Box<dyn File>,
    size: u64,
    options: Options,
    block: usize,
    window: u64,
    /// the options are not acknowledged yet
    negotiating: bool,
    /// blocks that are under way; they are counted from 1 and without end, of which the packets carry the lower 16 bits
    flight: Range<u64>,
    /// the window that starts here was already repeated because of an acknowledgement
    repeated_for: Option<u64>,
    repeats: u8,
    pub(crate) deadline: Duration,
}

impl Transfer {
    /// A transfer with blocks of at most `max_block` octets, and its first packets.
    pub(crate) fn start(
        now: Duration,
        file: Box<dyn File>,
        asked: Options,
        max_block: usize,
        out: &mut dyn FnMut(Vec<u8>),
    ) -> (Self, Fate) {
        let size = file.len();
        let options = Options {
            block: asked.block.map(|block| block.min(max_block)),
            size: asked.size.map(|_| size),
            ..asked
        };
        let mut transfer = Self {
            file,
            size,
            options,
            block: options.block.unwrap_or(DEFAULT_BLOCK),
            window: options.window.unwrap_or(1).into(),
            negotiating: !options.is_empty(),
            flight: 1..1,
            repeated_for: None,
            repeats: 0,
            deadline: now,
        };
        let fate = transfer.send(now, out);
        (transfer, fate)
    }

    /// The client has everything up to the block of this number.
    pub(crate) fn acknowledge(
        &mut self,
        now: Duration,
        number: u16,
        out: &mut dyn FnMut(Vec<u8>),
    ) -> Fate {
        if self.negotiating {
            if number != 0 {
                return Fate::Continues;
            }
            self.negotiating = false;
            self.repeats = 0;
            return self.send(now, out);
        }
        let before = self.flight.start - 1;
        let Some(acknowledged) = self.within_flight(number) else {
            return Fate::Continues;
        };
        if acknowledged == before {
            // It misses the first block of the window. With windows of one this is a repeated acknowledgement, and an answer to it
            // would repeat every block for the rest of the transfer (RFC 1123, 4.2.3.1); with others it is answered once.
            let answered = self.repeated_for.replace(self.flight.start) == Some(self.flight.start);
            if self.window == 1 || answered {
                return Fate::Continues;
            }
            return self.send(now, out);
        }
        if acknowledged == self.last() {
            return Fate::Ended;
        }
        self.repeats = 0;
        self.flight.start = acknowledged + 1;
        self.send(now, out)
    }

    /// Repeats what is under way, if it is time for that.
    pub(crate) fn poll(&mut self, now: Duration, out: &mut dyn FnMut(Vec<u8>)) -> Fate {
        if self.deadline > now {
            return Fate::Continues;
        }
        if self.repeats == MAX_REPEATS {
            return Fate::Ended;
        }
        self.repeats += 1;
        self.send(now, out)
    }

    /// The number of the last block, which is short, or even empty.
    fn last(&self) -> u64 {
        self.size / self.block as u64 + 1
    }

    /// The block under way, or just before, that the lower 16 bits are of.
    fn within_flight(&self, number: u16) -> Option<u64> {
        let before = self.flight.start - 1;
        let [.., high, low] = before.to_be_bytes();
        let ahead = number.wrapping_sub(u16::from_be_bytes([high, low]));
        let block = before + u64::from(ahead);
        (block < self.flight.end).then_some(block)
    }

    fn send(&mut self, now: Duration, out: &mut dyn FnMut(Vec<u8>)) -> Fate {
        let timeout = self
            .options
            .timeout
            .map(|seconds| Duration::from_secs(seconds.into()));
        self.deadline = now.saturating_add(timeout.unwrap_or(TIMEOUT));
        if self.negotiating {
            out(self.options.acknowledgement());
            return Fate::Continues;
        }
        self.flight.end = (self.flight.start + self.window).min(self.last() + 1);
        for number in self.flight.clone() {
            let Some(packet) = self.block(number) else {
                out(error(ErrorCode::Undefined, "the file cannot be read"));
                return Fate::Ended;
            };
            out(packet);
        }
        Fate::Continues
    }

    /// None: the file does not have the octets any more that it had.
    fn block(&self, number: u64) -> Option<Vec<u8>> {
        let offset = (number - 1) * self.block as u64;
        let left = usize::try_from(self.size - offset).unwrap_or(usize::MAX);
        let len = left.min(self.block);
        let [.., high, low] = number.to_be_bytes();
        let mut packet = data(u16::from_be_bytes([high, low]), len);
        let header = packet.len();
        packet.resize(header + len, 0);
        let read = self.file.read_at(offset, packet.get_mut(header..)?).ok()?;
        (read == len).then_some(packet)
    }
}

#[cfg(test)]
#[path = "transfer_test.rs"]
pub(crate) mod tests;
