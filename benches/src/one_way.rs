//! Frames one way, as fast as the back-end takes them.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use virtqueue::NET_HEADER_LEN;

use crate::{
    Content, FrameKind, FrontEnd,
    content::{RECEIVER, SENDER},
    verify::Verifier,
};

/// How long the back-end may take to carry the first frame.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries at that: a port may not be up yet, and then the frame is lost.
const AGAIN: Duration = Duration::from_millis(50);
/// A back-end that completes nothing for this long is stuck.
const STUCK: Duration = Duration::from_secs(5);
/// When nothing came for this long, nothing more will.
const SILENCE: Duration = Duration::from_millis(50);

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Size and kind.
    pub frame: FrameKind,
    /// Frames added before they are published.
    pub burst: u16,
    /// Time before the measurement starts.
    pub warm_up: Duration,
    /// Length of the measurement.
    pub time: Duration,
    /// Write payloads anew and compare every received byte: no frame may be altered, come twice or out of order.
    pub verify: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Frames that came out while it was measured.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Length of the measurement.
    pub time: Duration,
    /// Time in which the generator had something to do: near all of `time`, the generator is what was measured.
    pub busy: Duration,
    /// Frames given to the back-end in all, before and after the measurement too.
    pub sent: u64,
    /// Frames of these that never came out.
    pub dropped: u64,
}

/// Sends from `from` to `to` for `load.time`.
pub fn one_way(from: &mut FrontEnd, to: &mut FrontEnd, load: &Load) -> anyhow::Result<Measured> {
    let content = Content::new(load.frame)?;
    let back = Content::between(load.frame, RECEIVER, SENDER)?;
    from.tx.write_all(from.memory.map(), content.start())?;
    to.tx.write_all(to.memory.map(), back.start())?;
    from.post_buffers();
    to.post_buffers();
    let room = u32::try_from(content.frame_len() + NET_HEADER_LEN)?;
    introduce(from, to, room)?;
    let verifier = load.verify.then(|| Verifier::new(&content));
    let mut flow = Flow {
        from,
        to,
        content,
        room,
        burst: load.burst,
        verifier,
        number: 0,
        sent: 0,
        received: 0,
        bytes: 0,
    };
    flow.run(load.warm_up)?;
    let (received, bytes) = (flow.received, flow.bytes);
    let (time, busy) = flow.run(load.time)?;
    let (received, bytes) = (flow.received - received, flow.bytes - bytes);
    flow.drain()?;
    let dropped = flow.sent.saturating_sub(flow.received);
    if let Some(verifier) = &flow.verifier {
        ensure!(
            verifier.lost() <= dropped,
            "{} frames are missing between others, but only {dropped} in all",
            verifier.lost()
        );
    }
    Ok(Measured {
        received,
        bytes,
        time,
        busy,
        sent: flow.sent,
        dropped,
    })
}

/// A frame from the receiver, so that a learning switch knows where it is.
fn introduce(from: &mut FrontEnd, to: &mut FrontEnd, room: u32) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < PATIENCE {
        to.tx.reclaim()?;
        if last.is_none_or(|last: Instant| last.elapsed() > AGAIN) && to.tx.send(room) {
            to.tx.publish();
            last = Some(Instant::now());
        }
        if let Some((slot, _)) = from.rx.done()? {
            from.rx.refill(slot);
            from.rx.publish();
            return Ok(());
        }
        std::thread::yield_now();
    }
    bail!("no frame came through: are both sockets ports of one network?")
}

struct Flow<'a> {
    from: &'a mut FrontEnd,
    to: &'a mut FrontEnd,
    content: Content,
    room: u32,
    burst: u16,
    verifier: Option<Verifier>,
    /// Of the next frame.
    number: u64,
    sent: u64,
    received: u64,
    bytes: u64,
}

impl Flow<'_> {
    /// Sends and receives for `time`; returns how long that was, and how much of it there was something to do.
    fn run(&mut self, time: Duration) -> anyhow::Result<(Duration, Duration)> {
        let start = Instant::now();
        let (mut last, mut busy, mut idle) = (start, Duration::ZERO, Duration::ZERO);
        loop {
            let mut worked = self.send()?;
            worked |= self.receive()?;
            let now = Instant::now();
            let turn = now - last;
            last = now;
            if worked {
                busy += turn;
                idle = Duration::ZERO;
            } else {
                idle += turn;
                ensure!(idle < STUCK, "the back-end has done nothing for {STUCK:?}");
            }
            if now - start >= time {
                return Ok((now - start, busy));
            }
        }
    }

    /// Sends no more and receives what is on its way.
    fn drain(&mut self) -> anyhow::Result<()> {
        let mut last = Instant::now();
        while last.elapsed() < SILENCE || !self.from.tx.is_drained() {
            let reclaimed = self.from.tx.reclaim()?;
            self.sent += reclaimed;
            if self.receive()? || reclaimed > 0 {
                last = Instant::now();
            }
            ensure!(last.elapsed() < STUCK, "the back-end keeps frames");
        }
        Ok(())
    }

    fn send(&mut self) -> anyhow::Result<bool> {
        let reclaimed = self.from.tx.reclaim()?;
        self.sent += reclaimed;
        let mut added = 0;
        while added < self.burst
            && let Some(slot) = self.from.tx.next_slot()
        {
            self.write(slot)?;
            if !self.from.tx.send(self.room) {
                break;
            }
            self.number += 1;
            added += 1;
        }
        self.from.tx.publish();
        Ok(added > 0 || reclaimed > 0)
    }

    /// The number goes into every frame: a sender that writes nothing would leave it all in the back-end's cache.
    fn write(&self, slot: u64) -> anyhow::Result<()> {
        let map = self.from.memory.map();
        let at = self.from.tx.buffer(slot) + self.content.start().len() as u64;
        let mut written = map.write(at, &self.number.to_le_bytes());
        if self.verifier.is_some() {
            let payload = self.content.payload(self.number);
            written &= map.write(at + crate::content::NUMBER as u64, payload);
        }
        ensure!(written, "a buffer lies outside guest memory");
        Ok(())
    }

    fn receive(&mut self) -> anyhow::Result<bool> {
        let before = self.received;
        while let Some((slot, written)) = self.to.rx.done()? {
            if let Some(verifier) = &mut self.verifier {
                let addr = self.to.rx.buffer(slot);
                verifier.check(self.to.memory.map(), addr, written, &self.content)?;
            }
            self.received += 1;
            self.bytes += u64::from(written).saturating_sub(NET_HEADER_LEN as u64);
            self.to.rx.refill(slot);
        }
        self.to.rx.publish();
        Ok(self.received > before)
    }
}
