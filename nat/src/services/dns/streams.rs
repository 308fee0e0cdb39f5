//! Guests that ask over TCP (RFC 1035, 4.2.2; RFC 7766): any number of questions on one connection, answered as answers come.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::services::cursor::{Put, Reader};
use crate::services::{Station, StreamId};
use crate::{MacAddr, PortId};

/// Connections of all guests, and of those behind one port.
const MAX_STREAMS: usize = 256;
const PER_PORT: usize = 16;
/// Questions of one connection that wait for their answers; the next ones wait in the guest's own buffer.
const MAX_WAITING: usize = 16;
/// Octets of answers that one connection may leave lying. One answer of any size always has room.
const MAX_UNREAD: usize = 64 << 10;
/// A connection that asks nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Stream {
    /// its guest, behind the port that it counts against
    by: Station,
    incoming: Vec<u8>,
    outgoing: VecDeque<u8>,
    waiting: usize,
    last_used: Duration,
    /// the guest asks no more: end when all is answered
    finished: bool,
    /// no more answers will come: end when all is read
    ending: bool,
    announced: bool,
}

/// The connections of one network.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    streams: BTreeMap<StreamId, Stream>,
    ready: VecDeque<StreamId>,
}

impl Streams {
    /// False: there are enough of them.
    pub(crate) fn open(&mut self, now: Duration, id: StreamId, by: Station) -> bool {
        if self.streams.len() >= MAX_STREAMS || !self.has_room(by.port) {
            return false;
        }
        let stream = Stream {
            by,
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
            waiting: 0,
            last_used: now,
            finished: false,
            ending: false,
            announced: false,
        };
        self.streams.insert(id, stream);
        true
    }

    pub(crate) fn by(&self, id: StreamId) -> Option<Station> {
        self.streams.get(&id).map(|stream| stream.by)
    }

    /// Whether a port may have one more.
    fn has_room(&self, port: PortId) -> bool {
        let streams = self.streams.values();
        streams.filter(|stream| stream.by.port == port).count() < PER_PORT
    }

    /// The stream's guest is behind a port now, and the stream counts there. Not if there are enough: ports that hand MAC addresses to
    /// each other are not to have more than each may open.
    pub(crate) fn follow(&mut self, id: StreamId, port: PortId) {
        let is_new = self.by(id).is_some_and(|by| by.port != port);
        if is_new
            && self.has_room(port)
            && let Some(stream) = self.streams.get_mut(&id)
        {
            stream.by.port = port;
        }
    }

    /// A port is gone. What is left of its guests' is of those who have moved, and counts where they are, or ends.
    pub(crate) fn forget_port(
        &mut self,
        port: PortId,
        place_of: &dyn Fn(MacAddr) -> Option<PortId>,
    ) {
        let of_port = self.streams.iter();
        let of_port = of_port.filter(|(_, stream)| stream.by.port == port);
        let of_port: Vec<_> = of_port.map(|(id, stream)| (*id, stream.by.mac)).collect();
        for (id, mac) in of_port {
            if let Some(now) = place_of(mac) {
                self.follow(id, now);
            }
            if self.by(id).is_some_and(|by| by.port == port) {
                // Its flow, if there is one, learns that there is nothing more to read.
                self.streams.remove(&id);
                self.ready.retain(|ready| *ready != id);
                self.ready.push_back(id);
            }
        }
    }

    pub(crate) fn close(&mut self, id: StreamId) {
        self.streams.remove(&id);
        self.ready.retain(|ready| *ready != id);
    }

    /// Takes octets, and hands every complete question to `ask`. How many were taken: none beyond the questions that may wait.
    pub(crate) fn input(
        &mut self,
        now: Duration,
        id: StreamId,
        bytes: &[u8],
        ask: &mut dyn FnMut(Vec<u8>),
    ) -> usize {
        let mut reader = Reader::new(bytes);
        let Some(stream) = self.streams.get_mut(&id) else {
            return bytes.len();
        };
        while !reader.is_empty() && stream.has_room() {
            stream.last_used = now;
            let missing = stream.missing().min(reader.rest().len());
            stream
                .incoming
                .put(reader.take(missing).unwrap_or_default());
            if stream.missing() == 0 {
                stream.waiting += 1;
                let message = std::mem::take(&mut stream.incoming);
                ask(message.get(2..).unwrap_or_default().to_vec());
            }
        }
        bytes.len() - reader.rest().len()
    }

    /// An answer to one of the stream's questions. `None`: there will be none, and the stream ends.
    pub(crate) fn answer(&mut self, id: StreamId, answer: Option<&[u8]>) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.waiting = stream.waiting.saturating_sub(1);
        match answer.and_then(|answer| Some((u16::try_from(answer.len()).ok()?, answer))) {
            Some((len, answer)) => {
                stream.outgoing.extend(len.to_be_bytes());
                stream.outgoing.extend(answer);
            }
            None => stream.ending = true,
        }
        stream.ending |= stream.finished && stream.waiting == 0;
        self.announce(id);
    }

    /// The guest asks no more.
    pub(crate) fn finish(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.finished = true;
            stream.ending |= stream.waiting == 0;
        }
    }

    /// Moves answers into `into`. None: the stream is at its end.
    pub(crate) fn output(&mut self, id: StreamId, into: &mut [u8]) -> Option<usize> {
        let stream = self.streams.get_mut(&id)?;
        stream.announced = false;
        if stream.ending && stream.outgoing.is_empty() {
            return None;
        }
        let count = into.len().min(stream.outgoing.len());
        for (octet, answer) in into.iter_mut().zip(stream.outgoing.drain(..count)) {
            *octet = answer;
        }
        Some(count)
    }

    pub(crate) fn next_ready(&mut self) -> Option<StreamId> {
        self.ready.pop_front()
    }

    /// Ends what has been idle; when to look again.
    pub(crate) fn poll(&mut self, now: Duration) -> Option<Duration> {
        let mut next = None;
        let mut ended = Vec::new();
        for (id, stream) in &mut self.streams {
            let until = stream.last_used.saturating_add(IDLE);
            if stream.waiting > 0 || stream.ending {
                continue;
            }
            if until <= now {
                stream.ending = true;
                ended.push(*id);
            } else {
                next = Some(next.map_or(until, |next: Duration| next.min(until)));
            }
        }
        for id in ended {
            self.announce(id);
        }
        next
    }

    fn announce(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.announced, true)
        {
            self.ready.push_back(id);
        }
    }
}

impl Stream {
    fn has_room(&self) -> bool {
        !self.ending && self.waiting < MAX_WAITING && self.outgoing.len() < MAX_UNREAD
    }

    /// Octets until the next question, or its length, is complete.
    fn missing(&self) -> usize {
        let mut reader = Reader::new(&self.incoming);
        match reader.u16() {
            None => 2 - self.incoming.len(),
            Some(len) => usize::from(len).saturating_sub(reader.rest().len()),
        }
    }
}

#[cfg(test)]
#[path = "streams_test.rs"]
mod tests;
