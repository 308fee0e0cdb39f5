//! A tap port in the datapath: a namespace or container as guest, or an uplink. Packet sockets are one of a kind with taps.
use super::{
    super::counters::PortShared,
    BURST,
    conduct::Conduct,
    frame::{Frame, Frames, MIN_FRAME},
    heads::Heads,
    packet_socket,
    tap_io::Medium,
};
use std::{fs::File, io, sync::Arc};
use virtqueue::{NET_HEADER_LEN, NetHeader};

/// Bytes of a burst, about: they are still in a near cache when they are copied on.
const BURST_BYTES: usize = 256 << 10;

/// One queue of a tap.
#[derive(Debug)]
pub(super) struct TapQueue {
    pub(super) file: Arc<File>,
    medium: Medium,
    /// This worker reads from it; all write to it.
    pub(super) served: bool,
    /// Its device is gone.
    latched: bool,
    /// epoll has told of packets since they were read last, or there were more than one reads at once. Until then it is not asked for
    /// any: of many taps one call of epoll knows which have some.
    ready: bool,
    /// The last burst had all that was expected.
    filled: bool,
    /// Packets that the next burst is likely to have.
    expected: usize,
    /// Packets that it may have: fewer of large ones.
    most: usize,
    /// As a source.
    pub(super) conduct: Conduct,
}

impl TapQueue {
    pub(super) fn new(file: Arc<File>, served: bool) -> Self {
        Self {
            medium: Medium::of(&file),
            file,
            served,
            latched: false,
            ready: true,
            filled: false,
            expected: 1,
            most: BURST,
            conduct: Conduct::default(),
        }
    }

    /// What is read and written.
    pub(super) fn way(&self) -> (&File, Medium) {
        (&self.file, self.medium)
    }

    /// Whether it works on after an error that its file has reported.
    pub(super) fn recovers(&self) -> bool {
        self.medium == Medium::Socket && packet_socket::recovers(&self.file)
    }

    /// epoll tells of packets.
    pub(super) fn announce(&mut self) {
        self.ready = true;
    }

    /// Whether nothing is read before epoll tells of packets.
    pub(super) fn is_waiting(&self) -> bool {
        !self.ready
    }

    /// Whether its device is gone.
    pub(super) fn is_latched(&self) -> bool {
        self.latched
    }

    /// Reads a burst of `most` frames at most. Returns how many packets there were, malformed ones included.
    pub(super) fn read_burst(
        &mut self,
        most: usize,
        frames: &mut Frames,
        shared: &PortShared,
    ) -> usize {
        if !std::mem::take(&mut self.ready) || self.latched {
            self.filled = false;
            return 0;
        }
        if std::mem::take(&mut self.filled) {
            // There was more than expected.
            self.expected = (self.expected * 2).min(BURST);
        }
        let Frames {
            tap_buffers,
            tap_io,
            heads,
            list,
            malformed,
            ..
        } = frames;
        let all = most.min(self.most);
        let room = self.expected.min(all);
        let results = tap_io.read((&self.file, self.medium), tap_buffers.buffers(0..room));
        let (mut packets, mut bytes) = (0, 0);
        for (place, result) in results.into_iter().enumerate() {
            match result {
                Ok(len) => {
                    packets += 1;
                    bytes += len;
                    let packet = tap_buffers.buffer(place).and_then(|buffer| {
                        let len = tap_io.finish(self.medium, place, buffer, len)?;
                        buffer.get(..len)
                    });
                    match packet.and_then(|packet| parse(packet, place, heads)) {
                        Some(frame) => list.push(frame),
                        None => *malformed += 1,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.latch(&error, shared),
            }
        }
        self.filled = packets == room;
        // Behind as much as one takes at a time there is more, nearly always.
        self.ready = self.filled && room == all;
        if !self.filled {
            self.expected = packets.max(self.expected / 2).max(1);
        }
        if let Some(fitting) = (BURST_BYTES * packets).checked_div(bytes) {
            self.most = fitting.clamp(1, BURST);
        }
        packets
    }

    /// The device behind the queue is gone.
    pub(super) fn latch(&mut self, fault: &dyn std::fmt::Display, shared: &PortShared) {
        if !self.latched {
            self.latched = true;
            shared.latch_fault(format!("read the tap: {fault}"));
        }
    }
}

/// The queues of a tap.
#[derive(Debug)]
pub(super) struct TapPort {
    pub(super) queues: Vec<TapQueue>,
}

impl TapPort {
    pub(super) fn queue(&mut self, index: u16) -> Option<&mut TapQueue> {
        self.queues.get_mut(usize::from(index))
    }
}

/// A packet as the tap gives it: virtio-net header, frame.
fn parse(packet: &[u8], place: usize, heads: &mut Heads) -> Option<Frame> {
    let (header, bytes) = packet.split_first_chunk::<NET_HEADER_LEN>()?;
    let header = NetHeader::decode(header)?;
    let len = u32::try_from(bytes.len()).ok()?;
    if len < MIN_FRAME {
        return None;
    }
    let head = heads.room(place, 0, len)?;
    head.copy_from_slice(bytes.get(..head.len())?);
    let frame = Frame::new(&header, head, len, place)?;
    Some(frame.with_data_valid(header.data_valid))
}

#[cfg(test)]
#[path = "tap_port_test.rs"]
mod tests;
