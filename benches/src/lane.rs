//! One direction: frames from one front-end to another.

use anyhow::ensure;
use virtqueue::{MemoryMap, NET_HEADER_LEN};

use crate::{
    Content, FrontEnd,
    content::{ADDRESSES, NUM_BUFFERS, NUMBER, SOURCE_PORT},
    verify::Verifier,
};

/// Frames of one direction and what became of them.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Which front-end sends.
    pub(crate) from: usize,
    /// Which one receives.
    pub(crate) to: usize,
    pub(crate) content: Content,
    /// Bytes of a frame, virtio-net header included.
    room: u32,
    burst: u16,
    verifier: Option<Verifier>,
    /// Of the next frame.
    number: u64,
    /// Frames that the back-end has taken.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Bytes of these.
    pub(crate) bytes: u64,
    /// Buffers of the frame that is coming in.
    buffers: u16,
    /// How many of these are still to come.
    missing: u16,
}

impl Lane {
    /// Frames of `content` between two front-ends, `burst` at a time.
    pub(crate) fn new(
        (from, to): (usize, usize),
        content: Content,
        burst: u16,
        verify: bool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            from,
            to,
            room: u32::try_from(content.frame_len() + NET_HEADER_LEN)?,
            burst,
            verifier: verify.then(|| Verifier::new(&content)),
            content,
            number: 0,
            sent: 0,
            received: 0,
            bytes: 0,
            buffers: 0,
            missing: 0,
        })
    }

    /// Writes into all buffers of `end` what frames have in common.
    pub(crate) fn prepare(&self, end: &FrontEnd) -> anyhow::Result<()> {
        end.tx.write_all(end.memory.map(), self.content.start())
    }

    /// Frames that the verifier misses before the last one that came.
    pub(crate) fn missed(&self) -> u64 {
        self.verifier.as_ref().map_or(0, Verifier::lost)
    }

    /// Frames on their way, or lost.
    pub(crate) fn outstanding(&self) -> u64 {
        self.number.saturating_sub(self.received)
    }

    /// Sends a burst, as far as there is room; false: there was nothing to do.
    #[inline]
    pub(crate) fn send(&mut self, end: &mut FrontEnd) -> anyhow::Result<bool> {
        self.send_up_to(end, self.burst)
    }

    /// Sends `count` frames, as far as there is room; false: there was nothing to do.
    #[inline]
    pub(crate) fn send_up_to(&mut self, end: &mut FrontEnd, count: u16) -> anyhow::Result<bool> {
        let reclaimed = end.tx.reclaim()?;
        self.sent += reclaimed;
        let number_at = self.content.start().len();
        end.tx.prefetch(end.memory.map(), count, number_at);
        let mut added = 0;
        while added < count
            && let Some(slot) = end.tx.next_slot()
        {
            self.write(end, slot, self.number)?;
            if !end.tx.send(self.room) {
                break;
            }
            self.number += 1;
            added += 1;
        }
        end.tx.publish();
        Ok(added > 0 || reclaimed > 0)
    }

    /// Adds frame `number` outside of the count; false: there is no room.
    pub(crate) fn add(&self, end: &mut FrontEnd, number: u64) -> anyhow::Result<bool> {
        let Some(slot) = end.tx.next_slot() else {
            return Ok(false);
        };
        self.write(end, slot, number)?;
        Ok(end.tx.send(self.room))
    }

    /// Takes back what the back-end is done with; returns how many frames.
    pub(crate) fn reclaim(&mut self, end: &mut FrontEnd) -> anyhow::Result<u64> {
        let reclaimed = end.tx.reclaim()?;
        self.sent += reclaimed;
        Ok(reclaimed)
    }

    /// The number goes into every frame: a sender that writes nothing would leave it all in the back-end's cache.
    #[inline]
    fn write(&self, end: &FrontEnd, slot: u64, number: u64) -> anyhow::Result<()> {
        let map = end.memory.map();
        let put = |at, bytes: &[u8]| end.tx.write(map, slot, at, bytes);
        let at = self.content.start().len();
        let mut written = put(at, &number.to_le_bytes());
        if self.content.parties().vary() {
            written &= put(ADDRESSES, &self.content.addresses(number));
            written &= put(SOURCE_PORT, &self.content.source_port(number));
        }
        if self.verifier.is_some() {
            written &= put(at + NUMBER, self.content.payload(number));
        }
        ensure!(written, "a buffer lies outside guest memory");
        Ok(())
    }

    /// Takes all that has come; false: nothing has.
    #[inline]
    pub(crate) fn receive(&mut self, end: &mut FrontEnd) -> anyhow::Result<bool> {
        let mut worked = false;
        while let Some((slot, written)) = end.rx.done()? {
            worked = true;
            let addr = end.rx.buffer(slot);
            if self.missing == 0 {
                self.buffers = if end.mergeable {
                    num_buffers(end.memory.map(), addr)?
                } else {
                    1
                };
                self.missing = self.buffers;
            }
            self.missing -= 1;
            self.bytes += written;
            if let Some(verifier) = &mut self.verifier {
                verifier.append(end.memory.map(), addr, u32::try_from(written)?)?;
            }
            end.rx.refill(slot);
            if self.missing == 0 {
                self.finish_frame()?;
            }
        }
        end.rx.publish();
        Ok(worked)
    }

    #[inline]
    fn finish_frame(&mut self) -> anyhow::Result<()> {
        self.received += 1;
        self.bytes = self.bytes.saturating_sub(NET_HEADER_LEN as u64);
        if let Some(verifier) = &mut self.verifier {
            verifier.check(&self.content, self.buffers, self.number)?;
        }
        Ok(())
    }
}

/// In how many buffers the frame is whose first one is at `addr`.
fn num_buffers(map: &MemoryMap, addr: u64) -> anyhow::Result<u16> {
    let mut bytes = [0; 2];
    ensure!(
        map.read(addr + NUM_BUFFERS as u64, &mut bytes),
        "a buffer lies outside guest memory"
    );
    let count = u16::from_le_bytes(bytes);
    ensure!(
        count > 0,
        "a frame of no buffers came (num_buffers was not written)"
    );
    Ok(count)
}
