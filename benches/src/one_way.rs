//! Frames one way, as fast as the back-end takes them.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use virtqueue::NET_HEADER_LEN;

use crate::FrontEnd;

/// Address of the sender.
const SENDER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x0A];
/// Address of the receiver.
const RECEIVER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x0B];
/// IEEE 802 local experimental ethertype.
const ETHERTYPE: [u8; 2] = [0x88, 0xB5];
/// Where the frame's number is, behind the Ethernet header.
const NUMBER_AT: u64 = NET_HEADER_LEN as u64 + 14;
/// How long the back-end may take to learn where the receiver is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Bytes of a frame, without FCS.
    pub frame: u32,
    /// Frames added before they are published.
    pub burst: u16,
    /// Length of the measurement.
    pub time: Duration,
    /// Read each frame's number at the receiver: none may come twice or out of order.
    pub verify: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Frames given to the back-end and taken by it.
    pub sent: u64,
    /// Frames that came out.
    pub received: u64,
    /// Frame bytes that came out.
    pub bytes: u64,
    /// Length of the measurement.
    pub time: Duration,
}

impl Measured {
    /// Millions of frames per second that came out.
    pub fn mpps(&self) -> f64 {
        Self::per_second(self.received, self.time) / 1e6
    }

    /// Gigabits per second that came out.
    pub fn gbps(&self) -> f64 {
        Self::per_second(self.bytes, self.time) * 8.0 / 1e9
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    fn per_second(count: u64, time: Duration) -> f64 {
        count as f64 / time.as_secs_f64()
    }
}

/// Sends from `from` to `to` for `load.time`.
pub fn one_way(from: &mut FrontEnd, to: &mut FrontEnd, load: &Load) -> anyhow::Result<Measured> {
    ensure!(load.frame >= 60, "frames are at least 60 bytes");
    let room = load.frame + u32::try_from(NET_HEADER_LEN)?;
    for (end, source, target) in [(&*from, SENDER, RECEIVER), (&*to, RECEIVER, SENDER)] {
        write_frames(end, source, target)?;
    }
    for end in [&mut *from, &mut *to] {
        for slot in 0..u64::from(end.rx.size()) {
            ensure!(
                end.rx.add(slot, room, true),
                "the receive ring is full at once"
            );
        }
        end.rx.publish();
    }
    introduce(from, to, room)?;
    let start = Instant::now();
    let mut sum = Measured {
        sent: 0,
        received: 0,
        bytes: 0,
        time: Duration::ZERO,
    };
    let mut check = Order {
        verify: load.verify,
        next: 0,
    };
    let mut next_slot = 0;
    while start.elapsed() < load.time {
        // One look at the clock for several bursts: it is no part of what is measured.
        for _ in 0..16 {
            send(from, load.burst, room, &mut next_slot, &mut sum)?;
            receive(to, room, &mut sum, &mut check)?;
        }
    }
    sum.time = start.elapsed();
    Ok(sum)
}

/// Headers and addresses of all frames; they stay as they are.
fn write_frames(end: &FrontEnd, source: [u8; 6], target: [u8; 6]) -> anyhow::Result<()> {
    let mut start = [0; NET_HEADER_LEN].to_vec();
    start.extend(target);
    start.extend(source);
    start.extend(ETHERTYPE);
    for slot in 0..u64::from(end.tx.size()) {
        ensure!(
            end.memory.map().write(end.tx.buffer(slot), &start),
            "frame outside guest memory"
        );
    }
    Ok(())
}

/// One frame from the receiver, so that a learning switch knows where it is.
fn introduce(from: &mut FrontEnd, to: &mut FrontEnd, room: u32) -> anyhow::Result<()> {
    ensure!(
        to.tx.add(0, room, false),
        "the transmit ring is full at once"
    );
    to.tx.publish();
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some((slot, _)) = from.rx.done()? {
            ensure!(from.rx.add(slot, room, true), "the receive ring is full");
            from.rx.publish();
            return Ok(());
        }
        std::thread::yield_now();
    }
    bail!("no frame came through: are both sockets ports of one network?")
}

fn send(
    end: &mut FrontEnd,
    burst: u16,
    room: u32,
    next_slot: &mut u64,
    sum: &mut Measured,
) -> anyhow::Result<()> {
    while end.tx.done()?.is_some() {
        sum.sent += 1;
    }
    for _ in 0..burst {
        let number_at = end.tx.buffer(*next_slot) + NUMBER_AT;
        if !end.tx.add(*next_slot, room, false) {
            break;
        }
        ensure!(
            end.memory.map().write(number_at, &next_slot.to_le_bytes()),
            "outside memory"
        );
        *next_slot += 1;
    }
    end.tx.publish();
    Ok(())
}

fn receive(
    end: &mut FrontEnd,
    room: u32,
    sum: &mut Measured,
    order: &mut Order,
) -> anyhow::Result<()> {
    while let Some((slot, written)) = end.rx.done()? {
        order.check(end, slot)?;
        sum.received += 1;
        sum.bytes += u64::from(written).saturating_sub(NET_HEADER_LEN as u64);
        ensure!(end.rx.add(slot, room, true), "the receive ring is full");
    }
    end.rx.publish();
    Ok(())
}

/// Watches the numbers of received frames.
struct Order {
    verify: bool,
    next: u64,
}

impl Order {
    fn check(&mut self, end: &FrontEnd, slot: u64) -> anyhow::Result<()> {
        if !self.verify {
            return Ok(());
        }
        let mut number = [0; 8];
        ensure!(
            end.memory
                .map()
                .read(end.rx.buffer(slot) + NUMBER_AT, &mut number),
            "outside memory"
        );
        let number = u64::from_le_bytes(number);
        ensure!(
            number >= self.next,
            "frame {number} came after frame {}",
            self.next.wrapping_sub(1)
        );
        self.next = number + 1;
        Ok(())
    }
}
