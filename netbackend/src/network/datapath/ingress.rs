//! From a source into private memory: one burst of frames.
use super::{
    super::{
        command::PortOffloads,
        queue_stats::{QueueDrop, Tally},
    },
    frame::{Frame, Frames, HEAD, MAX_FRAME, MIN_FRAME},
    heads::{Asked, Heads},
    ports::{Carrier, Port},
};
use virtqueue::{NET_HEADER_LEN, NetHeader, Segments};

/// Takes a burst of `most` frames at most from queue `queue` of a port. Returns how much work there was: malformed frames and
/// frames of a disabled ring count too.
pub(super) fn take(port: &mut Port, queue: u16, most: usize, frames: &mut Frames) -> usize {
    frames.clear();
    let mut tally = Tally::default();
    let work = match &mut port.carrier {
        Carrier::Tap(tap) => {
            let tap = tap.queue(queue);
            let work = tap.map_or(0, |tap| tap.read_burst(most, frames, &port.shared));
            for frame in &frames.list {
                tally.pass(frame.len, frames.head(frame));
            }
            work
        }
        Carrier::Vhost(vhost) => {
            let offloads = vhost.offloads;
            let Some(ring) = vhost.transmit(queue) else {
                return 0;
            };
            let work = ring.pop(&mut frames.burst, most, &port.shared);
            if work == 0 {
                return 0;
            }
            if ring.enabled {
                frames.header_len = offloads.header_len;
                parse_burst(frames, offloads, &mut tally);
            }
            frames.malformed = work.saturating_sub(frames.list.len());
            work
        }
    };
    count(port, queue, frames, &mut tally);
    work
}

/// Gives the burst back to the source: everything was copied.
pub(super) fn complete(port: &mut Port, queue: u16, frames: &mut Frames) {
    if let Carrier::Vhost(vhost) = &mut port.carrier
        && let Some(ring) = vhost.transmit(queue)
    {
        ring.publish_all(&frames.burst);
    }
    frames.clear();
}

fn count(port: &mut Port, queue: u16, frames: &Frames, tally: &mut Tally) {
    if frames.list.is_empty() && frames.malformed == 0 {
        return;
    }
    if frames.malformed > 0 {
        // A disabled transmit ring is drained and its frames discarded (vhost-user.rst, "Ring
        // states").
        let reason = if port.is_source_enabled(queue) {
            QueueDrop::Malformed
        } else {
            QueueDrop::Disabled
        };
        tally.drop(reason, frames.malformed as u64);
    }
    if let Some(stats) = port.shared.transmit_stats(queue) {
        stats.add(tally);
    }
    if let Some(first) = frames.list.first() {
        port.note_mac(frames.head(first));
    }
}

fn parse_burst(frames: &mut Frames, offloads: PortOffloads, tally: &mut Tally) {
    let Frames {
        list,
        heads,
        burst,
        header_len,
        ..
    } = frames;
    for index in 0..burst.len() {
        let Some((len, asked)) = burst
            .chain(index)
            .and_then(|chain| read(&chain.readable(), *header_len, index, heads))
        else {
            continue;
        };
        match asked {
            // Nearly always.
            Asked::Nothing => list.push(Frame::plain(len, index)),
            Asked::For(header) => {
                let frame = parse(&header, len, index, heads);
                let Some(frame) = frame.filter(|frame| frame.is_within(offloads)) else {
                    continue;
                };
                list.push(frame);
            }
        }
        tally.pass(len, heads.start(index, MIN_FRAME as usize));
    }
}

/// Reads header and start of a frame once; its length, and what it asks for. `None`: it is too short or too long.
#[inline]
fn read(
    segments: &Segments<'_>,
    header_len: u32,
    place: usize,
    heads: &mut Heads,
) -> Option<(u32, Asked)> {
    let len = segments.len().checked_sub(header_len)?;
    if !(MIN_FRAME..=MAX_FRAME).contains(&len) {
        return None;
    }
    let lengths = (usize::try_from(header_len).ok()?, len);
    Some((len, heads.read(place, segments, lengths)?))
}

/// A frame whose header asks for something; `None`: for what does not fit it.
fn parse(header: &[u8; NET_HEADER_LEN], len: u32, place: usize, heads: &Heads) -> Option<Frame> {
    let header = NetHeader::decode(header)?;
    let head_len = usize::try_from(len).ok()?.min(HEAD);
    Frame::new(&header, heads.start(place, head_len), len, place)
}
