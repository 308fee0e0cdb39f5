//! Numbered datagrams of several flows, each one's bytes given by its flow and number.
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tests::{PacketSocket, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);
/// Enough to reach both queues; each keeps its order, whichever queue it takes.
const FLOWS: u64 = 8;
/// Frames under way at most, so that none need be lost: a jumbo frame takes five of DPDK's buffers,
/// and of a ring of 256 it leaves up to a quarter without any.
const WINDOW: u64 = 32;
const MAGIC: u64 = 0x7465_7374_706d_6421;
const HEADERS: usize = 14 + 20 + 8;
/// Headers, magic, flow, number.
const MIN_LEN: u64 = 14 + 20 + 8 + 3 * 8;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const UDP: u8 = 17;

/// One direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    /// Last byte of the sender's addresses.
    pub(super) from: u8,
    /// And of the receiver's.
    pub(super) to: u8,
    /// Length of the longest frame.
    pub(super) max_frame: u16,
}

/// Flow and number of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label {
    flow: u64,
    number: u64,
}

impl Stream {
    /// Until a frame gets through; those sent meanwhile may be lost.
    pub(super) fn wait_connected(self, out: &PacketSocket, into: &PacketSocket) {
        let hello = Label {
            flow: FLOWS,
            number: 0,
        };
        wait_until("a frame through testpmd", PATIENCE, || {
            out.send(&self.frame(hello));
            let deadline = Instant::now() + Duration::from_millis(50);
            while let Some(frame) = into.receive(deadline) {
                if label(&frame) == Some(hello) {
                    return Some(());
                }
            }
            None
        });
    }

    /// Sends `count` datagrams and receives them: each once, in the order of its flow, unchanged.
    pub(super) fn exchange(
        self,
        out: &PacketSocket,
        into: &PacketSocket,
        count: u64,
    ) -> Result<()> {
        let mut next: BTreeMap<u64, u64> = BTreeMap::new();
        let mut sent = 0;
        let mut received = 0;
        while received < count {
            while sent < count.min(received + WINDOW) {
                let flow = sent % FLOWS;
                let number = sent / FLOWS;
                out.send(&self.frame(Label { flow, number }));
                sent += 1;
            }
            let found = self.receive(into)?;
            let number = next.entry(found.flow).or_default();
            ensure!(found.number == *number, "{found:?} comes for {number}");
            *number += 1;
            received += 1;
        }
        // Nothing comes twice: a last datagram of each flow is the next that arrives.
        for flow in 0..FLOWS {
            let number = next[&flow];
            let last = Label { flow, number };
            out.send(&self.frame(last));
            let found = self.receive(into)?;
            ensure!(found == last, "{found:?} comes after the last");
        }
        Ok(())
    }

    fn receive(self, socket: &PacketSocket) -> Result<Label> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let frame = socket.receive(deadline).context("no frame comes")?;
            match label(&frame) {
                // Not ours, or a late one from before.
                None | Some(Label { flow: FLOWS, .. }) => {}
                Some(label) => {
                    ensure!(frame == self.frame(label), "the bytes of {label:?} changed");
                    return Ok(label);
                }
            }
        }
    }

    fn frame(self, Label { flow, number }: Label) -> Vec<u8> {
        let span = u64::from(self.max_frame) - MIN_LEN + 1;
        let len = MIN_LEN + scramble(flow << 32 | number) % span;
        let len = usize::try_from(len).unwrap();
        let mut frame = Vec::with_capacity(len + 8);
        frame.extend([0x02, 0xd9, 0xd9, 0, 0, self.to]);
        frame.extend([0x02, 0xd9, 0xd9, 0, 0, self.from]);
        frame.extend(ETHERTYPE_IPV4);
        frame.extend(self.ip_header(len - 14));
        let port = 5000 + u16::try_from(flow).unwrap();
        frame.extend([port.to_be_bytes(), 4000_u16.to_be_bytes()].concat());
        // No UDP checksum (RFC 768): nobody has a reason to compute or complete one.
        frame.extend([length(len - 34), [0, 0]].concat());
        debug_assert_eq!(frame.len(), HEADERS);
        for word in [MAGIC, flow, number] {
            frame.extend(word.to_be_bytes());
        }
        let mut word = scramble(number << 8 | flow);
        while frame.len() < len {
            word = scramble(word);
            frame.extend(word.to_be_bytes());
        }
        frame.truncate(len);
        frame
    }

    fn ip_header(self, len: usize) -> [u8; 20] {
        let [high, low] = length(len);
        let mut header = [
            0x45, 0, high, low, 0, 0, 0x40, 0, 64, UDP, 0, 0, 10, 7, 0, self.from, 10, 7, 0,
            self.to,
        ];
        let words = header.chunks(2);
        let mut sum: u32 = words
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let checksum = !u16::try_from(sum).unwrap();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }
}

fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap().to_be_bytes()
}

fn label(frame: &[u8]) -> Option<Label> {
    let word = |place: usize| {
        let bytes = frame.get(HEADERS + 8 * place..)?.first_chunk()?;
        Some(u64::from_be_bytes(*bytes))
    };
    (word(0)? == MAGIC).then_some(Label {
        flow: word(1)?,
        number: word(2)?,
    })
}

/// Finalizer of SplitMix64: neighbours get unlike lengths and bytes.
fn scramble(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
