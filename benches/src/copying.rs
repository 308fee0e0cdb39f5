//! What the memory allows: the bytes of frames copied from guest to guest, and nothing else done.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use virtqueue::{Burst, Chain, DeviceQueue, NET_HEADER_LEN};

use crate::{
    Content, FrameKind, Measured, Pages,
    memory::Memory,
    ring::{Ring, Shape},
};

/// As many buffers on each side as a ring has.
const BUFFERS: u16 = 256;

/// Copies frames between the buffers of two guests in turn, as a switch does that looks at nothing.
pub fn copying(frame: FrameKind, pages: Pages, time: Duration) -> anyhow::Result<Measured> {
    let room = Content::new(frame)?.frame_len() + NET_HEADER_LEN;
    let shape = Shape::whole(room as u64);
    let len = u32::try_from(room)?;
    let source = Guest::new(shape, pages, len, false)?;
    let target = Guest::new(shape, pages, len, true)?;
    let (start, mut frames) = (Instant::now(), 0);
    while start.elapsed() < time {
        for (from, to) in source.chains().zip(target.chains()) {
            let copied = from
                .readable()
                .copy_to(0, &to.writable(), 0, black_box(len));
            ensure!(copied == len, "{copied} bytes of {len} were copied");
            frames += 1;
        }
    }
    let time = start.elapsed();
    Ok(Measured {
        received: frames,
        bytes: frames * (room - NET_HEADER_LEN) as u64,
        time,
        busy: time,
        sent: frames,
        dropped: 0,
    })
}

/// A guest whose buffers are all in the hands of the device.
struct Guest {
    bursts: Vec<Burst>,
}

impl Guest {
    fn new(shape: Shape, pages: Pages, len: u32, writable: bool) -> anyhow::Result<Self> {
        let memory = Memory::new(shape.extent(BUFFERS), pages)?;
        let mut ring = Ring::new(&memory, 0, BUFFERS, shape, false)?;
        // Written once, or reading would find one and the same page of zeros everywhere.
        ring.write_all(memory.map(), &vec![0x5a; usize::try_from(len)?])?;
        for slot in ring.slots() {
            ensure!(ring.add(slot, len, writable), "the ring is full");
        }
        ring.publish();
        let mut device = DeviceQueue::new(Arc::clone(memory.map()), &ring.config)?;
        let mut bursts = Vec::new();
        loop {
            let mut burst = Burst::new();
            if device.pop_burst(&mut burst, Burst::MAX)? == 0 {
                return Ok(Self { bursts });
            }
            bursts.push(burst);
        }
    }

    fn chains(&self) -> impl Iterator<Item = Chain<'_>> {
        let of = |burst: &'_ Burst| 0..burst.len();
        self.bursts
            .iter()
            .flat_map(move |burst| of(burst).filter_map(|index| burst.chain(index)))
    }
}
