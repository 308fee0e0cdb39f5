//! From a source into private memory: one burst of frames.
use super::{
    super::{
        command::PortOffloads,
        queue_stats::{QueueDrop, Tally},
    },
    BURST,
    frame::{Frame, Frames, HEAD, MAX_FRAME, MIN_FRAME},
    ports::{Carrier, Port},
};
use virtqueue::{NET_HEADER_LEN, NetHeader, Segments};

/// Takes a burst from queue `queue` of a port. Returns how much work there was: malformed frames and
/// frames of a disabled ring count too.
pub(super) fn take(port: &mut Port, queue: u16, frames: &mut Frames) -> usize {
    frames.clear();
    let work = match &mut port.carrier {
        Carrier::Tap(tap) => match tap.queue(queue) {
            Some(tap) => tap.read_burst(frames, &port.shared),
            None => 0,
        },
        Carrier::Vhost(vhost) => {
            let offloads = vhost.offloads;
            let Some(ring) = vhost.transmit(queue) else {
                return 0;
            };
            let work = ring.pop(&mut frames.burst, BURST, &port.shared);
            if ring.enabled {
                frames.header_len = offloads.header_len;
                parse_burst(frames, offloads);
            }
            frames.malformed = work.saturating_sub(frames.list.len());
            work
        }
    };
    count(port, queue, frames);
    work
}

/// Gives the burst back to the source: everything was copied.
pub(super) fn complete(port: &mut Port, queue: u16, frames: &mut Frames) {
    if let Carrier::Vhost(vhost) = &mut port.carrier
        && let Some(ring) = vhost.transmit(queue)
    {
        for index in 0..frames.burst.len() {
            if let Some(chain) = frames.burst.chain(index) {
                ring.complete(chain.head(), 0);
            }
        }
        ring.publish();
    }
    frames.clear();
}

fn count(port: &mut Port, queue: u16, frames: &Frames) {
    if frames.list.is_empty() && frames.malformed == 0 {
        return;
    }
    let mut tally = Tally::default();
    for frame in &frames.list {
        tally.pass(frame.len, frame.head());
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
        stats.add(&tally);
    }
    if let Some(first) = frames.list.first() {
        port.note_mac(first);
    }
}

fn parse_burst(frames: &mut Frames, offloads: PortOffloads) {
    for index in 0..frames.burst.len() {
        if let Some(chain) = frames.burst.chain(index)
            && let Some(frame) = parse(&chain.readable(), frames.header_len, index)
            && frame.is_within(offloads)
        {
            frames.list.push(frame);
        }
    }
}

/// Reads header and start of a frame once; `None`: it is malformed.
fn parse(segments: &Segments<'_>, header_len: u32, place: usize) -> Option<Frame> {
    let len = segments.len().checked_sub(header_len)?;
    if !(MIN_FRAME..=MAX_FRAME).contains(&len) {
        return None;
    }
    let mut header = [0; NET_HEADER_LEN];
    let wanted = header.get_mut(..usize::try_from(header_len).ok()?)?;
    if segments.read_at(0, wanted) != wanted.len() {
        return None;
    }
    let header = NetHeader::decode(&header)?;
    let mut head = [0; HEAD];
    let head_len = usize::try_from(len).ok()?.min(HEAD);
    let wanted = head.get_mut(..head_len)?;
    if segments.read_at(header_len, wanted) != wanted.len() {
        return None;
    }
    Frame::new(&header, head, len, place)
}
