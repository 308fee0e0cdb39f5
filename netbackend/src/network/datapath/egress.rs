//! From private memory and source buffers to one egress queue: all frames of a burst for it.
use super::{
    super::{
        command::PortOffloads,
        counters::PortShared,
        queue_stats::{QueueDrop, Tally},
    },
    BURST, Target,
    frame::{Frame, Frames, MAX_FRAME, Outgoing},
    limits::Admitted,
    ports::{Carrier, Ports},
    receiver::Receiver,
    retag::Retagged,
    tap_io::TapIo,
    tap_port::{TapPort, TapQueue},
    vhost_port::VhostPort,
};
use crate::offload::{self, Segments, Validated};
use arrayvec::ArrayVec;
use std::time::Duration;
use switch::PortId;
use virtqueue::{Burst, NET_HEADER_LEN};

/// One frame for one egress queue. Ordered by port, queue, and place in the burst, which are the 16 bits each of one number: they are
/// compared at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Delivery(u64);

impl Delivery {
    #[inline]
    pub(super) fn new(to: Target, frame: u16) -> Self {
        let PortId(port) = to.port;
        Self(u64::from(port) << 32 | u64::from(to.queue) << 16 | u64::from(frame))
    }

    /// The place where it leaves.
    #[inline]
    pub(super) fn to(self) -> Target {
        let [_, _, p0, p1, q0, q1, ..] = self.0.to_be_bytes();
        Target {
            port: PortId(u16::from_be_bytes([p0, p1])),
            queue: u16::from_be_bytes([q0, q1]),
        }
    }

    /// Which frame of the burst.
    #[inline]
    pub(super) fn frame(self) -> u16 {
        let [.., f0, f1] = self.0.to_be_bytes();
        u16::from_be_bytes([f0, f1])
    }

    /// Whether both go to the same queue.
    #[inline]
    pub(super) fn same_queue(self, other: Self) -> bool {
        (self.0 ^ other.0) >> 16 == 0
    }
}

/// Memory that deliveries reuse.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Receive chains of the queue being served.
    pub(super) burst: Burst,
    /// The way to a tap.
    tap_io: TapIo,
    /// A whole frame, for those that must be changed.
    linear: Box<[u8]>,
    /// A receiver had no room since this was last cleared.
    pub(super) starved: bool,
    /// A receiver had room for all that came since this was last cleared.
    pub(super) served: bool,
    /// Frames that found no room count as dropped by their sender, not by the receiver.
    pub(super) blames_sender: bool,
    /// How many did, since this was last cleared.
    pub(super) blamed: u64,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            burst: Burst::new(),
            tap_io: TapIo::default(),
            linear: vec![0; MAX_FRAME as usize].into_boxed_slice(),
            starved: false,
            served: false,
            blames_sender: false,
            blamed: 0,
        }
    }
}

/// Notes that a frame goes to a port, by the queue of its flow. Returns where frames to that port go, if that is the same for all.
pub(super) fn plan(
    ports: &Ports,
    deliveries: &mut Vec<Delivery>,
    id: PortId,
    (index, head): (u16, &[u8]),
) -> Option<Target> {
    let port = ports.get(id)?;
    let Some(queue) = port.queue_for(head) else {
        if let Some(stats) = port.shared.receive_stats(0) {
            stats.dropped(QueueDrop::NoQueue, 1);
        }
        return None;
    };
    let to = Target { port: id, queue };
    deliveries.push(Delivery::new(to, index));
    port.has_one_queue().then_some(to)
}

