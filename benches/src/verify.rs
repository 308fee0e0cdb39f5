//! Verification mode: every received frame must be a sent one, unaltered, in order, once.

use anyhow::ensure;
use virtqueue::{MemoryMap, NET_HEADER_LEN, NetHeader};

use crate::content::{Content, NUMBER};

/// Checks frames as they come.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// Number of the next frame if none is lost.
    next: u64,
    lost: u64,
    scratch: Vec<u8>,
}

impl Verifier {
    pub(crate) fn new(content: &Content) -> Self {
        Self {
            next: 0,
            lost: 0,
            scratch: vec![0; content.frame_len() + NET_HEADER_LEN],
        }
    }

    /// Frames missing before the last one that came.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Checks the frame at `addr`, `len` bytes with its header.
    pub(crate) fn check(
        &mut self,
        map: &MemoryMap,
        addr: u64,
        len: u32,
        content: &Content,
    ) -> anyhow::Result<()> {
        let after = self.next.checked_sub(1);
        ensure!(
            usize::try_from(len)? == self.scratch.len(),
            "a frame of {len} bytes came after frame {after:?}: {} were sent",
            self.scratch.len()
        );
        ensure!(
            map.read(addr, &mut self.scratch),
            "a buffer lies outside guest memory"
        );
        let number = self.check_headers(content)?;
        ensure!(
            number >= self.next,
            "frame {number} came after frame {after:?}"
        );
        let payload = content.start().len() + NUMBER;
        ensure!(
            self.scratch.get(payload..) == Some(content.payload(number)),
            "the payload of frame {number} was altered"
        );
        self.lost += number - self.next;
        self.next = number + 1;
        Ok(())
    }

    /// Returns the frame's number.
    fn check_headers(&self, content: &Content) -> anyhow::Result<u64> {
        let after = self.next.checked_sub(1);
        let start = content.start();
        let header = self.scratch.first_chunk().and_then(NetHeader::decode);
        // Virtio 1.2, 5.1.6.3.2: always 1 without mergeable buffers; a switch may vouch for checksums.
        let same = header.is_some_and(|header| {
            let expected = NetHeader {
                num_buffers: header.num_buffers,
                data_valid: header.data_valid,
                ..*content.header()
            };
            header == expected
        });
        ensure!(
            same,
            "the header behind frame {after:?} was altered: {header:?}"
        );
        ensure!(
            self.scratch.get(NET_HEADER_LEN..start.len()) == start.get(NET_HEADER_LEN..),
            "the protocol headers behind frame {after:?} were altered"
        );
        let number = self
            .scratch
            .get(start.len()..)
            .and_then(<[u8]>::first_chunk::<NUMBER>);
        Ok(u64::from_le_bytes(number.copied().unwrap_or_default()))
    }
}

#[cfg(test)]
#[path = "verify_test.rs"]
mod tests;
