//! Verification mode: every received frame must be a sent one, unaltered, in order, once.

use anyhow::{bail, ensure};
use virtqueue::{MemoryMap, NET_HEADER_LEN};

use crate::content::{ADDRESSES, Content, NUM_BUFFERS, NUMBER, SOURCE_PORT};

/// VIRTIO_NET_HDR_F_DATA_VALID (virtio 1.2, 5.1.6.4).
const DATA_VALID: u8 = 2;

/// Checks frames as they come.
#[derive(Debug, Clone)]
pub(crate) struct Verifier {
    /// Number of the next frame if none is lost.
    next: u64,
    lost: u64,
    /// The frame that is coming in, copied so that nobody changes it meanwhile.
    frame: Vec<u8>,
    whole: usize,
}

impl Verifier {
    pub(crate) fn new(content: &Content) -> Self {
        let whole = content.frame_len() + NET_HEADER_LEN;
        Self {
            next: 0,
            lost: 0,
            frame: Vec::with_capacity(whole),
            whole,
        }
    }

    /// Frames missing before the last one that came.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes the next `len` bytes of a frame, at `addr`; the first ones have its virtio-net header.
    pub(crate) fn append(&mut self, map: &MemoryMap, addr: u64, len: u32) -> anyhow::Result<()> {
        let before = self.frame.len();
        let after = before + usize::try_from(len)?;
        ensure!(
            after <= self.whole,
            "a frame of {after} bytes or more came after frame {:?}: {} were sent",
            self.last(),
            self.whole
        );
        self.frame.resize(after, 0);
        let read = self
            .frame
            .get_mut(before..)
            .is_some_and(|to| map.read(addr, to));
        ensure!(read, "a buffer lies outside guest memory");
        Ok(())
    }

    /// Checks the frame that has come, in `buffers` buffers; `sent` frames were given away so far.
    pub(crate) fn check(
        &mut self,
        content: &Content,
        buffers: u16,
        sent: u64,
    ) -> anyhow::Result<()> {
        ensure!(
            self.frame.len() == self.whole,
            "a frame of {} bytes came after frame {:?}: {} were sent",
            self.frame.len(),
            self.last(),
            self.whole
        );
        let payload = content.start().len() + NUMBER;
        let number = self
            .frame
            .get(payload - NUMBER..)
            .and_then(<[u8]>::first_chunk::<NUMBER>);
        let number = u64::from_le_bytes(number.copied().unwrap_or_default());
        self.check_headers(content, number, buffers)?;
        let after = self.last();
        ensure!(
            number >= self.next,
            "frame {number} came after frame {after:?}"
        );
        ensure!(
            number < sent,
            "frame {number} came after frame {after:?}, but only {sent} were sent"
        );
        ensure!(
            self.frame.get(payload..) == Some(content.payload(number)),
            "the payload of frame {number} was altered"
        );
        self.lost += number - self.next;
        self.next = number + 1;
        self.frame.clear();
        Ok(())
    }

    fn check_headers(&self, content: &Content, number: u64, buffers: u16) -> anyhow::Result<()> {
        let mut expected = content.start().to_vec();
        // A switch may vouch for checksums.
        let flags = self.frame.first().copied().unwrap_or_default() & DATA_VALID;
        if let Some(own) = expected.first_mut() {
            *own |= flags;
        }
        // Virtio 1.2, 5.1.6.3.2: 1 without mergeable buffers.
        let varying: [(usize, &[u8]); 3] = [
            (NUM_BUFFERS, &buffers.to_le_bytes()),
            (ADDRESSES, &content.addresses(number)),
            (SOURCE_PORT, &content.source_port(number)),
        ];
        for (at, bytes) in varying {
            if let Some(place) = expected.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        let altered = self.frame.iter().zip(&expected);
        let altered = altered.enumerate().find(|(_, (is, was))| is != was);
        if let Some((at, (is, was))) = altered {
            let what = match at {
                NUM_BUFFERS | 11 => format!("the number of buffers, which were {buffers},"),
                0..NET_HEADER_LEN => format!("byte {at} of the virtio-net header"),
                _ => format!("byte {} of the protocol headers", at - NET_HEADER_LEN),
            };
            bail!(
                "{what} of the frame behind frame {:?} is {is:#x} and not {was:#x}: it was altered",
                self.last()
            );
        }
        Ok(())
    }

    /// The last frame that came, for messages.
    fn last(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }
}

#[cfg(test)]
#[path = "verify_test.rs"]
mod tests;