/// Delivers frames that all go to one queue, as far as the port's limit lets them.
pub(super) fn deliver(
    ports: &mut Ports,
    now: Duration,
    group: &[Delivery],
    frames: &Frames,
    retagged: &Retagged,
    scratch: &mut Scratch,
) {
    let Some(first) = group.first() else {
        return;
    };
    let to = first.to();
    let Some(port) = ports.get_mut(to.port) else {
        return;
    };
    let lengths = group.iter().map(|it| frames.len_of(it.frame()));
    let admitted = port
        .limits
        .admit_to_guest(now, scratch.blames_sender, lengths);
    let refused = admitted.refused(group.len());
    if scratch.blames_sender {
        scratch.blamed += refused as u64;
    } else if refused > 0
        && let Some(stats) = port.shared.receive_stats(to.queue)
    {
        stats.dropped(QueueDrop::RateLimit, refused as u64);
    }
    let passing = Passing {
        group,
        admitted,
        count: group.len() - refused,
        frames,
        retagged,
    };
    let tally = match &mut port.carrier {
        Carrier::Vhost(vhost) => {
            if !receive(vhost, to.queue, &passing, &port.shared, scratch) {
                // Latched as faulty by this worker or another, or gone: not to be asked again.
                vhost.refresh();
            }
            return;
        }
        Carrier::Tap(tap) => {
            scratch.served = true;
            write(tap, to.queue, &passing, scratch)
        }
    };
    if let Some(stats) = port.shared.receive_stats(to.queue) {
        stats.add_among_others(&tally);
    }
}

/// The frames of a group that are within the port's limit.
#[derive(Debug, Clone, Copy)]
struct Passing<'a> {
    group: &'a [Delivery],
    admitted: Admitted,
    /// How many they are.
    count: usize,
    frames: &'a Frames,
    retagged: &'a Retagged,
}

impl<'a> Passing<'a> {
    /// Each frame, with its place in the group.
    #[inline]
    fn frames(self) -> impl Iterator<Item = (usize, &'a Frame)> {
        let group = self.group.iter().enumerate();
        let passing = group.filter(move |(index, _)| self.admitted.has(*index));
        passing.filter_map(move |(index, delivery)| {
            let frame = self.frames.list.get(usize::from(delivery.frame()))?;
            Some((index, frame))
        })
    }

