//! A tap port in the datapath: a namespace or container as guest, or an uplink.
use super::{
    super::{counters::PortShared, sys},
    conduct::Conduct,
    frame::{Frame, Frames, Heads, MIN_FRAME, Outgoing},
};
use std::{fs::File, io, io::Read, sync::Arc};
use virtqueue::{Burst, NET_HEADER_LEN, NetHeader};

/// One queue of a tap.
#[derive(Debug)]
pub(super) struct TapQueue {
    pub(super) file: Arc<File>,
    /// This worker reads from it; all write to it.
    pub(super) served: bool,
    /// Its device is gone.
    latched: bool,
    /// As a source.
    pub(super) conduct: Conduct,
}

impl TapQueue {
    pub(super) fn new(file: Arc<File>, served: bool) -> Self {
        Self {
            file,
            served,
            latched: false,
            conduct: Conduct::default(),
        }
    }

    /// Reads a burst of `most` frames at most. Returns how many packets there were, malformed ones included.
    pub(super) fn read_burst(
        &mut self,
        most: usize,
        frames: &mut Frames,
        shared: &PortShared,
    ) -> usize {
        let mut packets = 0;
        while packets < most && !self.latched {
            let Some(buffer) = frames.tap_buffers.buffer(packets) else {
                break;
            };
            let len = match (&*self.file).read(buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.latch(&error, shared);
                    break;
                }
            };
            let packet = buffer.get(..len);
            match packet.and_then(|packet| parse(packet, packets, &mut frames.heads)) {
                Some(frame) => frames.list.push(frame),
                None => frames.malformed += 1,
            }
            packets += 1;
        }
        packets
    }

    /// Writes a frame; false: the tap does not take it.
    pub(super) fn write(
        &self,
        frame: &Outgoing<'_>,
        burst: &Burst,
        vecs: &mut sys::IoVecs,
        linear: &mut [u8],
    ) -> bool {
        let header = frame.header().encode();
        vecs.0.clear();
        vecs.push(&header);
        if !frame.gather(vecs) {
            vecs.0.clear();
            return false;
        }
        if vecs.0.len() > sys::MAX_IOVECS {
            // A guest that sends by the byte pays for it with a copy.
            let Some(bytes) = frame.linearize(linear) else {
                return false;
            };
            vecs.0.clear();
            vecs.push(&header);
            vecs.push(bytes);
        }
        let written = sys::writev_guest(&self.file, vecs, Some(burst));
        vecs.0.clear();
        written.is_ok()
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