    /// One of them as it leaves.
    fn outgoing(self, (index, frame): (usize, &'a Frame)) -> Option<Outgoing<'a>> {
        self.retagged.apply(index, self.frames.outgoing(frame))
    }
}

/// Puts frames into a receive ring, and counts them; false: it carries no frames (any more).
fn receive(
    port: &mut VhostPort,
    queue: u16,
    passing: &Passing<'_>,
    shared: &PortShared,
    scratch: &mut Scratch,
) -> bool {
    let mut tally = Tally::default();
    let offloads = port.offloads;
    let mut place = port.receive(queue);
    let Some(ring) = place.as_mut().and_then(|place| place.as_mut()) else {
        if let Some(stats) = shared.receive_stats(queue) {
            stats.dropped(QueueDrop::NoQueue, passing.count as u64);
        }
        return false;
    };
    // Packets have the whole header.
    let takes_packets = offloads.header_len as usize == NET_HEADER_LEN;
    let told = (offloads, passing.frames.source);
    let mut receiver = Receiver::new(ring, &mut scratch.burst, shared, told, passing.count);
    for (index, frame) in passing.frames() {
        if takes_packets
            && passing.retagged.keeps(index)
            && let Some(packet) = passing.frames.packet(frame)
            && receiver.put_packet(&packet)
        {
            tally.pass(frame.len, packet.head());
        } else if let Some(frame) = passing.outgoing((index, frame)) {
            put(
                &mut receiver,
                frame,
                offloads,
                &mut scratch.linear,
                &mut tally,
            );
        }
    }
    if tally.dropped() > 0 {
        scratch.starved = true;
        if scratch.blames_sender {
            scratch.blamed += tally.forgive(QueueDrop::NoRoom);
        }
    } else {
        scratch.served = true;
    }
    receiver.finish(&tally);
    !ring.is_latched()
}

/// Puts any frame into a receive ring, and counts it.
fn put(
    receiver: &mut Receiver<'_>,
    mut frame: Outgoing<'_>,
    offloads: PortOffloads,
    linear: &mut [u8],
    tally: &mut Tally,
) {
    if frame.is_beyond(offloads) {
        put_in_software(receiver, &frame, linear, tally);
        return;
    }
    // Virtio 1.2, 5.1.6.4.1: no DATA_VALID for a driver without GUEST_CSUM.
    frame.data_valid &= offloads.rx_checksum;
    if receiver.put(&frame) {
        tally.pass(frame.len, frame.head());
    } else {
        tally.drop(QueueDrop::NoRoom, 1);
    }
}

/// Does what the driver did not negotiate: cuts a GSO frame into segments, completes a checksum.
fn put_in_software(
    receiver: &mut Receiver<'_>,
    frame: &Outgoing<'_>,
    linear: &mut [u8],
    tally: &mut Tally,
) {
    tally.software += 1;
    let done = match frame.linearize(linear) {
        None => Err(QueueDrop::Malformed),
        Some(bytes) if frame.validated.is_gso() => {
            put_segments(receiver, frame.validated, bytes, tally)
        }
        Some(bytes) => put_checksummed(receiver, frame.validated, bytes, tally),
    };
    if let Err(reason) = done {
        tally.drop(reason, 1);
    }
}

/// Stops at a segment that finds no room: what follows it would only be lost behind a gap.
fn put_segments(
    receiver: &mut Receiver<'_>,
    validated: &Validated,
    bytes: &[u8],
    tally: &mut Tally,
) -> Result<(), QueueDrop> {
    let mut segments = Segments::new(validated, bytes).map_err(|_| QueueDrop::Offload)?;
    receiver.expect(segments.remaining());
    while let Some(segment) = segments.next_segment() {
        let plain = Outgoing::plain(segment.headers, segment.payload);
        if !receiver.put(&plain) {
            return Err(QueueDrop::NoRoom);
        }
        tally.pass(plain.len, plain.head());
    }
    Ok(())
}

fn put_checksummed(
    receiver: &mut Receiver<'_>,
    validated: &Validated,
    bytes: &mut [u8],
    tally: &mut Tally,
) -> Result<(), QueueDrop> {
    offload::complete_checksum(bytes, validated.header()).map_err(|_| QueueDrop::Offload)?;
    let plain = Outgoing::plain(bytes, &[]);
    if !receiver.put(&plain) {
        return Err(QueueDrop::NoRoom);
    }
    tally.pass(plain.len, plain.head());
    Ok(())
}

/// Writes frames to a queue of a tap, all of them at once.
fn write(port: &mut TapPort, queue: u16, passing: &Passing<'_>, scratch: &mut Scratch) -> Tally {
    let mut tally = Tally::default();
    let burst = &passing.frames.burst;
    let outgoing = passing.frames().filter_map(|it| passing.outgoing(it));
    let outgoing: ArrayVec<Outgoing<'_>, BURST> = outgoing.take(BURST).collect();
    let Some(queue) = port.queue(queue) else {
        tally.drop(QueueDrop::Device, outgoing.len() as u64);
        return tally;
    };
    let Scratch { tap_io, linear, .. } = scratch;
    let results = tap_io.write(queue.way(), &outgoing, burst, linear);
    for (index, frame) in outgoing.iter().enumerate() {
        if let Some(Ok(_)) = results.get(index) {
            tally.pass(frame.len, frame.head());
        } else if frame.validated.is_gso() {
            // Linux takes USO since 6.2, and some drivers behind a macvtap do not take all it offers.
            tally.software += 1;
            write_segments(queue, frame, burst, scratch, &mut tally);
        } else {
            tally.drop(QueueDrop::Device, 1);
        }
    }
    tally
}

/// Writes the segments of a frame that the tap did not take as it is.
fn write_segments(
    queue: &TapQueue,
    frame: &Outgoing<'_>,
    burst: &Burst,
    scratch: &mut Scratch,
    tally: &mut Tally,
) {
    let Scratch { tap_io, linear, .. } = scratch;
    let Some(bytes) = frame.linearize(linear) else {
        tally.drop(QueueDrop::Malformed, 1);
        return;
    };
    let Ok(mut segments) = Segments::new(frame.validated, bytes) else {
        tally.drop(QueueDrop::Offload, 1);
        return;
    };
    while let Some(segment) = segments.next_segment() {
        let plain = [Outgoing::plain(segment.headers, segment.payload)];
        let written = tap_io.write(queue.way(), &plain, burst, &mut []);
        let [plain] = plain;
        if !matches!(written.first(), Some(Ok(_))) {
            tally.drop(QueueDrop::Device, 1);
            return;
        }
        tally.pass(plain.len, plain.head());
    }
}
